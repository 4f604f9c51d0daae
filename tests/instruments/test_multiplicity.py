"""Holm's correction keeps the rate of any false announcement, and still finds what is planted."""

import numpy as np
from statsmodels.stats.multitest import multipletests

from p2d_lib.instruments import multiplicity


def test_holm_gives_the_values_worked_by_hand():
    np.testing.assert_allclose(multiplicity.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(multiplicity.holm([0.02, np.nan, 0.03]), [0.04, np.nan, 0.04])
    assert np.isnan(multiplicity.holm([np.nan])).all()
    p = np.random.default_rng(3).random(30) ** 3
    np.testing.assert_array_equal(multiplicity.holm(p), multipletests(p, method="holm")[1])


def test_twenty_tests_of_nothing_announce_anything_in_five_percent_of_studies():
    p = np.random.default_rng(0).random((2000, 20))
    corrected = np.mean([(multiplicity.holm(study) <= 0.05).any() for study in p])
    assert 0.035 <= corrected <= 0.065
    assert (p <= 0.05).any(axis=1).mean() > 0.6, "without the correction most studies announce something"


def test_planted_effects_among_tests_of_nothing_are_announced_alone():
    p = np.random.default_rng(1).random((500, 20))
    p[:, :3] = 1e-4
    announced = np.array([multiplicity.holm(study) <= 0.05 for study in p])
    assert announced[:, :3].all()
    assert announced[:, 3:].any(axis=1).mean() <= 0.07
