"""Pictures that stand out: empty, blurred, hairy, with a ruler, of low entropy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2d_lib.prep.pixels import DataError
from p2d_lib.vocabulary import DX

EMPTY = 3.0  # bits: noise around one grey level has less, log2(sd sqrt(2 pi e)) for a standard deviation up to 1.9
HAIRY, RULED = 0.01, 7  # share of the picture; ticks
BLURRED = 3.0  # robust standard deviations below the median of log sharpness


def entropy_filter(cases: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
    """How many images of each dx and of all have at least so much entropy: counts, one row per threshold (bits)."""
    kept = {float(bits): cases.loc[cases["entropy"] >= bits, "dx"].value_counts() for bits in thresholds}
    table = pd.DataFrame(kept, [dx for dx in DX if (cases["dx"] == dx).any()]).T.fillna(0).astype(int)
    return table.assign(all=table.sum(axis=1)).rename_axis("bits")


def leave_out_flat(
    cases: pd.DataFrame, measurements: pd.DataFrame, quarantine: pd.DataFrame, min_entropy: float
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The three tables with train images of less entropy (bits) moved to quarantine; val and test stay as they are.

    Raises DataError where no train image of a dx would be left.
    """
    flat = (cases["split"] == "train") & (cases["entropy"] < min_entropy)
    gone = set(cases["dx"]) - set(cases.loc[(cases["split"] == "train") & ~flat, "dx"])
    if flat.any() and gone:
        raise DataError(f"01_prep.min_entropy {min_entropy} bits leaves no train image of {min(gone)!r}; lower it")
    reason = "entropy " + cases["entropy"].map("{:.2f}".format) + f" bits is below min_entropy {min_entropy}"
    out = cases[["image_id"]].assign(file=cases["path"], row=0, stage="image", reason=reason)[flat]
    kept = (table[~flat].reset_index(drop=True) for table in (cases, measurements))
    return *kept, pd.concat([quarantine, out], ignore_index=True)


def flags(cases: pd.DataFrame) -> pd.DataFrame:
    """What stands out of a picture: is_empty, is_blurred, has_hair, has_ruler, bool, with the index of cases.

    is_empty: entropy below EMPTY bits. is_blurred: log sharpness lies BLURRED robust standard deviations below the
    median, both taken over pictures that are not empty; the deviation is 1.4826 x the median distance of those below
    the median, for hair and rulers only reach upwards. has_hair: hair covers HAIRY of the picture or more. has_ruler:
    RULED ticks or more stand in a row. Descriptive: nothing is left out for a flag, and ridges of the palm count as
    ticks too.
    """
    empty = cases["entropy"] < EMPTY
    sharpness = np.log(cases["sharpness"].clip(lower=1e-3))
    median = sharpness[~empty].median()
    below = (median - sharpness)[~empty & (sharpness < median)]
    return pd.DataFrame(
        {
            "is_empty": empty,
            "is_blurred": ~empty & (median - sharpness > BLURRED * 1.4826 * below.median()),
            "has_hair": cases["hair"] >= HAIRY,
            "has_ruler": cases["ruler"] >= RULED,
        }
    )
