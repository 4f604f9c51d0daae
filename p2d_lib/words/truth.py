"""What is known of a phantom's features, since it was rendered with them: columns true_<feature> of the cases."""

import math

import pandas as pd

from p2d_lib.vocabulary import FEATURES


def has_truth(cases: pd.DataFrame) -> bool:
    """Whether the cases carry the truth that they were rendered with."""
    return any(f"true_{name}" in cases for name in FEATURES)


def truth(cases: pd.DataFrame) -> pd.DataFrame:
    """The 22 scores that phantoms were rendered with, NaN without a column true_<feature>; index of `cases`."""
    return pd.DataFrame(
        {name: cases.get(f"true_{name}", math.nan) for name in FEATURES}, index=cases.index, dtype=float
    )
