"""All classes pooled: every measure by every extractor, beside real images and the negative controls."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fidelity import alignment
from p2d_lib.fidelity.alignment import Alignment
from p2d_lib.fidelity.compare import reduced
from p2d_lib.fidelity.controls import CONTROLS, RECONSTRUCTED
from p2d_lib.fidelity.measures import ALL, MEASURES, misled
from p2d_lib.fidelity.report.cells import NAMES, PROMPTS, SPLITS, number
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments import obedience
from p2d_lib.report import figures
from p2d_lib.report.tables import TOO_SMALL
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, DX_NAMES


def overall_table(measured: pd.DataFrame) -> pd.DataFrame:
    """A row for each extractor and measure: base, adapter and real images with intervals, then what the autoencoder
    makes of real images (where it was measured), then the controls.

    Measures that a senseless control misleads in the features of an extractor (`measures.misled`) have no row there.
    """
    rows = []
    for extractor in measured.index.unique("extractor"):
        of_extractor = measured.loc[extractor]
        controls = [name for name in (RECONSTRUCTED, *CONTROLS) if name in of_extractor.index.unique("set")]
        for metric in (metric for metric in MEASURES if metric not in misled(of_extractor)):
            of_metric = of_extractor.xs((ALL, metric), level=("dx", "metric"))[["estimate", "low", "high"]]
            row = {NAMES[name]: number(metric, *of_metric.loc[name], empty=TOO_SMALL) for name in NAMES}
            row |= {name: number(metric, of_metric.at[name, "estimate"]) for name in controls}
            rows.append({"extractor": extractor, "measure": MEASURES[metric].heading} | row)
    return pd.DataFrame(rows)


def prompts_table(aligned: Mapping[str, Alignment]) -> pd.DataFrame:
    """A row for each set that has prompts, real test images among them: means over images with their intervals."""
    rows = {}
    for name in (REFERENCE, *(name for name in aligned if name != REFERENCE)):
        summary = alignment.summarise(aligned[name])
        rows["real" if name == REFERENCE else name] = {
            PROMPTS[measure]: number(measure, *summary.loc[measure]) for measure in PROMPTS
        }
    return pd.DataFrame(rows).T.rename_axis("images").reset_index()


def chosen_by_alignment(synthetic: pd.DataFrame) -> str:
    """A sentence for the caption of `prompts_table` where 04 has refused images by the alignment model; "" else."""
    refused = int((synthetic["reason"] == "alignment").sum())
    return f" Too good for generators: by this model 04 has refused {refused} images." if refused else ""


def attributes_table(agreements: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each set of `attributes.of_sets`: whether class and attributes are those that were asked for."""
    return obedience.printed({SPLITS.get(name, name): table for name, table in agreements.items()})


def attributes_finding(agreements: Mapping[str, pd.DataFrame], extractor: str) -> str:
    """How often a linear readout of an extractor names the class that was asked for, beside real images."""
    of_class = {
        name: agreements[name].set_index("attribute").loc["class"] for name in ("adapter", "base", REFERENCE)
    }  # fmt: skip
    shares = {name: f"{100 * row['estimate']:.0f} %" for name, row in of_class.items()}
    low, high = (100 * of_class["adapter"][end] for end in ("low", "high"))
    return (
        f"A linear readout of {extractor}, fitted on real train images, finds the class that was asked for in "
        f"{shares['adapter']} [{low:.0f}, {high:.0f}] of the adapter's images ({shares['base']} of the base's, "
        f"{shares[REFERENCE]} of real test images; chance {100 * of_class['adapter']['chance']:.0f} %)."
    )


def grid_figure(run: Run, chosen: Sets, synthetic: pd.DataFrame) -> Figure:
    """Three real test images a class, then three of base and adapter from equal prompts and noise, refused or not."""
    base, adapter = (synthetic[synthetic["generator"] == name] for name in ("base", "adapter"))
    pairs = adapter.merge(base, on=["dx", "seed"], suffixes=("", "_base"))
    blocks = (chosen.tables[REFERENCE], pairs.assign(path=pairs["path_base"]), pairs)
    counts = pd.DataFrame([table["dx"].value_counts() for table in blocks]).reindex(columns=DX).dropna(axis="columns")
    each = min(3, int(counts.min(axis=None)))
    rows = [np.concatenate([run.images(table[table["dx"] == dx][:each]) for table in blocks]) for dx in counts]
    return figures.grid(rows, [DX_NAMES[dx] for dx in counts], ["real (test)", "base", "adapter"], blocks=3)


def scale_figure(run: Run, chosen: Sets, measured: pd.DataFrame, px: int, seed: int) -> Figure:
    """One train image, the controls made from it, and above each the Fréchet distance of a set of such images to real
    test images, by the first extractor."""
    image = reduced(run.images(chosen.tables[FLOOR].head(1)), px)
    shown = {"real": image} | {name: control(image, seed) for name, control in CONTROLS.items()}
    of_judge = measured["estimate"].loc[measured.index[0][0]]
    score = of_judge.xs((ALL, "frechet"), level=("dx", "metric")).rename({FLOOR: "real"})
    titles = [f"{name}\n{score[name]:.0f}" for name in shown]
    return figures.grid([np.concatenate(list(shown.values()))], titles=titles)
