"""A further rerun is told from a changed result, by what a few reruns of many results show."""

import numpy as np
import pytest

from p2d_lib.instruments.rerun_spread import FEWEST, limits, probability_of_changes, usual_spread

RESULTS = 96
COLUMNS = np.repeat(np.arange(12), 8)  # of a table, each with a spread of its own


def _runs(rng: np.random.Generator, runs: int, d0: float) -> np.ndarray:
    """float (RESULTS, runs): spreads differ between the columns, and within them by a scaled inverse chi² law."""
    spread = np.exp(2 * rng.normal(size=12))[COLUMNS] * np.sqrt(d0 / rng.chisquare(d0, RESULTS))
    return rng.normal(1.0, spread[:, None], (RESULTS, runs))


@pytest.mark.parametrize(("runs", "d0"), [(2, 4.0), (2, 1e6), (4, 4.0)])
def test_an_honest_rerun_has_any_result_outside_as_rarely_as_the_level_says(runs, d0):
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(60):
        values = _runs(rng, runs + 1, d0)
        low, high = limits(values[:, :-1], COLUMNS, level=0.05 / RESULTS).T
        alarms.append(((values[:, -1] < low) | (values[:, -1] > high)).any())
    assert np.mean(alarms) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


def test_a_planted_change_is_outside_and_more_reruns_find_a_smaller_one():
    rng = np.random.default_rng(1)
    beyond = {}
    for runs, shift in ((2, 20.0), (2, 6.0), (4, 6.0)):
        values = np.array([rng.normal(0.0, 0.3, (RESULTS, runs)) for _ in range(5)])
        beyond[runs, shift] = np.mean([shift * 0.3 > limits(each, COLUMNS, 0.05 / RESULTS)[:, 1] for each in values])
    assert beyond[2, 20.0] > 0.9
    assert beyond[4, 6.0] > 0.5 > beyond[2, 6.0]


def test_the_law_of_the_variances_is_recovered():
    rng = np.random.default_rng(2)
    groups = [usual * 4 / rng.chisquare(4, 5000) * rng.chisquare(3, 5000) / 3 for usual in (0.09, 40.0)]
    d0, usual = usual_spread(groups, df=3)
    assert d0 == 4 and usual == pytest.approx([0.09, 40.0], rel=0.05)
    d0, usual = usual_spread([0.09 * rng.chisquare(3, 20_000) / 3], df=3)
    assert d0 == 1000 and usual == pytest.approx([0.09], rel=0.05)


def test_a_result_that_never_varied_has_the_width_of_its_group_or_none():
    rng = np.random.default_rng(3)
    values = np.vstack([rng.normal(size=(20, 3)), np.ones((1, 3))])
    low, high = limits(values, [0] * 21, level=0.01)[-1]
    assert low < 0.9 and high > 1.1
    assert limits(np.ones((FEWEST, 3)), [0] * FEWEST, level=0.01).tolist() == [[1.0, 1.0]] * FEWEST


def test_small_groups_are_joined():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(12, 3))
    joined = limits(values, [k // 3 for k in range(12)], level=0.01)
    assert joined == pytest.approx(limits(values, [0] * 12, level=0.01))


def test_one_run_and_a_variance_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least two"):
        limits(np.ones((5, 1)), [0] * 5, level=0.01)
    with pytest.raises(ValueError, match="a variance is 0"):
        usual_spread([np.zeros(5)], df=1)


def test_words_that_change_as_often_as_before_are_usual_and_many_changes_are_not():
    assert probability_of_changes(2, of=20, earlier=2, of_earlier=20) > 0.3
    assert probability_of_changes(15, of=20, earlier=2, of_earlier=20) < 1e-4
    assert probability_of_changes(0, of=20, earlier=0, of_earlier=20) == 1.0
    rng = np.random.default_rng(4)
    alarms = [probability_of_changes(rng.binomial(20, 0.1), 20, rng.binomial(40, 0.1), 40) < 0.05 for _ in range(2000)]
    assert np.mean(alarms) <= 0.05
