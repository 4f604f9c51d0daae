"""What was fitted in 03: its table, its figures and its findings."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.finetune.scout import balanced_accuracy
from p2d_lib.finetune.stages import Stages
from p2d_lib.finetune.training_set import Split
from p2d_lib.models import clip
from p2d_lib.models.classifiers import Classifier
from p2d_lib.report import figures
from p2d_lib.vocabulary import DX

SHARE = 20  # first and last loss are means over a twentieth of the steps


def classes_table(split: Split) -> pd.DataFrame:
    """Images, lesions and one prompt of each class, one row per dx."""
    columns = {"images": ("image_id", "size"), "lesions": ("lesion_id", "nunique"), "example": ("prompt", "first")}
    return split.cases.groupby("dx").agg(**columns)


def validation_scores(
    scout: Classifier, aligner: clip.Clip, val: Split | None, device
) -> tuple[dict[str, float], dict[str, float]]:
    """The val score of scout and alignment model by name, and what chance gives; NaN without val images.

    scout: balanced accuracy. alignment: the share of images whose own text is the nearest of all different val texts.
    """
    if val is None:
        nothing = {"scout": np.nan, "alignment": np.nan}
        return nothing, nothing
    scores = {
        "scout": balanced_accuracy(scout, val, device),
        "alignment": clip.retrieval(aligner, val.pixels, val.prompts),
    }
    return scores, {"scout": 1 / len(DX), "alignment": 1 / len(set(val.prompts))}


def training_table(stages: Stages, scores: Mapping[str, float]) -> pd.DataFrame:
    """One row per model fitted: steps, parameters, first, last and val loss, val score (NaN where there is none)."""
    return pd.DataFrame(
        {
            "model": name,
            "steps": len(log),
            "parameters": stages.parameters[name],
            "first loss": log["loss"].head(max(1, len(log) // SHARE)).mean(),
            "last loss": log["loss"].tail(max(1, len(log) // SHARE)).mean(),
            "val loss": log["val_loss"].iloc[-1] if "val_loss" in log else np.nan,
            "val score": scores.get(name, np.nan),
        }
        for name, log in stages.logs.items()
    )


def training_caption(stages: Stages, chance: Mapping[str, float]) -> str:
    train, val = stages.train, stages.val
    measured = (
        "Val score: balanced accuracy of the scout, top-1 retrieval of the alignment model "
        f"(chance {chance['alignment']:.3f}), on {len(val)} val images."
        if val
        else "There are no val images."
    )
    return (
        f"What was fitted on the train split ({len(train)} images, {train.cases['lesion_id'].nunique()} lesions), "
        f"seed {stages.p.seed}. {measured}"
    )


def losses_figure(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss against steps, one panel per model: single steps, their running mean, and on val."""
    lines = -(-len(logs) // 3)
    figure, axes = plt.subplots(lines, 3, figsize=(figures.TEXT_WIDTH, 1.3 * lines), squeeze=False)
    for axis, (name, log) in zip(axes.flat, logs.items(), strict=False):
        figures.losses(axis, log)
        axis.set_title(name)
    plt.setp(axes[:, 0], ylabel="loss")
    plt.setp(axes.flat[max(0, len(logs) - 3) :], xlabel="step")  # the lowest panel of each column
    for axis in axes.flat[len(logs) :]:
        axis.set_visible(False)
    return figure


def previews_figure(rows: Mapping[int, np.ndarray], classes: Sequence[str], epoch: int) -> Figure:
    """One row of images for each number of steps, labelled in epochs of `epoch` steps; one column per class."""
    return figures.grid(list(rows.values()), [f"epoch {step / epoch:.3g}" for step in rows], classes)


def curve_table(stages: Stages) -> pd.DataFrame:
    """The Fréchet distance of the base's samples, one row per evaluation."""
    curve = stages.curve.table()
    n_images = curve["steps"] * stages.p.batch_size
    return pd.DataFrame(
        {
            "images seen": n_images,
            "epochs": n_images / len(stages.train),
            "decoder": curve["decoder_fitted"].map({False: "not fitted", True: "fitted"}),
            "Fréchet distance": curve["frechet"],
            "times the floor": curve["frechet"] / curve["floor"],
        }
    )


def curve_caption(stages: Stages) -> str:
    curve = stages.curve.table()
    return (
        f"Fréchet distance of {curve['n'].iloc[0]} samples of the base to as many val images, one of a lesion, whose "
        f"prompts they follow, as it is trained. Floor: as many train images, {curve['floor'].iloc[0]:.4g}. "
        f"{stages.curve.extractor.caption}"
    )


def curve_figure(stages: Stages) -> Figure:
    """Fréchet distance against images seen, the floor below it; a diamond: with the fitted decoder."""
    curve, table = stages.curve.table(), curve_table(stages)
    figure, axis = plt.subplots(figsize=(figures.TEXT_WIDTH, 2.0))
    base, real = figures.looks(["base", "real"])
    for is_fitted, look in ((False, base | {"linestyle": "-"}), (True, base | {"marker": "D", "linestyle": "none"})):
        rows = table[curve["decoder_fitted"] == is_fitted]
        label = "with the fitted decoder" if is_fitted else "samples of the base"
        axis.plot(rows["images seen"], rows["Fréchet distance"], **look, label=label if len(rows) else None)
    axis.axhline(curve["floor"].iloc[0], color=real["color"], label="real images (floor)")
    axis.set(xlabel="images seen", ylabel="Fréchet distance", ylim=(0, None))
    axis.legend()
    return figure


def samples_figure(stages: Stages) -> Figure:
    """One column per class: a sample of each model from the same prompt, and a real train image of that prompt."""
    examples = stages.train.examples
    rows = [*stages.samples.values(), stages.run.images(examples)]
    return figures.grid(rows, [*stages.samples, "real"], examples.index)


def findings(
    stages: Stages, table: pd.DataFrame, scores: Mapping[str, float], chance: Mapping[str, float]
) -> list[str]:
    """The results, one or two sentences per item."""
    return [
        *([_curve_finding(curve_table(stages))] if stages.curve else []),
        _adapter_finding(stages, table.set_index("model").loc["adapter"]),
        f"Baselines fitted beside it: {', '.join(stages.p.baselines) or 'none'}.",
        *(_scout_and_alignment(stages, scores, chance) if stages.val else ["There are no val images to measure on."]),
    ]


def _curve_finding(curve: pd.DataFrame) -> str:
    first, last = curve.iloc[0], curve.iloc[-1]
    fitted = ", with its fitted decoder" if last["decoder"] == "fitted" else ""
    return (
        f"Samples of the base lie {first['times the floor']:.2f} times as far from val images as real images do after "
        f"{first['images seen']:,} images seen, and {last['times the floor']:.2f} times after {last['images seen']:,} "
        f"({last['epochs']:.1f} epochs{fitted})."
    )


def _adapter_finding(stages: Stages, row: pd.Series) -> str:
    change = 1 - row["last loss"] / row["first loss"]
    val = stages.logs["adapter"]["val_loss"].dropna()
    moved = np.abs(stages.samples["adapter"].astype(float) - stages.samples["base"]).mean()
    measured = (
        f"; on val {val.iloc[0]:.3f} after epoch {(val.index[0] + 1) / stages.epoch:.3g}, {val.iloc[-1]:.3f} at the "
        f"end, lowest ({val.min():.3f}) after epoch {(val.idxmin() + 1) / stages.epoch:.3g}"
        if len(val)
        else ""
    )
    return (
        f"The adapter ({int(row['parameters']):,} parameters) {'lowers' if change > 0 else 'does not lower'} its "
        f"training loss: {row['first loss']:.3f} over the first twentieth of the steps, {row['last loss']:.3f} over "
        f"the last ({-change:+.1%}){measured}. It changes the example images by {moved:.1f} grey levels on average."
    )


def _scout_and_alignment(stages: Stages, scores: Mapping[str, float], chance: Mapping[str, float]) -> list[str]:
    trusted = scores["scout"] > 2 * chance["scout"]
    model = "fitted here" if stages.p.alignment_model == "tiny" else f"{stages.p.alignment_model}, as published"
    return [
        f"The scout reads val images with a balanced accuracy of {scores['scout']:.3f} (chance {chance['scout']:.3f})"
        + ("." if trusted else ": too little to trust its features."),
        f"The alignment model ({model}) finds the right one of {round(1 / chance['alignment'])} val texts for "
        f"{scores['alignment']:.1%} of the images, {scores['alignment'] / chance['alignment']:.1f} times chance.",
    ]
