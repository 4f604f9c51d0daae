"""People as a sample of readers: what other readers would do with other images, by `instruments.multi_reader`.

Two questions: do they tell synthetic from real images, and do they read both equally well? Each is answered twice: is a
difference shown, and is it shown to be smaller than a margin? Neither means that the study is too small.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib.instruments import equivalence, multi_reader, multi_reader_scores, multiplicity
from p2d_lib.instruments.intervals import Interval
from p2d_lib.instruments.multi_reader import FIXED, RANDOM
from p2d_lib.instruments.reader_sizing import against_chance
from p2d_lib.readers import analysis
from p2d_lib.readings import SOURCES

ALL = "all readers"
DETECTION, DIAGNOSIS = "area under the ROC curve, real or synthetic", "right diagnoses, synthetic minus real"


class Tests(NamedTuple):
    """estimate: `Interval`, 95 %. p: of chance, or of no difference. p_equivalent: of a difference from it as large as
    the margin; NaN where a reader gave all images one answer, so that nothing was tested."""

    estimate: Interval
    p: float
    p_equivalent: float


def analyse(readings: pd.DataFrame, key: pd.DataFrame, margin: float) -> pd.DataFrame:
    """A row for each reader and question, and for all readers where there are several.

    readings: schemas.READINGS, of people. key: of the study. Columns: readers, question (DETECTION | DIAGNOSIS), n
    (images), estimate, p, p_equivalent (`Tests`), p_holm, p_equivalent_holm (Holm's correction, of single readers and
    of all readers apart), verdict. A single reader's result holds for this reader (Mann and Whitney's test, the score
    test, Newcombe's intervals); that of all readers for others too (readers and images random). Questions that a
    reader's readings do not answer have no row.
    """
    truth = key.drop_duplicates("image_id").set_index("image_id")
    source, dx = (truth[name].reindex(readings["image_id"]).to_numpy() for name in ("source", "dx"))
    readings = readings.assign(source=source, right=(readings["dx_read"].to_numpy() == dx).astype(float))
    names = readings["reader"].unique().tolist()
    groups = {name: [name] for name in names} | ({ALL: names} if len(names) > 1 else {})
    rows = []
    for group, members in groups.items():
        rows += _detection(group, readings[readings["reader"].isin(members)], truth, margin)
        rows += _diagnosis(group, readings[readings["reader"].isin(members)], truth, margin)
    table = pd.DataFrame(rows, columns=["readers", "question", "n", "estimate", "p", "p_equivalent"])
    for name in ("p", "p_equivalent"):
        family = table.groupby(table["readers"] == ALL)[name]
        table[f"{name}_holm"] = family.transform(lambda p: multiplicity.holm(p.to_numpy(float)))
    return table.assign(verdict=[_verdict(row, margin) for row in table.itertuples()])


def _matrix(readings: pd.DataFrame, truth: pd.DataFrame, column: str) -> np.ndarray:
    """One line a reader who answered, one column an image: float (r, n), NaN where there is no answer."""
    answered = readings[readings[column].notna()]
    return (
        answered.pivot(index="reader", columns="image_id", values=column).reindex(columns=truth.index).to_numpy(float)
    )


def _detection(group: str, readings: pd.DataFrame, truth: pd.DataFrame, margin: float) -> list[tuple]:
    ratings = _matrix(readings, truth, "is_synthetic_read")
    synthetic = (truth["source"] == "synthetic").to_numpy()
    known = np.isfinite(ratings)
    if not len(ratings) or not (known & synthetic).any(1).all() or not (known & ~synthetic).any(1).all():
        return []
    result = against_chance(multi_reader_scores.jackknife("auc", synthetic, ratings[None]), margin)
    analysed = Tests(Interval(result.estimate, result.low, result.high), result.p, result.p_equivalent)
    each = []
    for rating in ratings:
        one = synthetic[np.isfinite(rating)], rating[np.isfinite(rating)]
        interval = Interval(result.estimate, *equivalence.area_interval(*one))
        p_equivalent = equivalence.p_equivalent_area(*one, margin)
        each.append(Tests(interval, equivalence.p_different_area(*one), p_equivalent))
    return [(group, DETECTION, int(known.any(0).sum()), *_of_group(analysed, each))]


def _diagnosis(group: str, readings: pd.DataFrame, truth: pd.DataFrame, margin: float) -> list[tuple]:
    right = _matrix(readings, truth, "right")
    by_source = np.stack([np.where((truth["source"] == source).to_numpy(), right, np.nan) for source in SOURCES[::-1]])
    known = np.isfinite(by_source)
    if not known.any(2).all():
        return []
    scores = multi_reader_scores.jackknife("accuracy", np.zeros(len(truth), bool), by_source)
    row = multi_reader.analyse(scores, readers=RANDOM if len(right) > 1 else FIXED).differences.iloc[0]
    p_equivalent = equivalence.p_equivalent(row["difference"], row["error"], margin, row["df"])
    analysed = Tests(Interval(row["difference"], row["low"], row["high"]), row["p"], p_equivalent)
    each = []
    for _, one in readings.groupby("reader"):
        shares = [one["right"][one["source"] == source].to_numpy(bool) for source in SOURCES[::-1]]
        one_answer = one["dx_read"].nunique() == 1
        p_equivalent = np.nan if one_answer else equivalence.p_equivalent_shares(*shares, margin)
        each.append(Tests(*analysis.difference(*shares), p_equivalent))
    return [(group, DIAGNOSIS, int(known.any((0, 1)).sum()), *_of_group(analysed, each))]


def _of_group(analysed: Tests, each: list[Tests]) -> Tests:
    """The tests of a group: those of the analysis of variance where there are several readers and any variance.

    each: of every reader alone. A single reader has the larger p_equivalent of the two. A group in which nothing varies
    has what holds for each of its readers. Where a reader has no p_equivalent, the group has none.
    """
    p_equivalent = np.max([one.p_equivalent for one in each])
    if len(each) > 1 and np.isfinite(analysed.p_equivalent):
        return analysed if np.isfinite(p_equivalent) else analysed._replace(p_equivalent=np.nan)
    low, high = min(one.estimate.low for one in each), max(one.estimate.high for one in each)
    p_equivalent = np.maximum(p_equivalent, np.nan_to_num(analysed.p_equivalent))
    return Tests(analysed.estimate._replace(low=low, high=high), max(one.p for one in each), float(p_equivalent))


def _verdict(row: tuple, margin: float) -> str:
    different = row.p_holm <= multiplicity.LEVEL
    equivalent = row.p_equivalent_holm <= multiplicity.LEVEL
    if different and equivalent:
        return f"a difference, smaller than {margin:g}"
    if different:
        return "a difference"
    return f"no difference of {margin:g} or more" if equivalent else "not decided"
