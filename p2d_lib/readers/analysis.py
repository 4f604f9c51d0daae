"""What readings of the study say: can a reader tell real from synthetic, and read both alike?

The study holds one image a lesion, so images are independent and binomial intervals hold.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata
from sklearn import metrics
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from p2d_lib.instruments import intervals, multiplicity
from p2d_lib.instruments.intervals import Interval
from p2d_lib.readers.study import SOURCES
from p2d_lib.vocabulary import DX

NOTHING = Interval(np.nan, np.nan, np.nan)
SAW_SYNTHETIC = ("synthetic", "mixed")  # arms of 06 that were trained on the synthetic images they would read here


def analyse(readings: pd.DataFrame, key: pd.DataFrame, n_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """One row per reader: kind, arm, n, and as `stats.Interval`s dx_real, dx_synthetic, detection, auc; p, p_holm.

    readings: schemas.READINGS. key: of the study, or of several put together. dx_*: share of right diagnoses, with
    Wilson's interval (JASA 1927); NaN without such images, and for SAW_SYNTHETIC on synthetic ones. detection: share of
    right answers to "real or synthetic?", a probability from 0.5 on being "synthetic"; auc: of that probability, with a
    bootstrap interval over images; both NaN where the reader was not asked. p: two-sided binomial test of detection
    against a coin; p_holm over readers. Raises ValueError for a reading of an image that the key does not know.
    """
    rows = []
    for reader, read in _with_truth(readings, key).groupby("reader", sort=False):
        arm = read["arm"].iloc[0]
        right = read["dx_read"] == read["dx"]
        right = right[~((read["source"] == "synthetic") & (arm in SAW_SYNTHETIC))]
        asked = read[read["is_synthetic_read"].notna()]
        found = (asked["is_synthetic_read"] >= 0.5) == (asked["source"] == "synthetic")
        rows.append(
            {
                "reader": reader,
                "kind": read["kind"].iloc[0],
                "arm": arm,
                "n": len(read),
                **{f"dx_{source}": _wilson(right[read["source"] == source]) for source in SOURCES},
                "detection": _wilson(found),
                "auc": _auc(asked, n_resamples, seed),
                "p": binomtest(int(found.sum()), len(found)).pvalue if len(found) else np.nan,
            }
        )
    result = pd.DataFrame(rows)
    return result.assign(p_holm=multiplicity.holm(result["p"]))


def report(readings: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall, F1 (0..1) and n of diagnoses: a row per class, then their plain mean."""
    read = _with_truth(readings, key)
    result = metrics.classification_report(
        read["dx"], read["dx_read"], labels=DX, output_dict=True, zero_division=np.nan
    )
    table = pd.DataFrame({name: result[name] for name in (*DX, "macro avg")}).T.astype({"support": int})
    return table.rename(columns={"f1-score": "F1", "support": "n"}, index={"macro avg": "mean"})


def confusion(readings: pd.DataFrame, key: pd.DataFrame, source: str) -> np.ndarray:
    """Counts (7, 7), true class by class read, in the order of DX, on images of one source."""
    read = _with_truth(readings, key)
    read = read[read["source"] == source]
    return metrics.confusion_matrix(read["dx"], read["dx_read"], labels=DX)


def roc(readings: pd.DataFrame, key: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per reader who was asked: rates of real and of synthetic images called synthetic, as the threshold falls."""
    read = _with_truth(readings, key)
    asked = read[read["is_synthetic_read"].notna()]
    return {
        reader: metrics.roc_curve(one["source"] == "synthetic", one["is_synthetic_read"])[:2]
        for reader, one in asked.groupby("reader", sort=False)
    }


def agreement(readings: pd.DataFrame) -> pd.DataFrame:
    """Kappa between readers of the same images: question (dx | source), readers, n images all of them read, kappa.

    Cohen's for each pair (Educ Psychol Meas 1960), and Fleiss' where there are more than two (Psychol Bull 1971). Empty
    with fewer than two readers.
    """
    source = (readings["is_synthetic_read"] >= 0.5).where(readings["is_synthetic_read"].notna())
    rows = []
    for question, said in (("dx", readings["dx_read"]), ("source", source)):
        table = readings.assign(said=said).pivot(index="image_id", columns="reader", values="said")
        table = table.dropna(axis=1, how="all")
        for pair in combinations(table, 2):
            both = table[list(pair)].dropna().astype(str)
            kappa = metrics.cohen_kappa_score(both[pair[0]], both[pair[1]]) if len(both) else np.nan
            rows.append((question, " – ".join(pair), len(both), kappa))
        common = table.dropna().astype(str)
        if table.shape[1] > 2 and len(common):
            rows.append((question, f"all {table.shape[1]}", len(common), fleiss_kappa(aggregate_raters(common)[0])))
    return pd.DataFrame(rows, columns=["question", "readers", "n", "kappa"])


def _with_truth(readings: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    unknown = set(readings["image_id"]) - set(key["image_id"])
    if unknown:
        raise ValueError(f"{len(unknown)} images read are not in the study's key, the first is {min(unknown)!r}")
    return readings.merge(key[["image_id", "source", "dx"]], on="image_id", validate="many_to_one")


def _wilson(right: pd.Series) -> Interval:
    if not len(right):
        return NOTHING
    low, high = proportion_confint(int(right.sum()), len(right), method="wilson")
    return Interval(float(right.mean()), float(low), float(high))


def _auc(asked: pd.DataFrame, n_resamples: int, seed: int) -> Interval:
    synthetic, score = (asked["source"] == "synthetic").to_numpy(), asked["is_synthetic_read"].to_numpy()
    if synthetic.all() or not synthetic.any():
        return NOTHING

    def area(rows: np.ndarray) -> float:  # Mann-Whitney's U: sklearn's roc_auc_score, ten times faster
        truth, ranks = synthetic[rows], rankdata(score[rows])
        n = int(truth.sum())
        pairs = n * (len(rows) - n)
        return (ranks[truth].sum() - n * (n + 1) / 2) / pairs if pairs else np.nan

    return intervals.bootstrap(area, asked["image_id"], n_resamples, seed)
