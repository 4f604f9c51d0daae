"""What notebook 01 shows: tables, figures and findings on the cohort, the measurements and the audit."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.prep import masks, prepare, skin_tone, splits
from p2d_lib.prep.picture_quality import entropy_filter
from p2d_lib.prep.raw import RawSet
from p2d_lib.prep.source import phantoms
from p2d_lib.report import figures
from p2d_lib.report.figures import OKABE_ITO, TEXT_WIDTH
from p2d_lib.report.tables import NOTHING, interval
from p2d_lib.schemas import SPLITS
from p2d_lib.vocabulary import DX_NAMES

SHOWN = 128  # px of the pictures in figures
IN_A_ROW = 8  # pictures of copies and of doubted labels
PROBLEMS = 20  # of what was left out, at most
FLAGS = {
    "is_empty": "empty pictures",
    "is_blurred": "blurred pictures",
    "has_hair": "hairy pictures",
    "has_ruler": "pictures with a ruler",
}
TRUE_FLAGS = {"has_hair": "true_hair_amount", "has_ruler": "true_ruler_presence"}  # of phantoms, above 0 where there
PLANTED = {  # `plants.KINDS` by the check that has to find them
    "identical pairs": "duplicated_lesions",
    "pairs that look alike": "near_duplicates",
    FLAGS["is_empty"]: "empty",
    FLAGS["is_blurred"]: "blurred",
    "labels doubted": "mislabelled",
}
MEASURED = {
    "area": "area (of the image)",
    "asymmetry": "asymmetry",
    "border_irregularity": "border irregularity",
    "color_spread": "spread of colours (Delta E)",
    "skin_contrast": "contrast to skin (Delta E)",
    "entropy": "entropy (bits)",
}


def left_out(quarantine: pd.DataFrame) -> pd.DataFrame:
    """Rows and files that could not be used, by problem: stage, problem, n, first (an image_id); most frequent first.

    quarantine: a table of `schemas.QUARANTINE`, which may be empty.
    """
    problem = quarantine["reason"].str.split(": ", n=1).str[-1]
    groups = quarantine.assign(problem=problem).groupby(["stage", "problem"], sort=False)
    table = groups.agg(n=("image_id", "size"), first=("image_id", "first")).reset_index()
    return table.sort_values("n", ascending=False, kind="stable").head(PROBLEMS)


def cohort(cases: pd.DataFrame) -> pd.DataFrame:
    """One row per diagnosis and one for all: lesions, images, images per split, age, sex, proof by histology.

    Age, sex and dx_type are counted over lesions (a lesion's first image), age as median [quartiles] in years, both
    over those known.
    """
    groups = [(f"{name} ({dx})", cases[cases["dx"] == dx]) for dx, name in DX_NAMES.items()]
    return pd.DataFrame([_cohort_row(name, group) for name, group in [*groups, ("all", cases)] if len(group)])


def _cohort_row(name: str, group: pd.DataFrame) -> dict:
    lesions = group.drop_duplicates("lesion_id")
    low, median, high = lesions["age"].quantile([0.25, 0.5, 0.75])
    return {
        "diagnosis": name,
        "lesions": len(lesions),
        "images": len(group),
        **{part: int((group["split"] == part).sum()) for part in SPLITS},
        "age": "–" if math.isnan(median) else f"{median:.0f} [{low:.0f}, {high:.0f}]",
        "% female": 100 * (lesions.loc[lesions["sex"] != "unknown", "sex"] == "female").mean(),
        "% histology": 100 * (lesions.loc[lesions["dx_type"] != "unknown", "dx_type"] == "histo").mean(),
    }


def audit_table(
    cases: pd.DataFrame,
    pairs: pd.DataFrame,
    doubts: pd.DataFrame,
    tone: skin_tone.ToneAssociation | None = None,
    plants: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """The audit in one table, columns check and result (texts): leakage, flags of the pictures, labels, skin tone.

    pairs: `copies.duplicates` of the cases; doubts: `label_doubts.suspect_labels`; tone: None where ITA is unknown.
    plants: faults that a phantom set was given, by kind; with it a column "by known truth" says what there was to find.
    """
    counts = {name: cases[flag].sum() for flag, name in FLAGS.items()} | {"labels doubted": doubts["flagged"].sum()}
    rows = {name: f"{n} ({n / len(cases):.1%})" for name, n in counts.items()}
    if tone:
        strength = interval(*tone.epsilon2)
        rows["diagnosis tied to skin tone, epsilon squared [95 % interval]"] = f"{strength}, p = {tone.p:.3g}"
    table = pd.concat(
        [splits.leakage(cases, pairs), pd.DataFrame(rows.items(), columns=["check", "result"])], ignore_index=True
    )
    if plants is None:
        return table
    truth = [_known(check, cases, plants) for check in table["check"]]
    return table.assign(**{"by known truth": truth})


def _known(check: str, cases: pd.DataFrame, plants: Mapping[str, int]) -> str:
    """What a check of `audit_table` had to find; NOTHING where the phantom does not say it."""
    for start, kind in PLANTED.items():
        if check.startswith(start) and "across" not in check:
            return f"{plants.get(kind, 0)} planted"
    for flag, truth in TRUE_FLAGS.items():
        if check == FLAGS[flag] and truth in cases:
            true, found = cases[truth] > 0, cases[flag]
            if not true.any():
                return "0"
            return f"{true.sum()}; {found[true].mean():.0%} flagged, of the others {found[~true].mean():.0%}"
    return NOTHING


def class_counts(cases: pd.DataFrame) -> Figure:
    """Images of each dx, all of them and by split, and its lesions, on a logarithmic scale: the long tail."""
    counts = cases.groupby(["dx", "split"]).size().unstack(fill_value=0).reindex(columns=list(SPLITS), fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values().index]
    lesions = cases.groupby("dx")["lesion_id"].nunique()[counts.index]
    counts.insert(0, "all", counts.sum(axis=1))
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 3.6))
    y, colours = np.arange(len(counts)), ("0.4", *OKABE_ITO)
    for k, part in enumerate(counts):
        bars = axis.barh(y + 0.21 * (1.5 - k), counts[part], 0.19, label=part, color=colours[k])
        axis.bar_label(bars, [f"{n:,}" for n in counts[part]], padding=2, fontsize=6)
    names = [f"{DX_NAMES[dx]} ({n:,} lesions)" for dx, n in lesions.items()]
    axis.set_yticks(y, names)
    axis.set(xscale="log", xlim=(1, 2.2 * counts.max(axis=None)), xlabel="images")
    axis.legend(loc="lower right")
    return figure


def measurements_by_class(cases: pd.DataFrame, measurements: pd.DataFrame) -> Figure:
    """Measurements and entropy by dx: boxes are quartiles, whiskers the 5 % and 95 % quantiles."""
    table = measurements.assign(entropy=cases["entropy"], dx=pd.Categorical(cases["dx"], list(DX_NAMES)))
    figure, axes = plt.subplots(2, 3, figsize=(TEXT_WIDTH, 2.9), sharex=True)
    for axis, (column, title) in zip(axes.flat, MEASURED.items(), strict=True):
        figures.boxes(axis, table, "dx", column)
        axis.set(title=title, xlabel="", ylabel="")
        plt.setp(axis.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    return figure


def audit_figure(cases: pd.DataFrame, doubts: pd.DataFrame) -> Figure:
    """What the audit measured: sharpness with the blurred ones marked, ITA in two ways, confidence in the labels.

    cases: with their `picture_quality.flags`; doubts: `label_doubts.suspect_labels(...)` of the same rows.
    """
    figure, (sharp, tone, labels) = plt.subplots(1, 3, figsize=(TEXT_WIDTH, 2.1))
    levels = np.log10(cases["sharpness"].clip(lower=1e-1))
    bins = np.linspace(levels.min(), levels.max(), 40)
    sharp.hist(levels[~cases["is_blurred"]], bins, color=OKABE_ITO[0], label="sharp")
    sharp.hist(levels[cases["is_blurred"]], bins, color=OKABE_ITO[1], label="blurred")
    sharp.set(xlabel="log10 sharpness", ylabel="images", title="sharpness")
    if cases["is_blurred"].any():
        sharp.legend(fontsize=6)
    both = cases[["ita", "ita_patches"]].dropna().clip(-90, 90)
    tone.hexbin(both["ita"], both["ita_patches"], gridsize=24, bins="log", cmap="Greys", linewidths=0)
    ends = [both.min(axis=None), both.max(axis=None)]
    tone.plot(ends, ends, color=OKABE_ITO[1], linewidth=0.8)
    tone.set(xlabel="all skin (degrees)", ylabel="lightest patch (degrees)", title="skin tone (ITA)")
    for flag, name, style in ((~doubts["flagged"], "trusted", "-"), (doubts["flagged"], "doubted", "--")):
        confidence = doubts.loc[flag, "self_confidence"]
        labels.hist(confidence, np.linspace(0, 1, 21), histtype="step", linestyle=style, label=name)
    labels.set(xlabel="confidence", ylabel="images", title="labels", yscale="log")
    labels.legend(fontsize=6)
    return figure


def entropy_figure(cases: pd.DataFrame, thresholds: Sequence[float], chosen: float | None = None) -> Figure:
    """The share (%) of each dx that `picture_quality.entropy_filter` keeps; chosen: a threshold to mark, bits."""
    share = 100 * entropy_filter(cases, thresholds) / entropy_filter(cases, [0]).iloc[0]
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 2.2))
    for name in share:
        style = {"color": "black"} if name == "all" else {"linestyle": figures.LINES[len(axis.lines) % 5]}
        axis.plot(share.index, share[name], label=name, **style)
    if chosen is not None:
        axis.axvline(chosen, color="0.6", linewidth=0.8, linestyle=":")
    axis.set(xlabel="least entropy (bits)", ylabel="images kept (%)", ylim=(0, 103))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def examples(raw: RawSet, cases: pd.DataFrame, with_phantoms: bool) -> Figure:
    """Train images of each diagnosis with the outline of their masks, and beside them phantoms of the diagnosis."""
    train = cases[cases["split"] == "train"].drop_duplicates("lesion_id")
    image_ids = {dx: group["image_id"].head(4 if with_phantoms else 6) for dx, group in train.groupby("dx")}
    rows = [prepare.outlined(raw, names, SHOWN) for names in image_ids.values()]
    if with_phantoms:
        rows = [np.concatenate([row, phantoms(dx, 3, SHOWN)]) for dx, row in zip(image_ids, rows, strict=True)]
    return figures.grid(rows, labels=list(image_ids))


def copies_figure(raw: RawSet, pairs: pd.DataFrame) -> Figure | None:
    """The closest pairs of copies that are filed under different lesions, one above the other; None without any."""
    apart = pairs[~pairs["same_lesion"]].head(IN_A_ROW)
    if apart.empty:
        return None
    sides = [prepare.outlined(raw, apart[side], SHOWN, None) for side in ("image_a", "image_b")]
    return figures.grid(sides, labels=["a", "b"])


def doubts_figure(raw: RawSet, cases: pd.DataFrame, doubts: pd.DataFrame) -> Figure | None:
    """The images whose labels are doubted most, each with its label and the suggested one; None without any."""
    least = doubts[doubts["flagged"]].assign(image_id=cases["image_id"]).sort_values("self_confidence").head(IN_A_ROW)
    if least.empty:
        return None
    titles = [f"{row.dx}\n{row.suggested}?" for row in least.itertuples()]
    return figures.grid([prepare.outlined(raw, least["image_id"], SHOWN, None)], titles=titles)


def findings(
    cases: pd.DataFrame,
    quarantine: pd.DataFrame,
    measurements: pd.DataFrame,
    leaks: pd.Series,
    pairs: pd.DataFrame,
    doubts: pd.DataFrame,
    tone: skin_tone.ToneAssociation | None,
) -> str:
    """The findings of 01 as a Markdown list. leaks: `splits.leak_of_image_split`; the rest as in `audit_table`."""
    lines = [*_set_sentences(cases, quarantine, leaks), *_audit_sentences(pairs, doubts)]
    lines.append(
        f"{measurements['area'].notna().mean():.1%} of the images have a lesion mask; the others are not measured."
    )
    lines += filter(None, [masks.sentence(measurements["area"])])
    contrast = measurements["skin_contrast"].groupby(cases["dx"]).median().sort_values().dropna()
    if len(contrast):
        lines.append(
            f"The contrast between lesion and skin is highest for {contrast.index[-1]} (median Delta E "
            f"{contrast.iloc[-1]:.0f}) and lowest for {contrast.index[0]} ({contrast.iloc[0]:.0f})."
        )
    if tone:
        lines.append(_tone_sentence(cases, tone))
    return "\n".join(f"- {line}" for line in lines)


def _set_sentences(cases: pd.DataFrame, quarantine: pd.DataFrame, leaks: pd.Series) -> list[str]:
    parts, by_class = cases["split"].value_counts().reindex(SPLITS), cases["dx"].value_counts()
    leak = f"A split by image would share a lesion between train and **{leaks['all']:.1%}** of the test images"
    if leaks["all"] > 0:
        worst = leaks.drop("all").idxmax()
        leak += f", most often for {worst} ({leaks[worst]:.1%})"
    return [
        f"{len(cases):,} images of {cases['lesion_id'].nunique():,} lesions, from {by_class.iloc[-1]:,} images of "
        f"{by_class.index[-1]} to {by_class.iloc[0]:,} of {by_class.index[0]}: {parts['train']:,} train, "
        f"{parts['val']:,} val, {parts['test']:,} test. {len(quarantine):,} rows or files were left out.",
        f"Lesions with images in more than one of train, val and test: **{splits.shared_lesions(cases)}**.",
        f"{leak}.",
    ]


def _audit_sentences(pairs: pd.DataFrame, doubts: pd.DataFrame) -> list[str]:
    kinds, across = pairs["kind"].value_counts(), int((~pairs["same_split"]).sum())
    copies = (
        f"Copies: {kinds.get('bytes', 0)} identical pairs and {kinds.get('perceptual', 0)} that look like "
        f"near-duplicates; {(~pairs['same_lesion']).sum()} of them are filed under different lesions; "
        f"pairs with images in two splits: **{across}**"
    )
    return [
        copies + ("; see figure f1_copies." if (~pairs["same_lesion"]).any() else "."),
        f"Labels doubted: {doubts['flagged'].mean():.1%}. A doubt is a reason to look at the image, not to change its "
        "label.",
    ]


def _tone_sentence(cases: pd.DataFrame, tone: skin_tone.ToneAssociation) -> str:
    return (
        f"Diagnosis explains {tone.epsilon2.estimate:.1%} of the variance of the skin tone's ranks over {tone.n:,} "
        f"lesions (95 % interval {tone.epsilon2.low:.1%} to {tone.epsilon2.high:.1%}). Two methods of measuring that "
        f"tone put **{skin_tone.ita_disagreement(cases):.0%}** of the images into different categories, so it is no "
        "group label."
    )
