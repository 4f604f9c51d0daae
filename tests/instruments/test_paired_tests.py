"""Tests of paired sets: their level where distances are equal, their power on a planted difference."""

import numpy as np
import pytest

from p2d_lib.instruments import distances, paired_tests


def one_law(rng, n, d, moved=0.0):
    """Two generators that share half of their noise (prompt and seed) and lie 0.5 off the reference in each feature;
    the first is then moved towards it."""
    shared = rng.normal(size=(n, d))
    first, second = (np.sqrt(0.5) * (shared + rng.normal(size=(n, d))) + 0.5 for _ in range(2))
    return first - moved, second, rng.normal(size=(n, d))


def opposite_sides(rng, n, d):
    return rng.normal(0.5, 1, (n, d)), rng.normal(-0.5, 1, (n, d)), rng.normal(size=(n, d))


def other_features(rng, n, d):
    first, second, reference = rng.normal(size=(3, n, d))
    first[:, : d // 2] += 1
    second[:, d // 2 :] += 1
    return first, second, reference


def the_reference_itself(rng, n, d):
    return tuple(rng.normal(size=(3, n, d)))


def rejected(law, n, d, trials, **settings):
    p = [paired_tests.nearer(*law(np.random.default_rng(seed), n, d, **settings)).p for seed in range(trials)]
    return np.mean(np.array(p) <= 0.05)


@pytest.mark.parametrize("law", [one_law, opposite_sides, other_features])
def test_equal_distances_are_called_different_at_the_nominal_rate(law):
    assert 0.03 <= rejected(law, 100, 8, 500) <= 0.07


@pytest.mark.parametrize("law", [one_law, opposite_sides, the_reference_itself])
def test_with_fewer_images_than_features_it_is_no_bolder_than_the_nominal_rate(law):
    assert rejected(law, 16, 32, 200) <= 0.07


@pytest.mark.parametrize(("n", "d", "power"), [(48, 16, 0.9), (24, 32, 0.6)])
def test_a_generator_that_is_planted_nearer_is_found_nearer(n, d, power):
    tested = [paired_tests.nearer(*one_law(np.random.default_rng(seed), n, d, moved=0.4)) for seed in range(40)]
    assert np.mean([test.p <= 0.05 and test.high < 0 for test in tested]) >= power


def test_images_shrunk_towards_their_mean_are_not_called_nearer_than_perfect_ones_but_than_shifted_ones_they_are():
    """By the Fréchet distance of so few images each shrunken set is the nearer one."""
    lower, called, found = [], [], []
    for seed in range(100):
        perfect, other, reference = the_reference_itself(np.random.default_rng(seed), 24, 96)
        shrunken = 0.7 * other
        lower.append(distances.frechet(shrunken, reference) < distances.frechet(perfect, reference))
        of_perfect, of_shifted = (
            paired_tests.nearer(shrunken, second, reference) for second in (perfect, perfect + 0.5)
        )
        called.append(of_perfect.p <= 0.05 and of_perfect.difference < 0)
        found.append(of_shifted.p <= 0.05 and of_shifted.difference < 0)
    assert all(lower) and np.mean(called) <= 0.05 and np.mean(found) >= 0.95


def test_the_difference_is_that_of_the_two_distances_and_its_sign_says_which_is_nearer():
    first, second, reference = one_law(np.random.default_rng(1), 30, 6, moved=0.3)
    expected = distances.kid(first, reference) - distances.kid(second, reference)
    one, other = (paired_tests.nearer(*both, reference) for both in ((first, second), (second, first)))
    assert one.difference == pytest.approx(expected) and expected < 0
    np.testing.assert_allclose([one.low, one.high, one.p], [-other.high, -other.low, other.p])


def test_pairing_is_worth_something():
    """Shared noise cancels: the same images in another order are compared less exactly."""
    first, second, reference = one_law(np.random.default_rng(2), 200, 4)
    paired, shuffled = (
        paired_tests.nearer(first, other, reference)
        for other in (second, second[np.random.default_rng(0).permutation(200)])
    )
    assert paired.high - paired.low < 0.8 * (shuffled.high - shuffled.low)


def test_a_generator_beside_itself_has_p_1():
    first, _, reference = one_law(np.random.default_rng(3), 20, 4)
    assert paired_tests.nearer(first, first, reference) == (0, 0, 0, 1)


def test_sets_that_are_no_pairs_are_refused():
    first, second, reference = one_law(np.random.default_rng(0), 20, 4)
    with pytest.raises(ValueError, match="there are 20, 19 and 20"):
        paired_tests.nearer(first, second[:-1], reference)


def test_random_pairs_match_at_the_nominal_rate_and_a_planted_match_is_found():
    def scores(seed, effect):
        table = np.random.default_rng(seed).normal(size=(40, 40)) + np.random.default_rng(seed).normal(size=40)
        return table + effect * np.eye(40)  # some prompts are liked by every image: that is no match

    chance = np.array([paired_tests.matched(scores(seed, 0), 99, seed).p for seed in range(400)])
    assert 0.03 <= np.mean(chance <= 0.05) <= 0.07
    p_values = [paired_tests.matched(scores(seed, 0.8), 99, seed).p for seed in range(40)]
    assert np.mean(np.array(p_values) <= 0.05) >= 0.9


def test_p_counts_the_observed_statistic_and_is_never_0():
    assert paired_tests.p_value(np.array([5.0, *np.zeros(99)]), centre=0) == 0.01
    assert paired_tests.p_value(np.zeros(10), centre=0) == 1
