"""05 as the paper shows it: tables, figures and findings."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fidelity import alignment
from p2d_lib.fidelity.alignment import Alignment
from p2d_lib.fidelity.compare import ALL, BY_CLASS, MEASURES, misled, reduced
from p2d_lib.fidelity.controls import CONTROLS, SENSELESS, WORSENED
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.report import figures, tables
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, DX_NAMES

TOO_SMALL = "n too small"
HEADS = {
    "frechet": "Fréchet distance ↓",
    "kid": "KID ↓",
    "auc": "AUC against real ↓",
    "precision": "precision ↑",
    "recall": "recall ↑",
    "density": "density ↑",
    "coverage": "coverage ↑",
    "own_prompt": "cosine, own prompt ↑",
    "other_prompts": "cosine, other prompts",
    "wins": "own prompt fits better ↑",
    "r_precision": "R-precision ↑",
    "r_same_class": "R-precision, prompts shuffled within classes",
    "r_shuffled": "R-precision, prompts shuffled",
}
NAMES = {"base": "base", "adapter": "adapter", FLOOR: "real"}
DIGITS = {"frechet": 1, "kid": 2}


def overall_table(measured: pd.DataFrame, aligned: Mapping[str, Alignment]) -> pd.DataFrame:
    """A row for each measure; base, adapter and real images with intervals, then the controls.

    Measures that a senseless control misleads (`compare.misled`) have no row.
    """
    scores, columns = measured.xs(ALL, level="dx"), {}
    fit = {name: alignment.summarise(of_set) for name, of_set in aligned.items()}
    for name in (*NAMES, *CONTROLS):
        prompts = fit.get(REFERENCE if name == FLOOR else name)
        values = pd.concat([scores.loc[name].reindex(MEASURES), prompts])[["estimate", "low", "high"]]
        values = values.reindex([*MEASURES, *alignment.MEASURES]).drop(list(misled(measured)))
        columns[NAMES.get(name, name)] = [_number(*row[: 4 if name in NAMES else 2]) for row in values.itertuples()]
    return pd.DataFrame(columns, index=pd.Index([HEADS[metric] for metric in values.index], name="measure"))


def classes_table(
    measured: pd.DataFrame, aligned: Mapping[str, Alignment], tests: pd.DataFrame, dx: np.ndarray
) -> pd.DataFrame:
    """A row for each class, and all pooled: n, distances of base, adapter and real images, the test of the Fréchet
    distance, cosines of the adapter's images with their own and with other prompts."""
    adapter, rows = aligned["adapter"], {}
    holm = tests.query("second == 'base' and measure == 'frechet'").set_index("dx")["holm"]
    for name in (*dict.fromkeys(dx), ALL):
        of_class, members = measured.xs(name, level="dx"), (dx == name) | (name == ALL)
        rows[name] = {"n": str(members.sum())}
        for metric in BY_CLASS:
            for images, head in NAMES.items():
                value = of_class.at[(images, metric), "estimate"]
                head = f"{_plain(metric)} {head}"
                rows[name][head] = TOO_SMALL if np.isnan(value) else _number(metric, value)
        rows[name]["p (Holm)"] = tables.p_value(holm[name]) if name in holm else "–"
        rows[name] |= {
            "own prompt": adapter.own_prompt[members].mean(),
            "other prompts": adapter.other_prompts[members].mean(),
        }
    return pd.DataFrame(rows).T.rename_axis("dx").infer_objects()


def generators_table(
    measured: pd.DataFrame, aligned: Mapping[str, Alignment], tests: pd.DataFrame, chosen: Sets
) -> pd.DataFrame:
    """A row for each generator, for real images and for the senseless controls, all at the common size."""
    scores = measured.xs(ALL, level="dx")["estimate"].unstack("metric")
    kept = [metric for metric in MEASURES if metric not in misled(measured)]
    holm = tests[(tests["measure"] == "frechet") & (tests["dx"] == ALL)].set_index("second")["holm"]
    rows = {}
    for name in (*chosen.generators, FLOOR, *SENSELESS):
        row = {HEADS[metric]: _number(metric, scores.at[name, metric]) for metric in kept}
        of_set = aligned.get(REFERENCE if name == FLOOR else name)
        row |= {HEADS[m]: f"{getattr(of_set, m).mean():.3f}" if of_set else "–" for m in ("own_prompt", "wins")}
        rows[NAMES.get(name, name)] = row | {"p (Holm)": tables.p_value(holm[name]) if name in holm else "–"}
    empty = dict.fromkeys((*(HEADS[metric] for metric in (*kept, "own_prompt", "wins")), "p (Holm)"), "–")
    rows |= {name: empty | {HEADS[kept[0]]: TOO_SMALL} for name in chosen.too_few}
    return pd.DataFrame(rows).T.rename_axis("images").reset_index()


def floors_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Real images of other lesions beside test: train, which the extractor may know, and val, at the n val allows."""
    rows = []
    for split in (FLOOR, "val"):
        of_split = measured.loc[split].xs(ALL, level="dx") if len(measured) else pd.DataFrame()
        values = {HEADS[m]: _number(m, *of_split.loc[m, ["estimate", "low", "high"]]) if len(of_split) else TOO_SMALL
                  for m in BY_CLASS}  # fmt: skip
        rows.append({"real images": split, "n": str(of_split["n"].iloc[0]) if len(of_split) else "0"} | values)
    return pd.DataFrame(rows)


def tests_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The whole family of hypotheses: what is compared, by which measure, its estimate, p and p by Holm."""
    names = {
        "frechet": "Fréchet distance, difference",
        "kid": "KID, difference",
        "auc": "AUC",
        "wins": "own prompt fits better",
    }
    return pd.DataFrame({
        "first": tests["first"].replace({FLOOR: "real (train)", REFERENCE: "real (test)"}),
        "second": tests["second"].replace({REFERENCE: "real (test)"}),
        "measure": tests["measure"].map(names),
        "class": tests["dx"],
        "n": tests["n"].astype(str),
        "estimate": [_number(row.measure, row.estimate, row.low, row.high) for row in tests.itertuples()],
        "p": [tables.p_value(p) for p in tests["p"]],
        "p (Holm)": [tables.p_value(p) for p in tests["holm"]],
    })  # fmt: skip


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
    """One train image, the controls made from it, and the Fréchet distance of each set of such images below."""
    image = reduced(run.images(chosen.tables[FLOOR].head(1)), px)
    shown = {"real": image} | {name: control(image, seed) for name, control in CONTROLS.items()}
    score = measured["estimate"].xs((ALL, "frechet"), level=("dx", "metric")).rename({FLOOR: "real"})
    titles = [f"{name}\n{score[name]:.1f}" for name in shown]
    return figures.grid([np.concatenate(list(shown.values()))], titles=titles)


def distances_figure(measured: pd.DataFrame, n: pd.Series) -> Figure:
    """Fréchet distance and KID of base, adapter and real images with intervals: a line for each class, one for all."""
    lines = {**n, ALL: n.sum()}
    figure, axes = plt.subplots(1, 2, figsize=(figures.TEXT_WIDTH, 2.9), sharey=True)
    for axis, metric in zip(axes, BY_CLASS, strict=True):
        of_metric = measured.xs(metric, level="metric")[["estimate", "low", "high"]]
        values = {head: of_metric.loc[name].loc[list(lines)].to_numpy() for name, head in NAMES.items()}
        figures.forest(axis, [f"{dx} (n = {count})" for dx, count in lines.items()], values)
        axis.set_xlabel(f"{_plain(metric)} to real test images")
        axis.set_xlim(min(0, axis.get_xlim()[0]), None)
        for line in np.flatnonzero(np.isnan(values[NAMES[FLOOR]][:, 0])):
            axis.text(
                0.5, line, TOO_SMALL, transform=axis.get_yaxis_transform(), ha="center", va="center",
                fontsize=6, color="0.5", style="italic",
            )  # fmt: skip
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(NAMES))
    return figure


def findings(
    measured: pd.DataFrame, aligned: Mapping[str, Alignment], tests: pd.DataFrame, chosen: Sets, note: str
) -> list[str]:
    """The results as sentences. note: what one must know about the extractor."""
    overall = tests[(tests["second"] == "base") & (tests["dx"] == ALL)]
    changes = "; ".join(_change(row, measured) for row in overall.itertuples())
    lines = [f"From base to adapter, {changes}.", _by_class(tests, chosen.n), _scale(measured)]
    lines += [_auc(tests)] if (tests["measure"] == "auc").any() else []
    lines += [_baselines(tests, chosen, measured)] if len(chosen.generators) > 2 or chosen.too_few else []
    lines += [_prompts(tests, aligned), f"About the features: {note}."]
    if omitted := misled(measured):
        scores = "; ".join(f"{metric} gives {name} {score:.2f}" for metric, (name, score) in omitted.items())
        lines.append(f"Not printed, because a senseless control scores at least half as well as real images: {scores}.")
    return lines


def _change(row: tuple, measured: pd.DataFrame) -> str:
    before, after = (measured.at[(name, row.dx, row.measure), "estimate"] for name in ("base", "adapter"))
    verdict = ("falls" if row.estimate < 0 else "**rises**") if row.holm <= LEVEL else "no change is shown"
    digits = DIGITS[row.measure]
    change = f"{row.estimate:+.{digits}f} [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
    return (
        f"the {_plain(row.measure)} to real test images goes from {before:.{digits}f} to {after:.{digits}f} "
        f"(change {change}, Holm p {tables.p_value(row.holm, '= ')}): {verdict}"
    )


def _by_class(tests: pd.DataFrame, n: pd.Series) -> str:
    by_class = tests[(tests["measure"] == "frechet") & (tests["dx"] != ALL)]
    shown = by_class[by_class["holm"] <= LEVEL]
    falls, rises = (_names(shown["dx"][side]) for side in (shown["estimate"] < 0, shown["estimate"] > 0))
    small = [f"{DX_NAMES[dx]} ({count})" for dx, count in n.items() if dx not in set(by_class["dx"])]
    tested = f"of {len(by_class)} tested, the Fréchet distance falls in {falls} and rises in {rises}"
    parts = ([tested] if len(by_class) else []) + ([f"too few images to test: {', '.join(small)}"] if small else [])
    return f"By class, {'; '.join(parts)}."


def _scale(measured: pd.DataFrame) -> str:
    of_frechet = measured.xs((ALL, "frechet"), level=("dx", "metric"))
    score = of_frechet["estimate"]
    controls = ", ".join(f"{name} {score[name]:.1f}" for name in CONTROLS)
    line = f"Scale of the Fréchet distance at this n: real images of other lesions {score[FLOOR]:.1f}, {controls}."
    if unnoticed := [name for name in WORSENED if score[name] <= of_frechet.at[FLOOR, "high"]]:
        line += f" Real images that were made {' and '.join(unnoticed)} are as near: these features do not see that."
    return line


def _auc(tests: pd.DataFrame) -> str:
    names = {"adapter": "the adapter's images", "base": "the base's images", FLOOR: "real train images"}
    parts = [
        f"{names[row.first]} {row.estimate:.2f} (Holm p {tables.p_value(row.holm, '= ')}: "
        f"{'they differ' if row.holm <= LEVEL else 'no difference is shown'})"
        for row in tests[tests["measure"] == "auc"].itertuples()
    ]
    return f"AUC of a classifier that separates them from real test images (chance 0.5): {', '.join(parts)}."


def _baselines(tests: pd.DataFrame, chosen: Sets, measured: pd.DataFrame) -> str:
    rows = tests[(tests["measure"] == "frechet") & (tests["dx"] == ALL) & (tests["second"] != "base")]
    nearer, farther = (rows["holm"] <= LEVEL) & (rows["estimate"] < 0), (rows["holm"] <= LEVEL) & (rows["estimate"] > 0)
    groups = {
        "nearer to real images than": rows["second"][nearer],
        "farther from them than": rows["second"][farther],
        "not shown to differ from": rows["second"][~nearer & ~farther],
    }
    parts = [f"{text} {', '.join(names)}" for text, names in groups.items() if len(names)]
    text = f"By the Fréchet distance the adapter's images are {'; '.join(parts)}." if parts else ""
    score = measured["estimate"].xs((ALL, "frechet"), level=("dx", "metric"))
    if poor := [name for name in rows["second"] if name in score and score[name] >= score["noise"]]:
        text += f" No nearer to them than noise: {', '.join(poor)}."
    left_out = f" {', '.join(chosen.too_few)}: {TOO_SMALL}, since 04 refused too many images." if chosen.too_few else ""
    return (text + left_out).strip()


def _prompts(tests: pd.DataFrame, aligned: Mapping[str, Alignment]) -> str:
    rows = tests[tests["measure"] == "wins"].set_index("first")
    verdict = "more than by chance" if rows.at["adapter", "holm"] <= LEVEL else "not shown to be more than chance"
    real = f"for real test images {100 * rows.at[REFERENCE, 'estimate']:.0f} %, " if REFERENCE in rows.index else ""
    noise = f"for noise {100 * aligned['noise'].wins.mean():.0f} %" if "noise" in aligned else "chance is 50 %"
    share, holm = 100 * rows.at["adapter", "estimate"], rows.at["adapter", "holm"]
    return (
        f"Of the prompts of other classes, {share:.0f} % fit an image of the adapter less well than its own (Holm p "
        f"{tables.p_value(holm, '= ')}: {verdict}); {real}{noise}. "
        "04 measures whether images also show the features that their prompts name."
    )


def _plain(metric: str) -> str:
    return HEADS[metric].removesuffix(" ↓")


def _names(dx: Sequence[str]) -> str:
    return f"{len(dx)} ({', '.join(DX_NAMES[name] for name in dx)})" if len(dx) else "none"


def _number(metric: str, estimate: float, low: float = np.nan, high: float = np.nan) -> str:
    """An estimate with its interval where that is known; "–" for none."""
    digits = DIGITS.get(metric, 3)
    estimate, low, high = (round(value, digits) + 0.0 for value in (estimate, low, high))  # + 0.0: no "-0.00"
    if np.isnan(estimate) or np.isnan(low):
        return "–" if np.isnan(estimate) else f"{estimate:.{digits}f}"
    return tables.interval(estimate, low, high, digits)
