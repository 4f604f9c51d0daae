"""Whether a picture shows a lesion that a set of originals holds: a copy of one of them, or another photograph of it.

Nearest-neighbour distance alone says little: a typical picture lies near many others. `Originals.search` therefore
compares the nearest original with the next ones (Carlini et al., Extracting Training Data from Diffusion Models, USENIX
Security 2023, sec. 4), after both have been brought into the pose in which they agree best. Which value is too near is
not assumed but measured: `operating_point` reads it from real pictures of lesions that the originals do not hold.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from p2d_lib.instruments import poses

CANDIDATES = (12, 16)  # originals that are compared in all poses: by colour and lightness, by lightness alone
NEAREST = 0.005  # smallest distance that counts: what recompression alone changes
REFINED = 3  # candidates by either comparison that are compared in all poses of both pictures
NEXT = 3  # candidates of other lesions that the nearest is compared with
BLOCK = 256  # pictures that are searched for together


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
    that is nearest do not count as the next ones. Memory: about 2 kB a picture, and 100 MB while searching.
    """

    def __init__(self, images: np.ndarray, lesions: Sequence):
        if len(images) < 2:
            raise ValueError(f"{len(images)} originals: at least two are needed, the nearest is compared with the next")
        self.lesions = np.unique(np.asarray(lesions).astype(str), return_inverse=True)[1]
        self._planes = poses.planes(images)
        self._shared = poses.common(poses.vectors(self._planes))
        self._coarse = [self._sides(poses.vectors(self._planes, pose)) for pose in poses.COARSE]

    def _sides(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors as they are compared: of colour and lightness, and of lightness alone (where colour was lost)."""
        return poses.centred(values, self._shared), poses.unit(values * poses.LIGHTNESS, poses.FLAT)

    def search(self, images: np.ndarray, progress: str = "") -> pd.DataFrame:
        """Of each picture the original that it resembles most; images: uint8 (n, s, s, 3).

        Columns: original (its row); distance, 1 - the correlation in the best pose (0..2); score: the natural
        logarithm of how many times nearer it is than the NEXT candidates of other lesions, the larger of the comparisons
        by colour and lightness and by lightness alone. About 0: no nearer than others; a picture without contrast has
        0. progress: the label of a progress bar.
        """
        pictures = poses.planes(images)
        starts = range(0, len(images), BLOCK)
        blocks = tqdm(starts, desc=progress, unit="block", disable=not progress)
        parts = [self._search(pictures[:, start : start + BLOCK]) for start in blocks]
        row, distance, score = np.concatenate([np.zeros((0, 3)), *parts]).T
        return pd.DataFrame({"original": row.astype(int), "distance": distance, "score": score})

    def _search(self, pictures: np.ndarray) -> np.ndarray:
        """Row, distance and score of the nearest original of each picture: (n, 3)."""
        queries = [self._sides(poses.vectors(pictures, pose)) for pose in poses.OF_QUERY]
        candidates = np.concatenate(
            [self._nearest(queries[0], side, min(k, len(self.lesions))) for side, k in enumerate(CANDIDATES)], axis=1
        )
        distances = self._distances(queries[:1], candidates)
        best = np.concatenate([np.argsort(of_side, axis=1)[:, :REFINED] for of_side in distances], axis=1)
        refined = self._distances(queries, np.take_along_axis(candidates, best, axis=1))
        for of_side, finer in zip(distances, refined, strict=True):
            np.put_along_axis(of_side, best, finer, axis=1)
        return np.stack([self._judged(*of_one) for of_one in zip(candidates, *distances, strict=True)])

    def _distances(self, queries: Sequence[tuple[np.ndarray, np.ndarray]], candidates: np.ndarray) -> np.ndarray:
        """1 - the correlation in the best pose of each picture with its candidates (n, k), by side: (2, n, k)."""
        rows, place = np.unique(candidates, return_inverse=True)
        place = place.reshape(candidates.shape)
        distances = np.ones((2, *candidates.shape), np.float32)
        for pose in poses.FINE:
            for side, originals in enumerate(self._sides(poses.vectors(self._planes[:, rows], pose))):
                of_picture = originals[place]
                for query in queries:
                    fit = poses.paired_correlation(query[side], of_picture)
                    np.minimum(distances[side], 1 - fit, out=distances[side])
        return distances

    def _nearest(self, queries: tuple[np.ndarray, np.ndarray], side: int, k: int) -> np.ndarray:
        """Rows of the k originals that resemble each picture most in a coarse pose: (n, k)."""
        best = poses.correlation(queries[side], self._coarse[0][side])
        for originals in self._coarse[1:]:
            np.maximum(best, poses.correlation(queries[side], originals[side]), out=best)
        return np.argpartition(-best, k - 1, axis=1)[:, :k]

    def _judged(self, candidates: np.ndarray, *distances: np.ndarray) -> tuple[float, float, float]:
        """Row, distance and score of one picture; candidates (k,), distances by colour and by lightness (k,)."""
        results = []
        for of_side in np.maximum(distances, NEAREST):
            best = of_side.argmin()
            others = np.sort(of_side[self.lesions[candidates] != self.lesions[candidates[best]]])[:NEXT]
            score = np.log(others.mean() / of_side[best]) if len(others) else 0.0
            results.append((candidates[best], of_side[best], max(0.0, score)))
        return max(results, key=lambda result: result[2])


def operating_point(innocent: np.ndarray, rate: float = 0.01) -> OperatingPoint:
    """The threshold that at most `rate` of new innocent pictures pass, read from the scores (n,) of innocent ones.

    The rule of conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005): a new picture's score
    exceeds the k-th largest of n with probability k / (n + 1) at most. With fewer than 1 / rate - 1 pictures the
    rate cannot be reached; the threshold is then above all of them, and `nominal` is 1 / (n + 1).
    """
    n = len(innocent)
    if not n:
        raise ValueError("no innocent picture to set a threshold by")
    k = max(1, int(rate * (n + 1)))
    largest = np.sort(innocent)[-k]
    return OperatingPoint(float(np.nextafter(largest, np.inf)), k / (n + 1), n)
