"""What a synthetic set gives away of its train records: which records were among them, and what attributes they have.

Similarity alone is no verdict on privacy (a Delphi consensus, arXiv:2503.04980); these two measures ask what an
adversary gains. Both compare train records with held-out ones of the same population: what is inferred about
both alike is knowledge of the population, which is the purpose of the data; what is inferred better about train records
was given away.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from p2d_lib.instruments.intervals import resample

REPLICATES = 9999
ADDED = 2  # records to each stratum, as Agresti and Caffo (The American Statistician 54, 2000) add two to each sample


class Membership(NamedTuple):
    """What an adversary gains who says of each record whether it was in train.

    f1: of the attack, with its interval low..high; naive: of the adversary who claims every record; gain: (f1 - naive)
    / (1 - naive), 0 is none and 1 is certainty; share: of train records in the attack set; auc: probability that a
    train record is nearer to the synthetic set than a held-out one; p: one-sided, of auc = 0.5.
    """

    f1: float
    low: float
    high: float
    naive: float
    gain: float
    share: float
    auc: float
    p: float


class AttributeInference(NamedTuple):
    """Shares of records whose attribute is guessed right, of train and of held-out records, and the risk.

    risk: (train - held_out) / (1 - held_out), what is inferred beyond the population; low, high: its interval; p:
    one-sided, of train = held_out.
    """

    train: float
    held_out: float
    risk: float
    low: float
    high: float
    p: float


def attack_set(
    is_train: np.ndarray, groups: Sequence, sampling_fraction: float, seed: int, limit: int | None = None
) -> np.ndarray:
    """Rows of an attack set, one of each group, in which the share of train records is the sampling fraction.

    is_train (n,): bool; groups (n,): lesion_ids, since records of one lesion are no independent tries;
    sampling_fraction: train's share of the population that the records come from, 0..1. With another share the
    precision of an attack is not that of a real adversary (El Emam, Mosquera, Fang, JAMIA Open 5, 2022: the customary
    0.5 misleads). limit: of the set's size. Raises ValueError where one side is empty.
    """
    order = np.random.default_rng(seed).permutation(len(is_train))
    first = order[np.unique(np.asarray(groups).astype(str)[order], return_index=True)[1]]
    train, held_out = first[is_train[first]], first[~is_train[first]]
    if not 0 < sampling_fraction < 1 or not len(train) or not len(held_out):
        raise ValueError(
            f"{len(train)} train and {len(held_out)} held-out lesions at a sampling fraction of {sampling_fraction}: "
            "an attack set needs both, and a fraction between 0 and 1"
        )
    n = min(len(train) / sampling_fraction, len(held_out) / (1 - sampling_fraction), limit or np.inf)
    sizes = max(1, round(n * sampling_fraction)), max(1, round(n * (1 - sampling_fraction)))
    rng = np.random.default_rng([seed, 1])
    return np.sort(
        np.concatenate([rng.permutation(side)[:k] for side, k in zip((train, held_out), sizes, strict=True)])
    )


def membership(nearness: np.ndarray, is_train: np.ndarray, seed: int = 0) -> Membership:
    """How well nearness to the synthetic set tells train records from held-out ones (El Emam et al. 2022).

    nearness (n,): larger is nearer; is_train (n,): bool; rows of `attack_set`. The adversary chooses the threshold with
    the best F1 on one half of the records and is judged on the other, both ways, so that choosing gains nothing. The
    interval resamples records, with the thresholds as they are.
    """
    share = float(is_train.mean())
    fold = np.empty(len(is_train), int)
    order = np.random.default_rng(seed).permutation(len(is_train))
    for side in (True, False):
        rows = order[is_train[order] == side]
        fold[rows] = np.arange(len(rows)) % 2
    claims = np.concatenate([nearness[fold == k] >= _best_threshold(nearness, is_train, fold != k) for k in (0, 1)])
    truth = np.concatenate([is_train[fold == k] for k in (0, 1)])
    weights = resample(range(len(truth)), seed=seed).astype(float)
    hits, errors = weights @ (claims & truth), weights @ (claims != truth)
    f1 = 2 * hits / np.maximum(2 * hits + errors, 1)
    naive = 2 * share / (1 + share)
    test = stats.mannwhitneyu(nearness[is_train], nearness[~is_train], alternative="greater")
    auc = float(test.statistic / is_train.sum() / (~is_train).sum())
    low, high = np.quantile(f1[1:], [0.025, 0.975])
    gain = (f1[0] - naive) / (1 - naive)
    return Membership(float(f1[0]), float(low), float(high), naive, float(gain), share, auc, float(test.pvalue))


def _best_threshold(nearness: np.ndarray, is_train: np.ndarray, rows: np.ndarray) -> float:
    """The threshold with the best F1 among `rows` (bool); the lowest, which claims all, where none is better."""
    order = np.argsort(-nearness[rows], kind="stable")
    hits = np.cumsum(is_train[rows][order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + is_train[rows].sum())
    best = len(f1) - 1 - f1[::-1].argmax()
    return -np.inf if best == len(f1) - 1 else float(nearness[rows][order][best])


def attribute_inference(
    guessed: Sequence, true: Sequence, is_train: np.ndarray, strata: Sequence, seed: int = 0
) -> AttributeInference:
    """Whether an attribute is guessed better of train records than of held-out ones.

    guessed, true (n,): what the nearest synthetic record says and what is so; is_train (n,): bool; strata (n,): what
    the adversary knows beforehand, such as the diagnosis. Records of a stratum with one side only are left out, and
    held-out records are weighted to the strata of train. The risk is that of Giomi et al. (Anonymeter, PoPETs 2023).
    The p-value exchanges train and held-out within strata. The interval simulates new records: to each stratum ADDED
    records are added that are guessed as well as its side on average, since one or two records alone would always be
    guessed alike. It covers 91 to 98 % where two thirds of the strata hold one held-out record; without those,
    56 to 76 %. Raises ValueError when no stratum holds both.
    """
    right = np.asarray(guessed).astype(str) == np.asarray(true).astype(str)
    codes = np.unique(np.asarray(strata).astype(str), return_inverse=True)[1]
    n = np.stack([np.bincount(codes[side], minlength=codes.max() + 1) for side in (is_train, ~is_train)])
    hits = np.stack([np.bincount(codes[side & right], minlength=n.shape[1]) for side in (is_train, ~is_train)])
    n, hits = (counts[:, (n > 0).all(axis=0)] for counts in (n, hits))
    if not n.size:
        raise ValueError("no stratum holds both train and held-out records")
    rng = np.random.default_rng(seed)
    observed = _rates(hits, n)
    moved = rng.hypergeometric(hits.sum(0), (n - hits).sum(0), n[0], (REPLICATES, n.shape[1]))
    train, held_out = _rates(np.stack([moved, hits.sum(0) - moved]), n)
    p = (1 + (train - held_out >= observed[0] - observed[1] - 1e-12).sum()) / (1 + REPLICATES)
    smoothed = (hits + ADDED * np.array(observed)[:, None]) / (n + ADDED)
    resampled = rng.binomial(n[:, None], smoothed[:, None], (2, REPLICATES, n.shape[1]))
    low, high = np.quantile(_risk(*_rates(resampled, n)), [0.025, 0.975])
    return AttributeInference(*map(float, (*observed, _risk(*observed), low, high, p)))


def _rates(hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of right guesses of train and of held-out records (2, ..., strata), weighted by the strata of train."""
    weights = n[0] / n[0].sum()
    return hits[0] / n[0] @ weights, hits[1] / n[1] @ weights


def _risk(train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    return (train - held_out) / np.maximum(1 - held_out, 1e-9)
