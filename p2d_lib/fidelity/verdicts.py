"""All hypotheses that 05 announces, as one family: Holm's correction runs over every one of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from p2d_lib.fidelity import alignment
from p2d_lib.fidelity.alignment import Alignment
from p2d_lib.fidelity.measures import ALL
from p2d_lib.fidelity.sets import FLOOR, REFERENCE
from p2d_lib.instruments import multiplicity, paired_tests, two_sample
from p2d_lib.seeds import derive

LEAST = 3  # images of a class: without one of them its KID needs two
COLUMNS = ("first", "second", "measure", "dx", "n", "estimate", "low", "high", "p")


def family(
    features: Mapping[str, np.ndarray],
    at_common_side: Mapping[str, np.ndarray],
    aligned: Mapping[str, Alignment],
    dx: np.ndarray,
    copying: pd.DataFrame,
    baselines: list[str],
    min_n: int,
    seed: int,
) -> pd.DataFrame:
    """One row for each hypothesis: COLUMNS and holm, the p-value by Holm over all rows.

    features, at_common_side: (n, d) by set, at full size and at the side of `compare.common_side`; aligned: by set; dx:
    the class of each row (n,); copying: of `copying.of_sets`. estimate: for "kid" the distance of first to real test
    images less that of second, with its interval (`paired_tests` says why no Fréchet distance is tested); for "auc" the
    area with which a classifier separates first from second; for "wins" the share of other classes' prompts that fit an
    image less well than its own; for "copying" how much nearer (below 0) images lie to train images than to unseen
    ones. Classes below min_n images, or below LEAST, are not tested.
    """
    counts = pd.Series(dx).value_counts()
    tested = [name for name in dict.fromkeys(dx) if counts[name] >= max(min_n, LEAST)]
    rows = [_nearer(features, "base", name, dx) for name in (ALL, *tested)]
    rows += [_nearer(at_common_side, name, ALL, dx) for name in baselines]
    if len(dx) >= 2 * two_sample.FOLDS:
        for name in ("adapter", "base", FLOOR):
            test = two_sample.auc_test(features[REFERENCE], features[name], seed=derive(seed, "auc", name))
            rows.append((name, REFERENCE, "auc", ALL, len(dx), test.observed, np.nan, np.nan, test.p))
    for name in ("adapter", REFERENCE):
        if name in aligned:
            test = alignment.follows_prompts(aligned[name], derive(seed, "prompts", name))
            n = len(aligned[name].own_prompt)
            rows.append((name, "other prompts", "wins", ALL, n, test.observed, np.nan, np.nan, test.p))
    rows += [
        ("adapter", "train", "copying", ALL, row.n, row.difference, np.nan, np.nan, row.p)
        for row in copying.itertuples() if row.set == "adapter"
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(holm=multiplicity.holm(table["p"]))


def _nearer(features: Mapping[str, np.ndarray], second: str, name: str, dx: np.ndarray) -> tuple:
    members = (dx == name) | (name == ALL)
    compared = (features[images][members] for images in ("adapter", second, REFERENCE))
    test = paired_tests.nearer(*compared, dx[members])
    return "adapter", second, "kid", name, int(members.sum()), *test
