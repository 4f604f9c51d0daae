"""Fréchet distance of two sets of features: clean-fid's way against ours, both with means and covariances.

    .venv/bin/python benchmarks/frechet_speed.py

Both sides get the same float32 features, rectified and with a spectrum that falls as a network's does, and run in turn.
clean-fid computes mean, np.cov and a matrix square root. Prints both values and, last,
`ratio <number>`.
"""

import argparse
import time

import numpy as np
from cleanfid.fid import frechet_distance
from tqdm import tqdm

from p2d_lib.instruments.distances import frechet


def clean_fid(a: np.ndarray, b: np.ndarray) -> float:
    moments = [moment for x in (a, b) for moment in (np.mean(x, axis=0), np.cov(x, rowvar=False))]
    return float(frechet_distance(*moments))


def features(n: int, d: int, shift: float, seed: int) -> np.ndarray:
    """Rectified mixtures of d factors whose scale falls by e every d / 7: float32 (n, d)."""
    mixing = np.random.default_rng(0).normal(size=(d, d)) * np.exp(-7 * np.arange(d) / d)[:, None]
    factors = np.random.default_rng(seed).normal(size=(n, d))
    return np.maximum(factors @ mixing * 0.02 + shift, 0).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    a, b = features(options.n, options.d, 0.3, 1), features(options.n, options.d, 0.35, 2)
    sides, seconds, values = {"clean-fid": clean_fid, "ours": frechet}, {}, {}
    for _ in tqdm(range(options.rounds), unit="round"):
        for name, distance in sides.items():
            start = time.perf_counter()
            values[name] = distance(a, b)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    best = {name: min(each) for name, each in seconds.items()}
    print(*(f"{name} {values[name]:.9g} in {best[name]:.2f} s" for name in sides), sep=", ")
    print(f"relative difference {abs(values['ours'] / values['clean-fid'] - 1):.1e}")
    print(f"ratio {best['clean-fid'] / best['ours']:.2f}")


if __name__ == "__main__":
    main()
