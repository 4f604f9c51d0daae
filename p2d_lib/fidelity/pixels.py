"""Sets of images compared in their pixels: power by spatial frequency, and steps at the borders of blocks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from p2d_lib.fidelity.compare import features
from p2d_lib.fidelity.controls import CONTROLS, Control
from p2d_lib.fidelity.measures import ALL
from p2d_lib.fidelity.sets import REFERENCE, Sets
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.instruments.pixel_statistics import BANDS, band_power, border_ratio, step_energy
from p2d_lib.run import Run

BORDERS = "borders"
FINE = 3  # the first of the BANDS that are called fine detail: 0.2 cycles/px and above
POWERS = tuple(f"power {low:g}-{high:g}" for low, high in BANDS)
DETAIL = "fine detail"
MEASURES = (BORDERS, DETAIL, *POWERS)


def of_sets(
    run: Run, chosen: Sets, px: int, block: int, seed: int, controls: Mapping[str, Control] = CONTROLS
) -> dict[str, np.ndarray]:
    """Of every image of every set and control its power by band and its steps by phase: (n, 5 + block).

    px: images are reduced to this side first. block: px a side of what the autoencoder makes of one latent.
    """

    def statistics(images: np.ndarray) -> np.ndarray:
        return np.hstack([band_power(images), step_energy(images, block)])

    return features(run, chosen, statistics, px, seed, controls)


def measured(statistics: Mapping[str, np.ndarray], dx: np.ndarray, min_n: int) -> pd.DataFrame:
    """MEASURES of every set, real test images among them, with their 95 % jackknife intervals.

    statistics: of `of_sets`, row i of all sets of class dx[i]. "borders": energy of steps across block borders over
    that of all other steps, 1 without blocks. Powers: mean power over that of real test images, by band, and from 0.2
    cycles/px on ("fine detail"). Index set, dx ("all": classes pooled) and metric; columns n, estimate, low, high; NaN
    below min_n images of a class, and for the borders of images without any step.
    """
    rows = []
    for group in (*dict.fromkeys(dx), ALL):
        members = np.flatnonzero((dx == group) | (group == ALL))
        for name, of_set in statistics.items():
            values = np.full((len(MEASURES), 3), np.nan)
            if len(members) >= (min_n if group != ALL else 2):
                values = _estimates(statistics[REFERENCE][members], of_set[members])
            rows += [(name, group, metric, len(members), *row) for metric, row in zip(MEASURES, values, strict=True)]
    columns = ["set", "dx", "metric", "n", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(["set", "dx", "metric"])


def _estimates(real: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Estimate, low (at least 0) and high of MEASURES, (k, 3)."""

    def statistic(rows: np.ndarray) -> np.ndarray:
        power, expected = (x[rows, : len(BANDS)].mean(axis=0) for x in (other, real))
        borders = border_ratio(other[rows, len(BANDS) :])[0]
        return np.array([borders, power[FINE:].sum() / expected[FINE:].sum(), *(power / expected)])

    with np.errstate(invalid="ignore"):  # blocks without any step inside have an infinite ratio, and no interval
        estimates = jackknife(statistic, len(real))
    return np.stack([estimates.estimate, estimates.low.clip(0), estimates.high], axis=1)
