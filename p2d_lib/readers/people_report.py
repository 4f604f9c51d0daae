"""People as readers, as the paper shows them: scores beside other readers, tests of all together, sizing, agreement."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.instruments import agreement, rates
from p2d_lib.readers import analysis, isic2018_people, scoring, together
from p2d_lib.readings import SOURCES
from p2d_lib.report import figures, tables


def scores_table(readings: pd.DataFrame, truth: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`scoring.scores` of every reader as it is printed: a column for each score and source."""
    return _printed(scoring.scores(readings, truth, seed=seed), SOURCES)


def beside_published(file: str, external: pd.DataFrame, cases: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, str]:
    """People whose readings are published beside networks on the same images: the table, and the finding.

    file: of `isic2018_people.read`. external, cases: artefacts of 06. Raises PublishedError.
    """
    both, truth = isic2018_people.beside(isic2018_people.read(file), external, cases)
    scores = scoring.scores(both, truth, seed=seed)
    batch = isic2018_people.in_batches(scores).set_index("reader")
    values = [f"{name} {tables.interval(*row, 1)}" for name, row in zip(batch.index, batch.to_numpy(), strict=True)]
    finding = (
        f"On {scores['n_real'].max()} ISIC 2018 test images that people have read, the expected number of right "
        f"diagnoses in a random batch of {isic2018_people.BATCH}: {'; '.join(values)}."
    )
    return _printed(scores, ("real",)), finding


def _printed(scores: pd.DataFrame, sources: tuple[str, ...]) -> pd.DataFrame:
    printed = scores[["reader", "kind"]].copy()
    for source in sources:
        printed[f"n, {source}"] = scores[f"n_{source}"]
        for column, name in scoring.SHOWN.items():
            printed[f"{name}, {source}"] = [tables.interval(*cell, 2) for cell in scores[f"{column}_{source}"]]
    return printed.assign(abstentions=scores["abstentions"])


def together_table(result: pd.DataFrame) -> pd.DataFrame:
    """`together.analyse` as it is printed."""
    return pd.DataFrame(
        {
            "readers": result["readers"],
            "question": result["question"],
            "n": result["n"],
            "estimate": [tables.interval(*cell, 2) for cell in result["estimate"]],
            "p (difference)": result["p_holm"].map(tables.p_value),
            "p (equivalence)": result["p_equivalent_holm"].map(tables.p_value),
            "verdict": result["verdict"],
        }
    )


def together_findings(result: pd.DataFrame, simulated: bool) -> list[str]:
    """A sentence for each question that several readers answered together."""
    who = "Simulated readers (no persons)" if simulated else "People like these"
    words = {
        together.DETECTION: "tell synthetic from real images with an area under the ROC curve of",
        together.DIAGNOSIS: "read synthetic and real images with a difference in the share of right diagnoses of",
    }
    rows = result[result["readers"] == together.ALL].itertuples()
    return [f"{who} {words[row.question]} {tables.interval(*row.estimate, 2)}: {row.verdict}." for row in rows]


def power_figure(power: pd.DataFrame, area: float, margin: float, n_studies: int) -> Figure:
    """Share of n_studies simulated studies a point that reach a verdict, with its exact 95 % interval, by the number of
    readers; a line and a band for each number of images."""
    figure, axes = plt.subplots(1, 2, figsize=(figures.TEXT_WIDTH, 2.4), sharey=True)
    titles = {"finds": f"finds an AUC of {area:g}", "cannot_tell": f"shows an AUC of 0.5 ± {margin:g}"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        for k, (images, rows) in enumerate(power.groupby("images")):
            axis.plot(rows["readers"], rows[column], **figures.line_style(k), markersize=3, label=f"{images} images")
            bounds = [rates.exact_interval(round(share * n_studies), n_studies) for share in rows[column]]
            axis.fill_between(rows["readers"], *np.transpose(bounds), color=f"C{k}", alpha=0.15, linewidth=0)
        axis.axhline(0.8, color="0.6", linewidth=0.8, linestyle=":")
        axis.set(title=title, xlabel="readers", ylim=(-0.02, 1.02))
    axes[0].set_ylabel("share of simulated studies")
    axes[1].legend(loc="lower right")
    return figure


def agreement_figure(readings: pd.DataFrame) -> Figure:
    """Cohen's kappa of the diagnoses of each two readers of the same images, as a matrix."""
    answers = analysis.asked(readings).pivot(index="image_id", columns="reader", values="dx_read")
    matrix = pd.DataFrame(1.0, answers.columns, answers.columns)
    for first in answers:
        for second in answers:
            if first != second:
                of_pair = agreement.kappa(answers[[first, second]]).iloc[0]
                matrix.loc[first, second] = of_pair["kappa"] if of_pair["n"] >= agreement.FEWEST else np.nan
    size = min(figures.TEXT_WIDTH, 1.6 + 0.42 * len(matrix))
    figure, axis = plt.subplots(figsize=(size, size))
    figures.heat_map(axis, matrix.rename_axis(index="", columns=""), bar="Cohen's kappa", numbers=".2f")
    plt.setp(axis.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    return figure
