"""Equalised odds: are malignant lesions read as malignant, and benign ones as benign, equally often in all groups?"""

import numpy as np
import pandas as pd

from p2d_lib.fairness.groups import LESION_TYPE, align, attributes, group_replicates, resample
from p2d_lib.instruments import intervals

RATES = ("malignant sensitivity", "malignant specificity")
COLUMNS = ("attribute", "arm", "n_groups", *RATES, "rate", "best", "worst", "difference", "low", "high", "ratio")


def equalised_odds(
    readings: pd.DataFrame,
    cases: pd.DataFrame,
    min_n: int,
    arms: tuple[str, ...],
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per attribute of patients and arm; columns COLUMNS.

    readings, cases, min_n: as in `groups.by_group`. A group takes part when it has min_n malignant and min_n benign
    lesions; n_groups of them do, and with fewer than two all is NaN. RATES: best group minus worst (0..1) of each rate,
    which is averaged over training seeds first. difference is the larger of both, ratio the smaller of two ratios of
    smallest to largest (0..1), of sensitivities and of rates of false alarms: fairlearn's equalized_odds_difference and
    equalized_odds_ratio (Hardt, Price, Srebro, NeurIPS 2016). rate, best and worst: which rate and groups make the
    difference. low, high: its 95 % interval over lesions and seeds, with rate and groups held fixed. Having picked the
    largest moves it away from 0, so it is descriptive and no test; `gaps.gaps` tests.
    """
    dx_read, rows = align(readings[readings["arm"].isin(arms)], cases)
    weights, table = resample(rows, n_resamples, seed), []
    for attribute, group in attributes(rows).items():
        if attribute in LESION_TYPE:
            continue
        replicates = group_replicates(dx_read, rows, group, weights, min_n, RATES)
        names = [name for name in group.cat.categories if all((name, rate) in replicates for rate in RATES)]
        for arm in arms:
            row = {"attribute": attribute, "arm": arm, "n_groups": len(names)}
            if len(names) > 1:
                row |= _of_arm({rate: {name: replicates[name, rate][arm] for name in names} for rate in RATES})
            table.append(row)
    return pd.DataFrame(table, columns=COLUMNS)


def _of_arm(of_rates: dict[str, dict[str, np.ndarray]]) -> dict:
    """The row of one arm. of_rates: {rate: {group: replicates (n_seeds, 1 + B)}}."""
    row, ratios, extremes = {}, [], {}
    for rate, of_groups in of_rates.items():
        means = {name: of_group[:, 0].mean() for name, of_group in of_groups.items()}
        best, worst = max(means, key=means.get), min(means, key=means.get)
        row[rate], extremes[rate] = means[best] - means[worst], (best, worst)
        smaller, larger = means[worst], means[best]
        if rate == RATES[1]:
            smaller, larger = 1 - means[best], 1 - means[worst]
        ratios.append(smaller / larger if larger else 1.0)  # both are 0
    rate = max(of_rates, key=row.get)
    best, worst = extremes[rate]
    difference = intervals.compare(of_rates[rate][best], of_rates[rate][worst])
    low, high = np.clip((difference.low, difference.high), -1, 1)
    return row | {
        "rate": rate, "best": best, "worst": worst, "difference": difference.difference, "low": low, "high": high,
        "ratio": min(ratios),
    }  # fmt: skip
