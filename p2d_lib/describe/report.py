"""Descriptions as the paper shows them: tables, figures, findings."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import norm

from p2d_lib.describe import comparison as comparing
from p2d_lib.describe.captioner_scores import SCORES
from p2d_lib.describe.comparison import Comparison
from p2d_lib.instruments.multiplicity import LEVEL, holm
from p2d_lib.report import figures
from p2d_lib.report.figures import TEXT_WIDTH
from p2d_lib.report.tables import interval, p_value
from p2d_lib.vocabulary import FEATURES

LINE = 0.1  # inches: a line of text at 6 points
NOTHING_KNOWN = (
    "The reference has no feature that varies among the test images (most are measured within lesion masks), so "
    "agreement cannot be measured."
)


def agreement_table(faithfulness: pd.DataFrame) -> pd.DataFrame:
    """`comparison.faithfulness_table` as it is printed."""
    texts = {
        name: [interval(*row, digits=2) if isinstance(row, tuple) else "–" for row in faithfulness[name]]
        for name in ("auc", "ahead", "loss")
    }
    return pd.DataFrame(
        {
            "describer": faithfulness["describer"],
            "features": faithfulness["features"],
            "AUC": texts["auc"],
            "κ": faithfulness["kappa"],
            "AUC minus class prior's": texts["ahead"],
            "AUC lost by exchange": texts["loss"],
        }
    )


def diagnoses_table(diagnoses: pd.DataFrame) -> pd.DataFrame:
    """`captioner_scores.diagnoses` as it is printed."""
    shown = {name.replace("_", " "): [interval(*row) for row in diagnoses[name]] for name in SCORES}
    return diagnoses[["describer", "n", "abstentions"]].assign(**shown)


def concepts_table(frequency: pd.DataFrame) -> pd.DataFrame:
    """`concepts.frequency` as it is printed: shares in per cent."""
    shown = frequency.assign(concept=frequency["concept"].str.replace("_", " "), share=100 * frequency["share"])
    return shown.set_axis(["concept", "UMLS CUI", "SNOMED CT", "share (%)"], axis=1).replace("", None)


def heatmap(scores: pd.DataFrame) -> Figure:
    """Scores in 0..1 as colours with their values, one row per feature, one column per dx; NaN stays blank."""
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 0.19 * len(scores) + 0.6))
    rows = scores.rename(index=lambda name: name.replace("_", " "))
    figures.heat_map(axis, rows, bar="mean score", numbers=".2f")
    axis.tick_params(rotation=0)
    return figure


def correlations_figure(correlations: pd.DataFrame) -> Figure:
    """`comparison.correlations` as colours with their values, -1 to 1."""
    names = [name.replace("_", " ") for name in correlations]
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 0.19 * len(names) + 1.4))
    shown = correlations.set_axis(names).set_axis(names, axis=1).round(1) + 0.0  # no -0.0
    figures.heat_map(axis, shown, -1, 1, "rank correlation", ".1f")
    axis.tick_params(axis="x", rotation=90)
    axis.tick_params(axis="y", rotation=0)
    return figure


def captioned(images: np.ndarray, texts: pd.DataFrame) -> Figure:
    """Images, uint8 (n, h, w, 3), one below another, each with its row of `texts` beside it: column name, then text.

    A row is as high as its image or its lines of text: seven images of three texts fill less than a page of LNCS.
    """
    wrapped = texts.map(lambda text: textwrap.fill(text, 80) if isinstance(text, str) else "–")
    lines = wrapped.map(lambda text: text.count("\n") + 1.4)  # with a gap below
    tall = (LINE * lines.sum(axis=1)).clip(lower=0.7).to_numpy()  # inches
    figure, axes = plt.subplots(
        len(images), 2, figsize=(TEXT_WIDTH, (tall + 0.1).sum()), width_ratios=(1, 5.8), height_ratios=tall,
        squeeze=False,
    )  # fmt: skip
    places = (lines.cumsum(axis=1) - lines).to_numpy()
    rows = zip(axes, images, wrapped.to_dict("records"), places, tall / LINE, strict=True)
    for (left, right), image, row, tops, bottom in rows:
        left.imshow(image)
        left.set_axis_off()
        left.set_anchor("N")  # beside the first text
        for top, (name, text) in zip(tops, row.items(), strict=True):
            right.text(0, top, name, va="top", fontsize=6, color="0.4")
            right.text(0.145, top, text, va="top", fontsize=6)
        right.set(xlim=(0, 1), ylim=(bottom, 0))
        right.set_axis_off()
    return figure


def curves(log: pd.DataFrame) -> Figure:
    """Loss on train batches and on val (nats per token) against steps, a panel per stage; a ring: the weights kept."""
    stages = log["stage"].unique()
    figure, axes = plt.subplots(1, len(stages), figsize=(TEXT_WIDTH, 1.6), sharey=True, squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        rows = log[log["stage"] == stage]
        kept = rows.loc[rows["val_loss"].idxmin()]
        axis.plot(rows["step"], rows["loss"], label="train")
        axis.plot(rows["step"], rows["val_loss"], "--", label="val")
        axis.plot(kept["step"], kept["val_loss"], "o", mfc="none", color="black", label="kept")
        axis.set(title=f"stage {stage}", xlabel="step")
    axes[0, 0].set(ylabel="loss (nats per token)", yscale="log")
    axes[0, 0].yaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter=NullFormatter()
    )
    axes[0, -1].legend(frameon=False)
    return figure


def prompt_findings(
    cases: pd.DataFrame, used: pd.DataFrame, frequency: pd.DataFrame, top_concepts: int, longest: int
) -> list[str]:
    """What prompts are made of. used: the description of each case that its prompt follows; longest: tokens of one."""
    by_class = comparing.by_class(cases, used)
    share = by_class["known"]
    unknown = ", ".join(name.replace("_", " ") for name in share.index[share == 0])
    sources = ", ".join(f"“{name}” ({n:,} images)" for name, n in used["describer"].value_counts().items())
    edited = (used["reviewer"] != "").sum()
    lines = [
        f"Prompts of {len(used):,} of {len(cases):,} images follow the descriptions of {sources}, {edited} of them "
        f"reviewed by people; {used['prompt'].nunique():,} different prompts of at most {longest} tokens, "
        "none truncated.",
        f"Features with a score on at least 99 % of the images: {(share >= 0.99).sum()} of {len(share)}; "
        f"on no image: {unknown or 'none'}.",
    ]
    if len(separation := comparing.separation(cases, used).head(4)):
        listed = ", ".join(f"{name.replace('_', ' ')} ({part:.0%})" for name, part in separation.items())
        lines.append(f"The features that differ most between diagnoses (share of variance between them): {listed}.")
    present, coded = (frequency["share"] > 0).sum(), (frequency["umls_cui"] != "").sum()
    lines.append(
        f"Prompts may mention {top_concepts} of {len(frequency)} concepts; {present} are present in train images, "
        f"{coded} have a UMLS code."
    )
    return lines


def review_findings(descriptions: pd.DataFrame) -> list[str]:
    """How many images several people have reviewed, on how many of these they differ, and who counts then
    (`words.choose.chosen`); nothing where there is no such image."""
    reviews = descriptions[descriptions["reviewer"] != ""]
    n = reviews.loc[reviews.duplicated("image_id"), "image_id"].nunique()
    different = reviews.drop_duplicates(["image_id", "valid", "text", *FEATURES])
    differ = different.loc[different.duplicated("image_id"), "image_id"].nunique()
    if not n:
        return []
    return [
        f"Images that several people have reviewed: {n:,}; they differ on {differ:,} of these. A rejection stands; "
        "else the description of the first one in the file counts."
    ]


def agreement_findings(comparison: Comparison, faithfulness: pd.DataFrame, ranks: pd.DataFrame) -> list[str]:
    """Whether each describer knows more of an image than its diagnosis; the verdicts are one family (Holm).

    faithfulness: `comparison.faithfulness_table`. ranks: `comparison.rank_agreement`; empty where there is no truth.
    """
    table = faithfulness.set_index("describer")
    if table.empty:
        return [NOTHING_KNOWN]
    lines, p = [], _above(table.loc[table["features"] > 0, "ahead"].dropna(), 0.0)
    for name in comparison.others:
        if not table.loc[name, "features"]:
            lines.append(f"“{name}” scores no feature that varies among the test images: nothing can be compared.")
            continue
        ahead, low, high = table.loc[name, "ahead"]
        verdict = "describes" if p[name] <= LEVEL else "is not shown to describe"
        lines.append(
            f"“{name}” {verdict} more than the diagnosis: mean AUC over {table.loc[name, 'features']} features against "
            f"“{comparison.reference_name}”, minus that of the class prior: {ahead:+.3f} [{low:+.3f}, {high:+.3f}], "
            f"Holm p {p_value(p[name], '= ')}."
        )
    if len(ranks):
        best, worst = ranks.iloc[0], ranks.iloc[-1]
        lines.append(
            f"Measured against true features: rank correlation from {worst['rho']:.3f} "
            f"({worst['feature'].replace('_', ' ')}) to {best['rho']:.3f} ({best['feature'].replace('_', ' ')}), "
            f"median {ranks['rho'].median():.3f}."
        )
    return lines


def diagnosis_findings(diagnoses: pd.DataFrame, other_prefers_own: float | None) -> list[str]:
    """How often texts name the right diagnosis, and how far the second encoder's similarities can be trusted.

    Whether they are right more often than a guess is one family of tests (Holm). diagnoses:
    `captioner_scores.diagnoses`. other_prefers_own: `image_text.prefers_own`; None without that encoder.
    """
    *rows, majority = diagnoses.to_dict("records")
    scores = pd.Series({row["describer"]: row["balanced_accuracy"] for row in rows}, dtype=object)
    lines, p = [], _above(scores, majority["balanced_accuracy"][0])
    for row in rows:
        (right, *ends), (balanced, *balanced_ends) = (row[name] for name in SCORES)
        above = "above" if p[row["describer"]] <= LEVEL else "not shown to be above"
        lines.append(
            f"The diagnosis that “{row['describer']}” names is right on {right:.0%} [{ends[0]:.0%}, {ends[1]:.0%}] of "
            f"{row['n']} test images, balanced over the diagnoses {balanced:.0%} [{balanced_ends[0]:.0%}, "
            f"{balanced_ends[1]:.0%}], which is {above} a guess ({majority['balanced_accuracy'][0]:.0%}, "
            f"Holm p {p_value(p[row['describer']], '= ')}); the most frequent diagnosis alone is right on "
            f"{majority['accuracy'][0]:.0%}."
        )
    if other_prefers_own is not None:
        lines.append(
            "The second encoder gives the reference's text of an image a higher similarity than the text of another "
            f"image of the same diagnosis in {other_prefers_own:.0%} of the cases (chance: 50 %)."
        )
    return lines


def _above(of_describers: pd.Series, guess: float) -> pd.Series:
    """Holm's p over describers that an estimate differs from `guess` (normal law), and 1 where it is not above it.

    of_describers: (estimate, low, high) by name, 95 % intervals, which give the standard error. Of four describers of
    no skill, any is called above in 1 to 3 % of studies, and would be in 5 to 11 % by its own interval (simulated).
    """
    estimate, low, high = np.array(of_describers.tolist(), float).reshape(-1, 3).T
    error = (high - low) / 2 / norm.ppf(0.975)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(estimate > guess, 2 * norm.sf((estimate - guess) / error), 1.0)
    return pd.Series(holm(p), of_describers.index)


def file_findings(table: pd.DataFrame | None, cases: pd.DataFrame) -> list[str]:
    """What a file of descriptions holds. table: of `description_files.read`; None: no file. cases: compared on."""
    if table is None:
        return []
    line = f"The file of descriptions describes {len(table):,} of the run's images"
    if elsewhere := table.attrs["elsewhere"]:
        line += f"; {elsewhere:,} of its images are no cases of this run and were left out"
    test = cases[cases["split"] == "test"]
    n = test["image_id"].isin(table["image_id"]).sum()
    if n < len(test):
        line += f". It describes {n:,} of {len(test):,} test images, so it is not compared with the others"
    return [f"{line}."]


def reply_findings(tables: Sequence[pd.DataFrame], account: Mapping[str, float] | None, model: str) -> list[str]:
    """What describers failed to describe, and what the server's model has cost (`Client.account`)."""
    lines = []
    for table in tables:
        failed = table[~table["valid"]]
        if len(failed):
            kinds = {"refused": "[refused]", "without JSON": "[no JSON]", "returned unfilled": "[unfilled]"}
            why = {name: failed["text"].str.startswith(mark).sum() for name, mark in kinds.items()}
            why["incomplete"] = len(failed) - sum(why.values())
            listed = ", ".join(f"{n} {name}" for name, n in why.items() if n)
            lines.append(
                f"“{table['describer'].iloc[0]}” gives no valid description of {len(failed):,} of {len(table):,} "
                f"images ({listed})."
            )
        if "repairs" in table.attrs and not table.attrs["repairs"]:
            lines.append(f"None of the {len(table):,} replies of “{table['describer'].iloc[0]}” needed a repair.")
    if account:
        lines.append(
            f"“{model}” has sent {account['replies']:,} replies: {account['input_tokens']:,} tokens in, "
            f"{account['output_tokens']:,} out, {account['cost']:.4f} USD."
        )
    return lines
