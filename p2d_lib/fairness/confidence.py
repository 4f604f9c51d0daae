"""Calibration by group: is a network as often right as it says, in every group?"""

import numpy as np
import pandas as pd

from p2d_lib.fairness.groups import LESION_TYPE, align, attributes, resample
from p2d_lib.instruments import intervals
from p2d_lib.instruments.calibration import calibration_error, error_if_calibrated
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

IF_CALIBRATED = ("ece_if_calibrated", "ece_if_calibrated_low", "ece_if_calibrated_high")
PRECISION = 0.01  # of the sum of a reading's probabilities
COLUMNS = ("attribute", "group", "arm", "n_images", "n_lesions", "excess", "low", "high", "ece", *IF_CALIBRATED)


def by_group(
    readings: pd.DataFrame,
    cases: pd.DataFrame,
    min_n: int,
    arms: tuple[str, ...],
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per attribute of patients, group and arm; columns COLUMNS, means over training seeds.

    readings, cases: as in `groups.by_group`, with probabilities p_*. excess: mean probability of the diagnosis read
    minus the share of right readings (-1..1; above 0 the network is overconfident), with its 95 % interval over lesions
    and seeds. ece: the expected calibration error (0..1), which grows as groups get smaller, so that groups of unequal
    size are not comparable by it; IF_CALIBRATED is what a calibrated network would have on the same images, its mean
    and middle 95 % (`calibration.error_if_calibrated`). NaN in a group of fewer than min_n lesions. Classes are no
    groups here: whoever knows the class of a lesion expects another share of right readings than the network may state.
    Raises ValueError as `groups.align` does, and for a reading without diagnosis or whose p_* do not add up to 1.
    """
    readings = readings[readings["arm"].isin(arms)]
    dx_read, rows = align(readings, cases)
    confidence = _confidence(readings, dx_read)
    right = dx_read.to_numpy(object) == rows["dx"].to_numpy(object)[:, None]
    weights, table = resample(rows, n_resamples, seed), []
    of_columns = dx_read.columns.get_level_values("arm")
    for attribute, group in attributes(rows).items():
        for name in () if attribute in LESION_TYPE else group.cat.remove_unused_categories().cat.categories:
            inside = np.flatnonzero((group == name).to_numpy())
            n_lesions = rows["lesion_id"].iloc[inside].nunique()
            for arm in arms:
                row = {
                    "attribute": attribute,
                    "group": name,
                    "arm": arm,
                    "n_images": len(inside),
                    "n_lesions": n_lesions,
                }
                if n_lesions >= min_n:
                    part = np.ix_(inside, np.flatnonzero(of_columns == arm))
                    row |= _calibration(confidence[part], right[part], weights[:, inside], derive(seed, "calibrated"))
                table.append(row)
    return pd.DataFrame(table, columns=COLUMNS)


def _confidence(readings: pd.DataFrame, dx_read: pd.DataFrame) -> np.ndarray:
    """The probability of the diagnosis read (n, k), rows and columns as in dx_read."""
    p = readings[[f"p_{dx}" for dx in DX]].to_numpy(float)
    stateless = (readings["dx_read"] == "").to_numpy() | ~(np.abs(p.sum(1) - 1) < PRECISION)
    if stateless.any():
        first = readings[stateless].iloc[0]
        raise ValueError(
            f"{stateless.sum()} readings of networks name no diagnosis, or have probabilities that do not add up to 1; "
            f"the first is of image {first['image_id']!r} in arm {first['arm']!r}: run 06_classify again"
        )
    stated = p[np.arange(len(p)), pd.Index(DX).get_indexer(readings["dx_read"])]
    stated = readings.assign(stated=stated).pivot(index="image_id", columns=["arm", "seed"], values="stated")
    return stated.loc[dx_read.index, dx_read.columns].to_numpy(float)


def _calibration(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray, seed: int) -> dict[str, float]:
    """Of one group and arm. confidence, right: (n, n_seeds). weights: (1 + B, n)."""
    with np.errstate(invalid="ignore"):
        replicates = (weights @ (confidence - right) / weights.sum(1, keepdims=True)).T
    excess = intervals.summarise(replicates, bounds=(-1, 1))
    once = np.ones((len(confidence), 1))
    errors = [calibration_error(one, of_one, once)[0] for one, of_one in zip(confidence.T, right.T, strict=True)]
    expected = [error_if_calibrated(one, seed=seed % 2**32) for one in confidence.T]
    numbers = dict(zip(("excess", "low", "high"), excess, strict=True)) | {"ece": float(np.mean(errors))}
    return numbers | dict(zip(IF_CALIBRATED, np.mean(expected, axis=0), strict=True))
