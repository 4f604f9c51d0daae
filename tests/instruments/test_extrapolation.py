"""The distance at infinite n: about 0 for one law, where the plain distance is far above it, and a shift as planted."""

import numpy as np
import pytest

from p2d_lib.instruments.distances import frechet
from p2d_lib.instruments.extrapolation import _samples, frechet_at_infinity, principal
from p2d_lib.instruments.jackknife import jackknife


def sets(seed, n=120, d=200, shift=0.0, spread=1.0):
    """Two samples whose variances fall as those of a network's features do: 1 / k in direction k."""
    rng = np.random.default_rng(seed)
    deviation = 3 / np.sqrt(np.arange(1, d + 1))
    a, b = rng.normal(size=(n, d)) * deviation, rng.normal(size=(n, d)) * deviation * spread
    b[:, 0] += shift
    return a, b


def measured(a, b, components=16):
    a, b = principal(a, b, components)
    estimates = jackknife(lambda rows: np.array([frechet_at_infinity(a[rows], b[rows])]), len(a))
    return frechet(a, b), *(float(value[0]) for value in estimates[:3])


def test_one_law_is_zero_within_its_interval_where_the_plain_distance_is_far_above():
    plain, estimate, low, high = np.array([measured(*sets(seed)) for seed in range(20)]).T
    assert abs(estimate.mean()) < 0.15 * plain.mean()
    assert ((low <= 0) & (high >= 0)).mean() >= 0.9
    assert (plain > high).mean() >= 0.75


@pytest.mark.parametrize("shift", [2.0, 4.0])
def test_a_planted_shift_is_recovered_within_its_interval(shift):
    plain, estimate, low, high = np.array([measured(*sets(seed, shift=shift)) for seed in range(15)]).T
    assert estimate.mean() == pytest.approx(shift**2, rel=0.15) and plain.mean() > estimate.mean() + 1
    assert ((low <= shift**2) & (shift**2 <= high)).mean() >= 0.9


def test_a_planted_loss_of_variety_is_recovered():
    expected = sum(9 / k * (1 - 0.5) ** 2 for k in range(1, 9))  # (s - s / 2)² in each of 8 directions
    values = [frechet_at_infinity(*sets(seed, d=8, spread=0.5)) for seed in range(30)]
    assert np.mean(values) == pytest.approx(expected, rel=0.1)


def test_in_all_features_of_few_images_the_line_does_not_reach_zero_and_is_refused():
    """Why `principal` comes first: the bias is not linear in 1 / n where n is no larger than the number of features."""
    a, b = sets(0)
    with pytest.raises(ValueError, match="200 components; there are 120 and 120 images: take fewer components"):
        frechet_at_infinity(a, b)
    sizes = np.linspace(0.4 * 120, 120, 15).round().astype(int)
    distances = [np.mean([frechet(a[rows], b[rows]) for rows in _samples(120, size)]) for size in sizes]
    assert np.polyfit(1 / sizes, distances, 1)[1] > 0.4 * frechet(a, b)


def test_samples_of_each_size_cover_all_rows_and_keep_the_shares_of_classes():
    dx = np.repeat(np.arange(4), [70, 30, 14, 6])
    for size in (48, 60, 85, 119, 120):
        samples = _samples(120, size)
        assert len(np.unique(np.concatenate(samples))) == 120
        for rows in samples:
            assert len(np.unique(rows)) == size
            np.testing.assert_allclose(np.bincount(dx[rows], minlength=4), np.bincount(dx) * size / 120, atol=1)


@pytest.mark.parametrize("d", [20, 300])  # fewer features than images, and more
def test_principal_components_hold_the_distances_of_a_set_that_varies_in_few_directions(d):
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, d))
    a, b = (rng.normal(*law) @ directions + 50 for law in ((0, 1, (50, 5)), (1, 2, (40, 5))))  # far from the origin
    projected = principal(a, b, 5)
    assert [x.shape for x in projected] == [(50, 5), (40, 5)]
    assert frechet(*projected) == pytest.approx(frechet(a, b), rel=1e-6)
