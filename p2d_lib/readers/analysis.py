"""The readings of a study analysed: can a reader tell real from synthetic, and does it read both equally well?

The study holds one image a lesion, so images are independent and binomial intervals hold.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn import metrics
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    test_proportions_2indep,
)

from p2d_lib.instruments import agreement, equivalence, intervals, multiplicity, ranking
from p2d_lib.instruments.intervals import Interval
from p2d_lib.readings import SOURCES
from p2d_lib.vocabulary import DX

AGAIN = "the same images again"  # beside a reader's name: compared with the reader's own first answers
UNDEFINED = Interval(np.nan, np.nan, np.nan)
DETECTOR = "detector"  # of synthetic images: begins the names of the networks that answer "real or synthetic?" alone
TRAINED_ON_SYNTHETIC = ("synthetic", "mixed", "pretrain", "curriculum")  # kinds of arms of 06: on images of the study


def analyse(readings: pd.DataFrame, key: pd.DataFrame, n_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """One row per reader: reader, kind, arm, n; `Interval`s dx_*, detection, auc; p-values.

    readings: schemas.READINGS. key: of the study, or of several put together.
    dx_real, dx_synthetic: share of right diagnoses (0..1), with Wilson's interval (JASA 1927); undefined without such
    images that count (`diagnosed`). dx_difference: synthetic minus real, with Newcombe's
    interval (Stat Med 1998). detection: share of right answers to "real or synthetic?", where a probability above 0.5
    says "synthetic", one below says "real", and 0.5 takes no side and counts as wrong; auc: of that probability,
    bootstrap interval over images; undefined without answers.
    p_dx: score test of dx_difference (Miettinen, Nurminen, Stat Med 1985). p_auc: `equivalence.p_different_area`.
    p_dx_holm, p_auc_holm: Holm's correction over both tests of all readers together; simulated readers are a family of
    their own. Raises ValueError for a reading of an image that the key does not know.
    """
    rows = []
    for (reader, kind, arm), one in with_truth(readings, key).groupby(["reader", "kind", "arm"], sort=False):
        right = {source: (part["dx_read"] == part["dx"]).to_numpy() for source, part in _by_source(diagnosed(one))}
        dx_difference, p_dx = difference(right["synthetic"], right["real"])
        answered = one[one["is_synthetic_read"].notna()]
        synthetic = (answered["source"] == "synthetic").to_numpy()
        p_synthetic = answered["is_synthetic_read"].to_numpy(float)
        rows.append(
            {
                "reader": reader,
                "kind": kind,
                "arm": arm,
                "n": len(one),
                **{f"dx_{source}": _share(right[source]) for source in SOURCES},
                "dx_difference": dx_difference,
                "detection": _share(np.where(synthetic, p_synthetic > 0.5, p_synthetic < 0.5)),
                "auc": _auc(synthetic, p_synthetic, n_resamples, seed),
                "p_dx": p_dx,
                "p_auc": equivalence.p_different_area(synthetic, p_synthetic),
            }
        )
    return _corrected(pd.DataFrame(rows))


def report(readings: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall, F1 (0..1) and n of diagnoses: a row per class, then their plain mean."""
    table = with_truth(readings, key)
    result = metrics.classification_report(
        table["dx"], table["dx_read"], labels=DX, output_dict=True, zero_division=np.nan
    )
    rows = pd.DataFrame({name: result[name] for name in (*DX, "macro avg")}).T.astype({"support": int})
    return rows.rename(columns={"f1-score": "F1", "support": "n"}, index={"macro avg": "mean"})


def source_report(readings: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall, F1 (0..1) and n of "real or synthetic?": a row per source, then the share of right answers.

    Answers at 0.5 take no side: they count in n and recall, and in no precision. NaN where no image is called so.
    """
    table = with_truth(readings, key)
    table = table[table["is_synthetic_read"].notna()]
    sign = np.sign(table["is_synthetic_read"] - 0.5).map({-1: "real", 0: "neither", 1: "synthetic"})
    result = metrics.precision_recall_fscore_support(table["source"], sign, labels=SOURCES, zero_division=np.nan)
    rows = pd.DataFrame(dict(zip(("precision", "recall", "F1", "n"), result, strict=True)), index=SOURCES)
    right = pd.DataFrame({"recall": [(sign == table["source"]).mean()], "n": [len(table)]}, index=["right answers"])
    return pd.concat([rows, right])


def confusion(readings: pd.DataFrame, key: pd.DataFrame, source: str) -> np.ndarray:
    """Counts (7, 7), true class by class read, in the order of DX, on images of one source."""
    table = with_truth(readings, key)
    table = table[table["source"] == source]
    return metrics.confusion_matrix(table["dx"], table["dx_read"], labels=DX)


def roc(readings: pd.DataFrame, key: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per reader who answered: rates of real and of synthetic images called synthetic, as the threshold falls."""
    table = with_truth(readings, key)
    answered = table[table["is_synthetic_read"].notna()]
    return {
        reader: metrics.roc_curve(one["source"] == "synthetic", one["is_synthetic_read"])[:2]
        for reader, one in answered.groupby("reader", sort=False)
    }


def kappa(readings: pd.DataFrame, repeats: pd.DataFrame | None = None) -> pd.DataFrame:
    """Agreement of the readers: question (dx | source), then readers, n, kappa as `agreement.kappa` gives them.

    repeats: readings of the second showing of images; their readers are compared with their first answers, too.
    """
    tables = []
    for question, column in (("dx", "dx_read"), ("source", "source_read")):
        first = _answers(readings, column)
        tables.append(agreement.kappa(first).assign(question=question))
        again = _answers(repeats, column) if repeats is not None and len(repeats) else pd.DataFrame()
        for reader in again:
            both = pd.DataFrame({reader: first[reader], AGAIN: again[reader]})
            tables.append(agreement.kappa(both).assign(question=question))
    return pd.concat(tables)[["question", *agreement.COLUMNS]]


def _answers(readings: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row an image, one column a reader; column: dx_read, or source_read (is the image called synthetic?)."""
    p = readings["is_synthetic_read"]
    source = (p > 0.5).where(p.notna() & (p != 0.5))
    return readings.assign(source_read=source).pivot(index="image_id", columns="reader", values=column)


def asked(readings: pd.DataFrame) -> pd.DataFrame:
    """The readings of those who were asked for a diagnosis. A network that names none is a detector of synthetic
    images; a person or a model who names none abstains."""
    return readings[(readings["kind"] != "network") | (readings["dx_read"] != "")]


def diagnosed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `with_truth` whose diagnosis counts: of those who were `asked`, and of synthetic images for none of
    TRAINED_ON_SYNTHETIC."""
    table = asked(table)
    trained = table["arm"].str.split("[@:]").str[0].isin(TRAINED_ON_SYNTHETIC)
    return table[~trained | (table["source"] != "synthetic")]


def with_truth(readings: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """Readings with the source and the dx of their images. key: columns image_id, source, dx. Raises ValueError for an
    image that the key does not know."""
    unknown = set(readings["image_id"]) - set(key["image_id"])
    if unknown:
        raise ValueError(f"{len(unknown)} images read are not in the study's key, the first is {min(unknown)!r}")
    truth = key[["image_id", "source", "dx"]].drop_duplicates("image_id")  # an image may be shown twice
    return readings.merge(truth, on="image_id", validate="many_to_one")


def _by_source(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(source, table[table["source"] == source]) for source in SOURCES]


def _corrected(result: pd.DataFrame) -> pd.DataFrame:
    """With p_dx_holm and p_auc_holm: one family of real readers, one of simulated ones."""
    tests = ["p_dx", "p_auc"]
    for simulated in (False, True):
        rows = (result["kind"] == "simulated") == simulated
        corrected = multiplicity.holm(result.loc[rows, tests].to_numpy().ravel()).reshape(-1, len(tests))
        result.loc[rows, [f"{test}_holm" for test in tests]] = corrected
    return result


def _share(right: Sequence[bool]) -> Interval:
    if not len(right):
        return UNDEFINED
    low, high = proportion_confint(int(np.sum(right)), len(right), method="wilson")
    return Interval(float(np.mean(right)), float(low), float(high))


def difference(first: np.ndarray, second: np.ndarray) -> tuple[Interval, float]:
    """Share of first minus share of second, bool each: Newcombe's interval, and the score test's two-sided p of no
    difference."""
    if not len(first) or not len(second):
        return UNDEFINED, np.nan
    estimate = float(first.mean() - second.mean())
    counts = first.sum(), len(first), second.sum(), len(second)
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    if (first.all() and second.all()) or not (first.any() or second.any()):  # no variance: the score is 0 / 0
        return Interval(estimate, float(low), float(high)), 1.0
    p = test_proportions_2indep(*counts, method="score", compare="diff", return_results=False)[1]
    return Interval(estimate, float(low), float(high)), float(p)


def _auc(synthetic: np.ndarray, p_synthetic: np.ndarray, n_resamples: int, seed: int) -> Interval:
    if synthetic.all() or not synthetic.any():
        return UNDEFINED
    weights = intervals.resample(range(len(synthetic)), n_resamples, seed=seed)
    return intervals.summarise(ranking.weighted_auc(synthetic, p_synthetic, weights), bounds=(0, 1))
