"""Vision-language readers as the paper shows them: tables, figure, findings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from p2d_lib.instruments import intervals
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.readers import option_letters, vlm_scores
from p2d_lib.readers.scoring import SHOWN
from p2d_lib.readers.vlm_scores import MAJORITY, Replicates
from p2d_lib.readings import readings
from p2d_lib.report import figures, tables
from p2d_lib.vocabulary import DX

PARSED = {"strict": "strict", "lenient": "lenient", "lenient abstentions": "abstentions", "differing": "differing"}
LEGEND = (
    "Vision-language models: *zero-shot* reads as it comes, *LoRA* is the same model fitted on the train images. "
    "AUC: the mean area under the ROC curve of one diagnosis against the rest. Each test is about these models as they "
    "are, on other lesions like these; another `tiny`, made with another seed, would read otherwise."
)


def readers_table(of_readers: Replicates, parsed: pd.DataFrame) -> pd.DataFrame:
    """A row a reader: scores with intervals over lesions; of a model with answers in words what parsers make of them.

    of_readers: `vlm_scores.replicates`. parsed: `vlm_scores.parsers`.
    """
    rows = []
    of_parsers = parsed.set_index("reader")
    for reader, of_scores in of_readers.items():
        cells = {name: tables.interval(*intervals.summarise(of_scores[score])) for score, name in SHOWN.items()}
        words = {name: of_parsers[column].get(reader, np.nan) for column, name in PARSED.items()}
        rows.append({"reader": reader, **cells, **words})
    counts = dict.fromkeys(("abstentions", "differing"), "Int64")
    return pd.DataFrame(rows).astype(counts)


def differences_table(differences: pd.DataFrame) -> pd.DataFrame:
    """`vlm_scores.differences` as it is printed."""
    cells = differences[["difference", "low", "high"]].itertuples(index=False)
    return pd.DataFrame(
        {
            "comparison": [f"{row.first} − {row.second}" for row in differences.itertuples()],
            "difference": [tables.interval(*row) for row in cells],
            "p (Holm)": differences["p_holm"].map(tables.p_value),
        }
    )


def likelihood_table(ways: Mapping[str, Mapping[str, np.ndarray]], cases: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A row a reader and way of comparing likelihoods: accuracy, macro-F1, AUC, calibration error.

    ways: reader -> way -> probabilities (n, 7) of the cases (`vlm_likelihood.probabilities`).
    """
    rows = []
    for reader, of_ways in ways.items():
        read = [readings(cases["image_id"], way, "vlm", p=p) for way, p in of_ways.items()]
        for way, of_scores in vlm_scores.replicates(pd.concat(read), cases, seed=seed).items():
            cells = {name: tables.interval(*intervals.summarise(of_scores[score])) for score, name in SHOWN.items()}
            error = float(of_scores["calibration_error"][0, 0])
            rows.append({"reader": reader, "likelihood": way, **cells, "calibration error": error})
    return pd.DataFrame(rows, columns=["reader", "likelihood", *SHOWN.values(), "calibration error"])


def confusion_figure(table: pd.DataFrame, cases: pd.DataFrame) -> Figure:
    """Diagnoses of each vision-language reader, in percent of the true class. table: schemas.READINGS of the cases."""
    joined = table[table["kind"] == "vlm"].merge(cases[["image_id", "dx"]], on="image_id")
    panels = {
        reader: confusion_matrix(part["dx"], part["dx_read"], labels=DX)
        for reader, part in joined.groupby("reader", sort=False)
    }
    return figures.confusions(panels, DX)


def letters_table(letters: pd.DataFrame) -> pd.DataFrame:
    """`option_letters.compare` as it is printed."""
    preferred = letters[["probability", "low", "high"]].itertuples(index=False)
    return pd.DataFrame(
        {
            "reader": letters["reader"],
            "accuracy, one order": [tables.interval(*cell) for cell in letters["one_order"]],
            "accuracy, all orders": [tables.interval(*cell) for cell in letters["all_orders"]],
            "AUC, all orders": [tables.interval(*cell) for cell in letters["auc"]],
            "changed": letters["changed"].astype(float).round(2),
            "preferred letter": letters["letter"],
            "its probability": [tables.interval(*row) for row in preferred],
            "p (Holm)": letters["p_holm"].map(tables.p_value),
        }
    )


def letter_findings(letters: pd.DataFrame) -> list[str]:
    """What the order of lettered options does, as sentences. letters: of `option_letters.compare`."""
    lines = []
    for row in letters.itertuples():
        shown = row.p_holm <= LEVEL
        preference = (
            f"prefers the letter {row.letter}, whatever stands behind it: probability {row.probability:.2f} "
            f"[{row.low:.2f}, {row.high:.2f}] where {option_letters.NO_PREFERENCE:.2f} is no preference"
            if shown
            else "a preference for a letter is not shown"
        )
        lines.append(
            f"{row.reader}, asked with lettered options: {preference}, p (Holm) {tables.p_value(row.p_holm, '= ')}; "
            f"the order of the options changes the diagnosis of {row.changed:.0%} of the images; accuracy "
            f"{row.one_order[0]:.0%} in one order, {row.all_orders[0]:.0%} by the mean over all orders."
        )
    return lines


def external_table(falls: pd.DataFrame) -> pd.DataFrame:
    """`vlm_external.falls` as it is printed."""
    cells = falls[["difference", "low", "high"]].itertuples(index=False)
    return pd.DataFrame(
        {
            "reader": falls["reader"],
            "AUC, test images": [tables.interval(*cell) for cell in falls["test"]],
            "AUC, external images": [tables.interval(*cell) for cell in falls["external"]],
            "difference": [tables.interval(*row) for row in cells],
            "p (Holm)": falls["p_holm"].map(tables.p_value),
        }
    )


def external_findings(falls: pd.DataFrame) -> list[str]:
    """What other images than those of this data set cost each reader. falls: of `vlm_external.falls`."""
    lines = []
    for row in falls.dropna(subset="difference").itertuples():  # a server gives no AUC
        shown = row.p_holm <= LEVEL
        verdict = (
            ("reads them better" if row.difference > 0 else "reads them worse")
            if shown
            else "a difference is not shown"
        )
        lines.append(
            f"External images against test images, {row.reader}: AUC {row.difference:+.3f} [{row.low:.3f}, "
            f"{row.high:.3f}], p (Holm) {tables.p_value(row.p_holm, '= ')}: {verdict}."
        )
    return lines


def findings(differences: pd.DataFrame, prompts: pd.DataFrame, parsed: pd.DataFrame) -> list[str]:
    """The results as sentences, after one that says what the names mean. All three: of `vlm_scores`."""
    lines = [LEGEND] if len(differences) + len(prompts) + len(parsed) else []
    for row in differences.dropna(subset="difference").itertuples():  # a server gives no AUC
        second = "naming the most frequent diagnosis for every image" if row.second == MAJORITY else row.second
        name = f"**{row.first}** against {second}: AUC {row.difference:+.3f} [{row.low:.3f}, {row.high:.3f}]"
        shown = row.p_holm <= LEVEL
        verdict = ("better" if row.difference > 0 else "worse") if shown else "a difference is not shown"
        lines.append(f"{name}, p (Holm) {tables.p_value(row.p_holm, '= ')}: {verdict}.")
    for row in parsed.itertuples():
        lines.append(
            f"{row.reader}, answers in words: {row.strict:.0%} are right if the abbreviation of a diagnosis alone "
            f"counts (strict), {row.lenient:.0%} if a diagnosis within a sentence counts too (lenient); "
            f"{row.differing} answers are read differently by the two."
        )
    for row in prompts.itertuples(index=False):
        kappa = "undefined, since all diagnoses are one" if np.isnan(row.kappa) else f"{row.kappa:.2f}"
        lines.append(
            f"{row.reader}, {'by likelihood' if row[1] == 'likeliest' else 'by its words'}: the same question in other "
            f"words changes the diagnosis of {row.changed:.0%} of the images; accuracy {row[5]:.0%} to {row[6]:.0%}, "
            f"agreement of the wordings beyond chance (Fleiss' kappa) {kappa}."
        )
    return lines
