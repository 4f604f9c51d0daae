"""CMMD: the published value where it is asked for, 0 on average for one law, a planted shift by its closed form."""

import numpy as np
import pytest

from p2d_lib.instruments.mmd import BANDWIDTH, SCALE, cmmd, unit_rows


def embeddings(n, seed, shift=0.0, d=32):
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += shift
    return x


def test_the_biased_value_is_the_formula_of_gretton_over_all_pairs():
    a, b = embeddings(15, 1), embeddings(12, 2, shift=1)

    def mean_kernel(x, y):
        x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
        return np.mean([[np.exp(-((u - v) ** 2).sum() / (2 * BANDWIDTH**2)) for v in y] for u in x])

    direct = SCALE * (mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b))
    assert cmmd(a, b, biased=True) == pytest.approx(direct, rel=1e-9)


def test_one_law_is_zero_on_average_without_bias_and_above_it_with_bias():
    pairs = [(embeddings(40, 2 * i), embeddings(40, 2 * i + 1)) for i in range(200)]
    unbiased, biased = (np.array([cmmd(*pair, biased=choice) for pair in pairs]) for choice in (False, True))
    assert abs(unbiased.mean()) < 3 * unbiased.std() / np.sqrt(len(pairs))
    assert (unbiased < 0).any()
    unlike = 1 - np.exp(-1 / BANDWIDTH**2)  # 1 - the mean kernel of vectors at right angles
    assert biased.mean() == pytest.approx(SCALE * (2 / 40) * unlike, rel=0.05)  # what the docstring says of the bias


def test_at_the_published_bandwidth_the_value_is_ten_times_the_squared_distance_of_the_means():
    values = []
    for shift in (0.5, 1.0, 2.0, 4.0):
        a, b = embeddings(400, 1), embeddings(400, 2, shift)
        expected = 10 * ((unit_rows(a).mean(0) - unit_rows(b).mean(0)) ** 2).sum()
        assert cmmd(a, b, biased=True) == pytest.approx(expected, rel=0.03)
        values.append(cmmd(a, b))
    assert values == sorted(values) and values[0] > 10 * abs(cmmd(embeddings(400, 1), embeddings(400, 2)))


def test_a_narrow_kernel_sees_less_variety_with_equal_means_better_than_a_wide_one():
    """Two clusters against one between them: what remains to see is the variety, which a linear kernel cannot."""
    rng = np.random.default_rng(0)
    ends = np.where(np.arange(200) % 2, 1.0, -1.0)
    two = np.column_stack([np.full(200, 3.0), ends, rng.normal(size=(200, 2)) * 0.1])
    one = np.column_stack([np.full(200, 2.85), np.zeros(200), rng.normal(size=(200, 2)) * 0.1])
    narrow, wide = (cmmd(two, one, bandwidth) * bandwidth**2 for bandwidth in (0.2, BANDWIDTH))
    assert narrow > 10 * abs(wide)


def test_the_length_of_an_embedding_changes_nothing_and_one_without_direction_is_refused():
    a, b = embeddings(20, 1), embeddings(20, 2)
    assert cmmd(a * 7, b) == pytest.approx(cmmd(a, b), abs=1e-9)
    a[3] = 0
    with pytest.raises(ValueError, match="row 3 have length 0"):
        cmmd(a, b)
    with pytest.raises(ValueError, match="there are 1 and 20"):
        cmmd(a[:1], b)
