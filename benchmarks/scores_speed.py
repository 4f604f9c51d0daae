"""Bootstrap replicates of all scores of readings: scikit-learn on repeated rows against p2d_lib.instruments.scores.

    python benchmarks/scores_speed.py [--images 2000] [--resamples 2000] [--readings 50] [--plain-resamples 20]

Fifty readings are ten arms of five seeds. Both sides compute accuracy, balanced accuracy, macro and weighted F1, macro
precision, area, average precision and Brier score; ours also sensitivities and calibration. The plain side is timed on
a few resamples of one reading and scaled up. Run it on one core: OMP_NUM_THREADS=1.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from sklearn import metrics

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def plain(dx: np.ndarray, read: np.ndarray, p: np.ndarray, times: np.ndarray, classes: tuple[str, ...]) -> None:
    dx, read, p = (np.repeat(part, times, axis=0) for part in (dx, read, p))
    present = np.unique(dx)
    of_class = {"labels": present, "average": "macro", "zero_division": 0}
    metrics.accuracy_score(dx, read)
    metrics.recall_score(dx, read, **of_class)
    metrics.f1_score(dx, read, **of_class)
    metrics.f1_score(dx, read, average="weighted")
    metrics.precision_score(dx, read, **of_class)
    metrics.brier_score_loss(dx, p, labels=classes)
    for name in present:
        metrics.roc_auc_score(dx == name, p[:, classes.index(name)])
        metrics.average_precision_score(dx == name, p[:, classes.index(name)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--readings", type=int, default=50)
    parser.add_argument("--plain-resamples", type=int, default=20)
    options = parser.parse_args()

    from p2d_lib.instruments import intervals, scores
    from p2d_lib.vocabulary import DX

    rng = np.random.default_rng(0)
    dx = rng.choice(DX, options.images, p=[0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02])
    read = []
    for _ in range(options.readings):
        p = rng.dirichlet(np.ones(len(DX)), options.images)
        read.append((np.array(DX)[p.argmax(1)], p))
    lesions = rng.integers(0, max(2, 3 * options.images // 4), options.images)

    started = time.process_time()
    weights = intervals.resample(lesions, options.resamples, seed=0)
    as_numbers = weights.astype(float)
    for one in read:
        scores.resampled_scores(dx, *one, as_numbers)
    ours = time.process_time() - started
    print(f"ours: {ours:.2f} s of one core for {options.readings} readings and {options.resamples} resamples")

    started = time.process_time()
    for times in weights[: options.plain_resamples]:
        plain(dx, *read[0], times, DX)
    per_resample = (time.process_time() - started) / options.plain_resamples
    print(f"plain: {1000 * per_resample:.1f} ms a resample of one reading")
    print(f"ratio {per_resample * options.readings * (1 + options.resamples) / ours:.2f}")


if __name__ == "__main__":
    main()
