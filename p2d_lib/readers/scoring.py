"""How well each reader names diagnoses, whatever kind of reader it is: the scores of persons, models and networks."""

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals
from p2d_lib.instruments.intervals import FEWEST, Interval
from p2d_lib.instruments.scores import scores_by_seed
from p2d_lib.readers.analysis import diagnosed
from p2d_lib.readings import SOURCES

SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auc": "AUC"}  # scores and their headings
NONE = Interval(float("nan"), float("nan"), float("nan"))


def scores(readings: pd.DataFrame, truth: pd.DataFrame, n_resamples: int = 1000, *, seed: int) -> pd.DataFrame:
    """One row a reader: reader, kind, arm, abstentions, and n, accuracy, macro_f1, auc for each source of images.

    readings: schemas.READINGS; several seeds of one arm are one reader, and several readings of one image by one reader
    each count. truth: columns image_id, source, dx, and lesion_id where it is known. Columns are named accuracy_real,
    accuracy_synthetic and so on: an `Interval` (0..1, 95 %) by bootstrap over lesions (and seeds), NaN for fewer than
    FEWEST lesions. auc: mean of one class against the rest, NaN for a reader without probabilities. What
    counts as a diagnosis is what `analysis.diagnosed` keeps. An abstention (dx_read "") counts as an error.
    """
    truth = truth.drop_duplicates("image_id")
    group = truth["lesion_id"] if "lesion_id" in truth else truth["image_id"]
    columns = truth[["image_id", "source", "dx"]].assign(lesion=group.fillna(truth["image_id"]))
    unknown = set(readings["image_id"]) - set(truth["image_id"])
    if unknown:
        raise ValueError(f"{len(unknown)} images read have no known diagnosis, the first is {min(unknown)!r}")
    table, rows = diagnosed(readings.merge(columns, on="image_id", validate="many_to_one")), []
    for (reader, kind, arm), one in table.groupby(["reader", "kind", "arm"], sort=False):
        row = {"reader": reader, "kind": kind, "arm": arm, "abstentions": int((one["dx_read"] == "").sum())}
        for source in SOURCES:
            row |= _of_source(one[one["source"] == source], source, n_resamples, seed)
        rows.append(row)
    return pd.DataFrame(rows)


def _of_source(part: pd.DataFrame, source: str, n_resamples: int, seed: int) -> dict[str, object]:
    n = {f"n_{source}": part["image_id"].nunique()}
    if part["lesion"].nunique() < FEWEST:
        return n | {f"{name}_{source}": NONE for name in SHOWN}
    of_seeds = [of_seed for _, of_seed in part.sort_values("image_id", kind="stable").groupby("seed")]
    weights = [intervals.resample(of_seed["lesion"], n_resamples, seed=seed) for of_seed in of_seeds]
    replicates = scores_by_seed(of_seeds, weights)
    return n | {f"{name}_{source}": _interval(replicates[name], seed) for name in SHOWN}


def _interval(replicates: np.ndarray, seed: int) -> Interval:
    interval = intervals.summarise(replicates, seed=seed, bounds=(0, 1))
    return interval if interval.estimate == interval.estimate else NONE
