"""The binormal model recovers planted curves, and says what a curve without inner points is."""

import numpy as np
import pytest
from scipy.stats import norm

from p2d_lib.instruments.binormal import binormal_auc


@pytest.mark.parametrize(("a", "b"), [(1.5, 1.0), (1.2, 0.5), (0.0, 1.0), (2.0, 1.6)])
def test_a_planted_curve_is_recovered_from_five_ratings(a, b):
    rng = np.random.default_rng(0)
    positive = np.arange(8000) % 2 == 0
    view = np.where(positive, a / b + rng.standard_normal(8000) / b, rng.standard_normal(8000))
    area = binormal_auc(positive, np.digitize(view, [-0.5, 0.3, 1.0, 1.8]))
    assert area == pytest.approx(norm.cdf(a / np.hypot(1, b)), abs=0.015)


def test_ratings_the_other_way_round_give_the_other_area():
    rng = np.random.default_rng(1)
    positive = np.arange(400) % 2 == 0
    rating = np.digitize(rng.standard_normal(400) + positive, [-0.5, 0.5, 1.5])
    assert binormal_auc(positive, rating) == pytest.approx(1 - binormal_auc(positive, -rating), abs=1e-6)


@pytest.mark.parametrize(("rating", "area"), [((1, 1, 2, 2), 1), ((2, 2, 1, 1), 0), ((3, 3, 3, 3), 0.5),
                                              ((1, 1, 1, 2), 1)])  # fmt: skip
def test_curves_without_inner_points(rating, area):
    assert binormal_auc([False, False, True, True], rating) == area


def test_one_side_alone_has_no_area():
    assert np.isnan(binormal_auc([True, True], [1, 2]))
