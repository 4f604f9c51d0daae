"""Names of sets, and numbers as the tables of 05 print them."""

import numpy as np

from p2d_lib.fidelity.measures import MEASURES
from p2d_lib.fidelity.sets import FLOOR, REFERENCE
from p2d_lib.report import tables

BOUNDS = ["estimate", "low", "high"]
NAMES = {"base": "base", "adapter": "adapter", FLOOR: "real"}  # the sets that every table compares
SPLITS = {FLOOR: "real (train)", REFERENCE: "real (test)"}
PROMPTS = {
    "own_prompt": "cosine, own prompt ↑",
    "other_prompts": "cosine, other prompts",
    "wins": "own prompt fits better ↑",
    "r_precision": "R-precision ↑",
    "r_same_class": "prompts shuffled within classes",
    "r_shuffled": "prompts shuffled",
}


def number(
    metric: str,
    estimate: float,
    low: float = np.nan,
    high: float = np.nan,
    empty: str = tables.NOTHING,
    digits: int | None = None,
) -> str:
    """An estimate with its interval where that is known; `empty` where it is not a number.

    digits: after the point; None: those of the measure, 3 of what is none.
    """
    if digits is None:
        digits = MEASURES[metric].digits if metric in MEASURES else 3
    estimate, low, high = (round(value, digits) + 0.0 for value in (estimate, low, high))  # + 0.0: no "-0.00"
    if np.isnan(estimate) or np.isnan(low):
        return empty if np.isnan(estimate) else f"{estimate:.{digits}f}"
    return tables.interval(estimate, low, high, digits)
