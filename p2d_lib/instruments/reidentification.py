"""Whether a picture shows a lesion that a set of originals holds: a copy of one of them, or another photograph of it.

Nearest-neighbour distance alone says little: a typical picture lies near many others. `Originals.search` therefore
compares the nearest original with the next ones (Carlini et al., Extracting Training Data from Diffusion Models, USENIX
Security 2023, sec. 4), after both have been brought into the pose in which they agree best. Which value is too near is
not assumed but measured: `operating_point` reads it from real pictures of lesions that the originals do not hold.

Measured at 64 px, at a threshold that 1 % of real pictures of other lesions pass: of copies that are exact, mirrored,
turned, recompressed, tinted, grey, noisy, shifted by 6 to 12 % or cropped by up to 25 %, 97 to 100 % of each kind are
found on HAM10000 (7,000 originals) and on phantoms (1,010); of other photographs of one lesion 26 % and 58 %. Features
of an ImageNet network, whitened within lesions, found 25 % and 8 % of these, and 2 to 18 % of copies that were changed
in several ways at once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from p2d_lib.cores import workers
from p2d_lib.instruments import poses
from p2d_lib.instruments.conformal import limit_place, to_mix, upper_limit

CANDIDATES = (12, 16)  # originals that are compared in fine poses: the nearest by colour, and by lightness alone
REFINED = 3  # of these by either comparison that are compared in all poses of both pictures
NEXT = 3  # candidates of other lesions that the nearest is compared with
NEAREST = 0.005  # smallest distance that counts: what recompression alone changes
BLOCK = 1024  # pictures that are searched for together: they share many candidates, which are brought into poses once
AT_ONCE = 256  # of these, that are compared with all originals at a time

Sides = tuple[np.ndarray, np.ndarray]  # vectors by colour and lightness, and by lightness alone (where colour was lost)


class OperatingPoint(NamedTuple):
    """A threshold of scores (a picture is refused at or above it) and the false-alarm rate that it was set for.

    nominal: the largest rate at which pictures like those of the calibration pass the threshold, whatever their
    distribution; n: how many pictures it was set by.
    """

    threshold: float
    nominal: float
    n: int


class Originals:
    """The pictures that may have been copied, ready to be searched.

    images: uint8 (m, s, s, 3), m >= 2, s >= 24. lesions: (m,) which pictures show one lesion; pictures of the lesion
    that is nearest do not count as the next ones. Memory: about 30 kB a picture, and 200 MB while searching.
    """

    def __init__(self, images: np.ndarray, lesions: Sequence):
        if len(images) < 2:
            raise ValueError(f"{len(images)} originals: at least two are needed, the nearest is compared with the next")
        self.lesions = np.asarray(lesions).astype(str)
        self._planes = poses.planes(images)
        self._shared = poses.common(poses.vectors(self._planes))
        self._coarse = [self._sides(poses.vectors(self._planes, pose)) for pose in poses.COARSE]

    def search(self, images: np.ndarray, progress: str = "") -> pd.DataFrame:
        """Of each picture the original that it resembles most; images: uint8 (n, s, s, 3).

        Columns: original (its row); distance, 1 - the correlation in the best pose (0..2); score: the natural
        logarithm of how many times nearer it is than the NEXT candidates of other lesions, the larger one of two
        comparisons (by colour and lightness, by lightness alone). About 0: no nearer than others; a picture without
        contrast has 0. progress: the label of a progress bar. About 15 ms a picture on one core at m = 1,000.
        """
        parts = _in_blocks(self._search, progress, poses.planes(images))
        row, distance, score = np.concatenate([np.zeros((3, 0)), *parts], axis=1)
        return pd.DataFrame({"original": row.astype(int), "distance": distance, "score": score})

    def suspicion(self, images: np.ndarray, suspects: np.ndarray, lesions: Sequence, progress: str = "") -> np.ndarray:
        """The score that each picture has if its suspect is the nearest original: float (n,), below 0 where it is not.

        images, suspects: uint8 (n, s, s, 3), each picture with the one that it may show; lesions (n,): of the suspects.
        The suspect may be one of the originals or not: its lesion is left out of what it is compared with, so scores
        with suspects of both kinds can be compared.
        """
        lesions = np.asarray(lesions).astype(str)
        parts = _in_blocks(self._suspicion, progress, poses.planes(images), poses.planes(suspects), lesions[None])
        return np.concatenate([np.zeros(0), *parts])

    def _search(self, pictures: np.ndarray) -> np.ndarray:
        """Row, distance and score of the nearest original of each picture: (3, n)."""
        candidates, distances = self._candidates(self._queries(pictures))
        of_sides = []
        for of_side in distances:
            nearest = of_side.argmin(axis=1)[:, None]
            row, distance = (np.take_along_axis(values, nearest, axis=1)[:, 0] for values in (candidates, of_side))
            score = self._score(distance, self.lesions[row], candidates, of_side)
            of_sides.append(np.stack([row, distance, np.maximum(score, 0)]))
        return np.where(of_sides[0][2] >= of_sides[1][2], *of_sides)

    def _suspicion(self, pictures: np.ndarray, suspects: np.ndarray, lesions: np.ndarray) -> np.ndarray:
        queries = self._queries(pictures)
        candidates, distances = self._candidates(queries)
        to_suspects = self._distances(queries, suspects, np.arange(len(candidates))[:, None])[..., 0]
        sides = zip(to_suspects, distances, strict=True)
        return np.max([self._score(side, lesions[0], candidates, others) for side, others in sides], axis=0)

    def _sides(self, values: np.ndarray) -> Sides:
        return poses.centred(values, self._shared), poses.unit(values * poses.LIGHTNESS, poses.FLAT)

    def _queries(self, pictures: np.ndarray) -> list[Sides]:
        return [self._sides(poses.vectors(pictures, pose)) for pose in poses.OF_QUERY]

    def _candidates(self, queries: list[Sides]) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the originals that may be shown (n, k), and their distances by side (2, n, k)."""
        candidates = np.concatenate([self._nearest(queries[0], side, k) for side, k in enumerate(CANDIDATES)], axis=1)
        rows, place = np.unique(candidates, return_inverse=True)
        place, planes = place.reshape(candidates.shape), self._planes[:, rows]
        distances = self._distances(queries[:1], planes, place)
        best = np.concatenate([np.argsort(of_side, axis=1)[:, :REFINED] for of_side in distances], axis=1)
        rows, place = np.unique(np.take_along_axis(place, best, axis=1), return_inverse=True)
        refined = self._distances(queries, planes[:, rows], place.reshape(best.shape))
        for of_side, finer in zip(distances, refined, strict=True):
            np.put_along_axis(of_side, best, finer, axis=1)
        return candidates, distances

    def _nearest(self, query: Sides, side: int, k: int) -> np.ndarray:
        """Rows of the k originals that resemble each picture most in a coarse pose: (n, k)."""
        k = min(k, len(self.lesions))
        rows = [np.zeros((0, k), int)]
        for start in range(0, len(query[side]), AT_ONCE):
            pictures = query[side][start : start + AT_ONCE]
            fits = (poses.correlation(pictures, originals[side], lightness=bool(side)) for originals in self._coarse)
            rows.append(np.argpartition(-reduce(np.maximum, fits), k - 1, axis=1)[:, :k])
        return np.concatenate(rows)

    def _distances(self, queries: Sequence[Sides], planes: np.ndarray, place: np.ndarray) -> np.ndarray:
        """1 - the correlation in the best pose of each picture with originals planes[:, place], by side: (2, n, k)."""
        distances = np.ones((2, *place.shape), np.float32)
        pictures = [np.stack(of_poses, axis=1) for of_poses in zip(*queries, strict=True)]
        for pose in poses.FINE:
            for side, originals in enumerate(self._sides(poses.vectors(planes, pose))):
                fit = poses.paired_correlation(pictures[side], originals[place], lightness=bool(side))
                np.minimum(distances[side], 1 - fit, out=distances[side])
        return distances

    def _score(
        self, distance: np.ndarray, lesions: np.ndarray, candidates: np.ndarray, distances: np.ndarray
    ) -> np.ndarray:
        """How many times nearer `distance` (n,) is than the NEXT candidates of other lesions, its logarithm (n,)."""
        others = np.sort(np.where(self.lesions[candidates] == lesions[:, None], np.nan, distances), axis=1)[:, :NEXT]
        n = np.isfinite(others).sum(axis=1)
        mean = np.where(n > 0, np.nansum(others, axis=1) / np.maximum(n, 1), distance)
        return np.log(np.maximum(mean, NEAREST) / np.maximum(distance, NEAREST))


def _in_blocks(function: Callable, progress: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """function of the arrays, BLOCK pictures (which lie on axis 1) at a time, a block a core."""
    starts = range(0, arrays[0].shape[1], BLOCK)
    with threadpool_limits(1), ThreadPoolExecutor(workers()) as pool:
        blocks = pool.map(lambda start: function(*(array[:, start : start + BLOCK] for array in arrays)), starts)
        return list(tqdm(blocks, progress, len(starts), unit="block", disable=not progress))


def operating_point(innocent: np.ndarray, rate: float = 0.01, weights: np.ndarray | None = None) -> OperatingPoint:
    """The threshold that at most `rate` of new innocent pictures pass, read from the scores (n,) of innocent ones.

    With fewer than 1 / rate - 1 pictures the rate cannot be reached; the threshold is then above all of them, and
    `nominal` is 1 / (n + 1) (`conformal.upper_limit`). weights (n,): of `conformal.to_mix`, where the new pictures are
    of other classes than the innocent ones; what no innocent picture stands for counts as refused. Raises ValueError
    without any picture.
    """
    known = 1.0 if weights is None else min(1.0, float(weights.sum()))
    if not len(innocent):
        raise ValueError("no innocent picture to set a threshold by")
    limit, chance = upper_limit(innocent, rate, weights) if known else (innocent.max(), 1.0)
    return OperatingPoint(float(np.nextafter(limit, np.inf)), chance + (1 - known) * (1 - chance), len(innocent))


def cross_fitted_alarms(
    innocent: np.ndarray, lesions: Sequence, rate: float = 0.01, seed: int = 0, weights: np.ndarray | None = None
) -> np.ndarray:
    """Which innocent pictures (n,) are refused at the threshold that the others set: bool (n,), from two halves.

    lesions (n,): pictures of one lesion lie in one half, so no picture has a part in setting its own threshold. The
    share is the measured false-alarm rate. weights: as in `operating_point`. Raises ValueError for fewer than two
    lesions.
    """
    names, code = np.unique(np.asarray(lesions).astype(str), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{len(names)} lesion: two halves of innocent pictures need two lesions or more")
    half = np.random.default_rng(seed).permutation(len(names))[code] % 2
    thresholds = [
        operating_point(innocent[half != k], rate, None if weights is None else weights[half != k]).threshold
        for k in (0, 1)
    ]
    return innocent >= np.array(thresholds)[half]


def more_refused(
    scores: np.ndarray,
    classes: Sequence,
    innocent: np.ndarray,
    of_innocent: Sequence,
    rate: float = 0.01,
    seed: int = 0,
    n_permutations: int = 1999,
) -> float:
    """One-sided p-value that a set's pictures are refused more often than innocent ones of their classes would be.

    scores, classes (m,): of the set; innocent, of_innocent (n,): scores and classes of the innocent pictures, which set
    the threshold for `rate` by `conformal.to_mix`. Pictures of one class change sides at random, and the threshold is
    set anew each time. So the level holds whatever the scores of each class are, and however frequent the class is on
    either side; a class with few innocent pictures adds little evidence.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scores) + len(innocent))  # so that ties fall to either side
    order = order[np.argsort(-np.concatenate([scores, innocent])[order], kind="stable")]
    names = np.concatenate([np.asarray(classes).astype(str), np.asarray(of_innocent).astype(str)])[order]
    in_set = np.tile(order < len(scores), (1 + n_permutations, 1))  # line 0: as they are
    for members in (np.flatnonzero(names == name) for name in np.unique(names)):
        in_set[1:, members] = rng.permuted(in_set[1:, members], axis=1)
    of_class = dict(zip(names[~in_set[0]], to_mix(names[~in_set[0]], names[in_set[0]]), strict=True))
    weights, refused = np.array([of_class.get(name, 0.0) for name in names]), []
    for lines in np.array_split(in_set, 1 + len(in_set) // AT_ONCE):
        place, _ = limit_place(np.where(lines, 0, weights), rate)
        refused.append(np.take_along_axis(lines.cumsum(axis=1), place[:, None], axis=1)[:, 0])
    refused = np.concatenate(refused)
    return float(np.mean(refused >= refused[0]))
