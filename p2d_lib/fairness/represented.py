"""Which groups of patients train under-represents, class by class, and how much worse test reads them.

A split at random by lesion, stratified by class, gives every group of a class the same expected share of train and of
test. A group that is rarer in train than this explains was left out there, by accident or by design.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binom, hypergeom
from scipy.stats.contingency import odds_ratio

from p2d_lib.fairness.gaps import permutation_p
from p2d_lib.fairness.groups import LESION_TYPE, align, attributes, group_replicates, resample
from p2d_lib.instruments import intervals, multiplicity
from p2d_lib.parameters.classify import REPLAY
from p2d_lib.vocabulary import DX

SHARES = ("dx", "attribute", "group", "train_of_group", "train", "test_of_group", "test", "p", "p_holm")
GAPS = ("dx", "attribute", "group", "arm", "recall", "of_others", "gap", "low", "high", "detectable", "p", "p_holm")
OTHERS = "others"


def shares(cases: pd.DataFrame, min_n: int) -> pd.DataFrame:
    """The share of each group among the lesions of each class, in train and in test: columns SHARES.

    cases: the artefact. train, test: the class's lesions whose group is known; *_of_group: those of the group. Groups
    with fewer than min_n lesions in test, or with fewer than min_n others there, are left out: how they are read could
    not be measured. p: Fisher's exact test, one-sided, of a share in train as large as in test; p_holm: over all rows.
    """
    lesions = cases.drop_duplicates("lesion_id").reset_index(drop=True)
    groups, rows = attributes(lesions).reset_index(drop=True), []
    for dx in DX:
        for attribute in groups.columns.difference(LESION_TYPE, sort=False):
            of_class = groups[attribute].notna() & (lesions["dx"] == dx)
            train, test = (of_class & (lesions["split"] == split) for split in ("train", "test"))
            for group in groups[attribute].cat.categories:
                inside = groups[attribute] == group
                counts = [int(where.sum()) for where in (train & inside, train, test & inside, test)]
                if min(counts[2], counts[3] - counts[2]) >= min_n:
                    rows.append((dx, attribute, group, *counts))
    table = pd.DataFrame(rows, columns=SHARES[:-2]).astype(dict.fromkeys(SHARES[3:7], int))
    of_group, of_class = table["train_of_group"] + table["test_of_group"], table["train"] + table["test"]
    p = hypergeom.cdf(table["train_of_group"], of_class, of_group, table["train"])
    return table.assign(p=p, p_holm=multiplicity.holm(p))


def under_represented(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `shares` whose share in train is shown to be lower than in test."""
    return table[table["p_holm"] <= multiplicity.LEVEL].reset_index(drop=True)


def times_rarer(row: pd.Series) -> tuple[float, float, float]:
    """How many times rarer a group is in train than in test: the odds ratio, and its 95 % interval.

    row: of `shares`. The conditional estimate, and the exact interval that belongs to Fisher's test (scipy's
    `odds_ratio`); infinite where train has no lesion of the group.
    """
    inside, outside = row[["test_of_group", "train_of_group"]], row[["test", "train"]]
    counts = [inside.astype(int).tolist(), (outside.to_numpy(int) - inside.to_numpy(int)).tolist()]
    result = odds_ratio(counts)
    return float(result.statistic), *map(float, result.confidence_interval())


def detectable(table: pd.DataFrame, power: float = 0.8) -> np.ndarray:
    """How many times rarer in train (odds ratio) `shares` would find each of its groups with this power: float (rows,).

    table: of `shares`. Fisher's test at the first step of Holm's correction; the group's share in test is that of train
    and test together. Infinite where train could lack the group altogether and the test would still rarely find it.
    """
    times, found, known = np.geomspace(1.1, 100, 200), [], {}
    for row in table.itertuples():
        a, b = np.arange(row.train + 1)[:, None], np.arange(row.test + 1)
        if (row.train, row.test) not in known:  # large classes take seconds
            of_both = np.arange(row.train + row.test + 1)
            p = hypergeom.pmf(a, row.train + row.test, of_both, row.train).cumsum(0)  # cdf takes each value singly
            known[row.train, row.test] = p[a, a + b] <= multiplicity.LEVEL / len(table)
        called = known[row.train, row.test]
        share = (row.train_of_group + row.test_of_group) / (row.train + row.test)
        odds = share / (1 - share) / times
        of_train, of_test = binom.pmf(a, row.train, odds / (1 + odds)), binom.pmf(b, row.test, share)
        enough = of_train.T @ (called @ of_test) >= power
        found.append(times[enough.argmax()] if enough.any() else np.inf)
    return np.array(found)


def change(first: str, second: str) -> str:
    """What stands for an arm in a row that holds the gap of arm `second` minus that of arm `first`."""
    return f"{second} − {first}"


def contrasts(arms: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of arms whose gaps are compared: the first arm with each other one, and replay, where it is an arm,
    with each one that shows synthetic images: "real+replay:skin-tones" with "mixed:skin-tones", else REPLAY.

    Against `real` an arm differs in balancing and in pixels; against replay that balances alike in the pixels alone.
    """
    pairs = [(arms[0], arm) for arm in arms[1:]]
    for arm in arms[1:]:
        alike = REPLAY + "".join(re.findall(":[^@]*", arm))
        replay = alike if alike in arms else REPLAY
        pairs += [(replay, arm)] if replay in arms[1:] and not arm.startswith("real") else []
    return pairs


def gaps(
    readings: pd.DataFrame,
    cases: pd.DataFrame,
    rare: pd.DataFrame,
    arms: Sequence[str],
    n_resamples: int = 2000,
    n_permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """How much less often groups are read right than other lesions of their class: recall of the others minus theirs.

    readings, cases: as in `gaps.gaps`. rare: rows of `shares`. A row for each of the arms, and one for each of the
    `contrasts`: how much wider the gap is in its second arm, under the name of `change`. Columns GAPS: recall,
    of_others (0..1; NaN for a change), gap, low, high and detectable (-1..1; of a change -2..2). Intervals resample
    lesions and seeds. p of an arm: `gaps.permutation_p` among the lesions of the class; of a change: bootstrap; p_holm:
    over all rows.
    """
    dx_read, rows = align(readings[readings["arm"].isin(arms)], cases)
    weights, of_images, parts = resample(rows, n_resamples, seed), attributes(rows).reset_index(drop=True), []
    for cell in rare.itertuples():
        group = of_images[cell.attribute]
        counted = np.flatnonzero(group.notna() & (rows["dx"] == cell.dx))
        sides = pd.Categorical(np.where(group[counted] == cell.group, cell.group, OTHERS), [OTHERS, cell.group])
        of_class = pd.Series(sides, name=f"{cell.dx}, {cell.group}")
        read, of_rows = dx_read.iloc[counted], rows.iloc[counted].reset_index(drop=True)
        replicates = group_replicates(read, of_rows, of_class, weights[:, counted], 1, ("accuracy",))
        others, inside = (replicates[side, "accuracy"] for side in (OTHERS, cell.group))
        p = permutation_p(read, of_rows, of_class, "accuracy", n_permutations, seed)
        about = {"dx": cell.dx, "attribute": cell.attribute, "group": cell.group}
        parts += [about | row for row in _compared(others, inside, arms, p)]
    table = pd.DataFrame(parts, columns=GAPS[:-1])
    return table.assign(p_holm=multiplicity.holm(table["p"]))


def _compared(others: dict, inside: dict, arms: Sequence[str], p: dict[str, float]) -> list[dict]:
    """The arms' gaps and their changes. others, inside: {arm: replicates of the recall (n_seeds, 1 + B)}."""
    rows = []
    for arm in arms:
        gap, low, high, _ = intervals.compare(others[arm], inside[arm])
        low, high = np.clip((low, high), -1, 1)  # few seeds spread the replicates beyond what a difference can be
        recalls = {"recall": inside[arm][:, 0].mean(), "of_others": others[arm][:, 0].mean()}
        detectable = intervals.minimal_detectable(others[arm], inside[arm])
        rows.append(
            {"arm": arm, **recalls, "gap": gap, "low": low, "high": high, "detectable": detectable, "p": p[arm]}
        )
    wide = {arm: others[arm] - inside[arm] for arm in arms}
    for first, second in contrasts(arms):
        gap, low, high, p_change = intervals.compare(wide[second], wide[first])
        low, high = np.clip((low, high), -2, 2)
        about = {"arm": change(first, second), "gap": gap, "low": low, "high": high, "p": p_change}
        rows.append(about | {"detectable": intervals.minimal_detectable(wide[second], wide[first])})
    return rows
