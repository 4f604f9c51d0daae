"""Mean and covariance of features that arrive in batches: memory does not grow with the number of images."""

import numpy as np
from scipy.linalg.blas import dsyrk

ROWS = 1024  # summed at once


class Moments:
    """Count, mean and covariance of rows, as sums in float64 that are merged as Chan, Golub and LeVeque do (1979).

    d: features of a row, known after the first `add`. Equal, up to rounding, to the mean and covariance of all rows at
    once, in whatever batches and order they came.
    """

    def __init__(self):
        self.n = 0
        self.mean = np.empty(0)  # (d,)
        self._scatter = np.empty((0, 0))  # (d, d): sum of the outer products of rows less their mean

    @classmethod
    def of(cls, n: int, mean: np.ndarray, covariance: np.ndarray) -> "Moments":
        """Those of n rows with this mean (d,) and covariance (d, d)."""
        moments = cls()
        moments.n, moments.mean, moments._scatter = n, mean, covariance * (n - 1)
        return moments

    @property
    def d(self) -> int:
        """Features of a row; 0 before the first one."""
        return len(self.mean)

    @property
    def covariance(self) -> np.ndarray:
        """(d, d), with n - 1 in the denominator. Raises ValueError for fewer than two rows."""
        if self.n < 2:
            raise ValueError(f"a covariance needs two images or more, there are {self.n}")
        return self._scatter / (self.n - 1)

    def add(self, features: np.ndarray) -> "Moments":
        """Takes rows (b, d) in; returns itself. Raises ValueError for rows that are no finite numbers or of another d.

        One row at a time is slow.
        """
        features = np.asarray(features)
        if features.ndim != 2 or not np.isfinite(features).all():
            raise ValueError(f"features must be finite numbers of shape (n, d); these have shape {features.shape}")
        if len(features):
            part = Moments()
            part.n, part.mean = len(features), features.mean(axis=0, dtype=np.float64)
            part._scatter = _scatter(features, part.mean)
            self.merge(part)
        return self

    def without(self, other: "Moments") -> "Moments":
        """Those of the rows that remain when other's, which are among them, are taken out."""
        remaining, apart = self.n - other.n, other.mean - self.mean
        mean = self.mean - apart * (other.n / remaining)
        scatter = self._scatter - other._scatter - np.outer(apart, apart * (self.n * other.n / remaining))
        return Moments.of(remaining, mean, scatter / (remaining - 1))

    def merge(self, other: "Moments") -> "Moments":
        """Takes the rows of another one in; returns itself. Raises ValueError for another d."""
        if not (self.n and other.n):
            if other.n:
                self.n, self.mean, self._scatter = other.n, other.mean.copy(), other._scatter.copy()
            return self
        if self.d != other.d:
            raise ValueError(f"features of {self.d} and of {other.d} numbers: they are of two extractors")
        total, apart = self.n + other.n, other.mean - self.mean
        self._scatter += other._scatter
        self._scatter += np.outer(apart, apart * (self.n * other.n / total))
        self.mean = self.mean + apart * (other.n / total)
        self.n = total
        return self


def _scatter(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(d, d): the sum of the outer products of rows (n, d) less the mean; BLAS adds to one triangle, ROWS at a time."""
    triangle = np.zeros((len(mean), len(mean)), order="F")
    for start in range(0, len(features), ROWS):
        rows = features[start : start + ROWS] - mean
        triangle = dsyrk(1.0, rows.T, beta=1.0, c=triangle, overwrite_c=True)
    return triangle + np.triu(triangle, 1).T
