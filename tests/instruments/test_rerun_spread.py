"""A further rerun is told from a changed result, by what a few reruns of many results show."""

import numpy as np
import pytest

from p2d_lib.instruments.rerun_spread import FEWEST, limits, probability_of_changes, usual_spread

RESULTS = 200


def _runs(rng: np.random.Generator, runs: int, d0: float) -> np.ndarray:
    """float (RESULTS, runs): each result with a spread of its own, from a scaled inverse chi² law."""
    spread = 0.3 * np.sqrt(d0 / rng.chisquare(d0, (RESULTS, 1)))
    return rng.normal(1.0, spread, (RESULTS, runs))


@pytest.mark.parametrize(("runs", "d0"), [(2, 4.0), (2, 1e6), (4, 4.0)])
def test_an_honest_rerun_has_any_result_outside_as_rarely_as_the_level_says(runs, d0):
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(200):
        values = _runs(rng, runs + 1, d0)
        low, high = limits(values[:, :-1], level=0.05 / RESULTS).T
        alarms.append(((values[:, -1] < low) | (values[:, -1] > high)).any())
    assert np.mean(alarms) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_a_planted_change_is_outside_and_more_reruns_find_a_smaller_one():
    rng = np.random.default_rng(1)
    found = {}
    for runs, shift in ((2, 12.0), (2, 4.0), (6, 4.0)):
        values = np.array([rng.normal(0.0, 0.3, (RESULTS, runs)) for _ in range(20)])
        outside = [shift * 0.3 > limits(each, level=0.05 / RESULTS)[:, 1] for each in values]
        found[runs, shift] = np.mean(outside)
    assert found[2, 12.0] > 0.9
    assert found[6, 4.0] > found[2, 4.0]


def test_the_law_of_the_variances_is_recovered():
    rng = np.random.default_rng(2)
    variances = 0.09 * 6 / rng.chisquare(6, 20_000) * rng.chisquare(3, 20_000) / 3
    d0, usual = usual_spread(variances, df=3)
    assert d0 == 6 and usual == pytest.approx(0.09, rel=0.05)
    d0, usual = usual_spread(0.09 * rng.chisquare(3, 20_000) / 3, df=3)
    assert d0 == 1000 and usual == pytest.approx(0.09, rel=0.05)


def test_a_result_that_never_varied_has_the_width_of_the_others_or_none():
    rng = np.random.default_rng(3)
    values = np.vstack([rng.normal(size=(20, 3)), np.ones((1, 3))])
    low, high = limits(values, level=0.01)[-1]
    assert low < 0.9 and high > 1.1
    assert limits(np.ones((FEWEST, 3)), level=0.01).tolist() == [[1.0, 1.0]] * FEWEST


def test_one_run_and_too_few_variances_are_refused():
    with pytest.raises(ValueError, match="at least two"):
        limits(np.ones((5, 1)), level=0.01)
    with pytest.raises(ValueError, match="expected 3 or more"):
        usual_spread(np.ones(2), df=1)


def test_words_that_change_as_often_as_before_are_usual_and_many_changes_are_not():
    assert probability_of_changes(2, of=20, earlier=2, of_earlier=20) > 0.3
    assert probability_of_changes(15, of=20, earlier=2, of_earlier=20) < 1e-4
    assert probability_of_changes(0, of=20, earlier=0, of_earlier=20) == 1.0
    rng = np.random.default_rng(4)
    alarms = [probability_of_changes(rng.binomial(20, 0.1), 20, rng.binomial(40, 0.1), 40) < 0.05 for _ in range(2000)]
    assert np.mean(alarms) <= 0.05
