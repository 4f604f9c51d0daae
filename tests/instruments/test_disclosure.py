"""Claims about disclosure: of members and of attributes; what is planted is recovered, and nothing else is seen."""

import numpy as np
import pytest

from p2d_lib.instruments import disclosure


def test_the_attack_set_has_the_share_of_train_that_the_population_has_and_one_record_of_each_lesion():
    is_train = np.repeat([True, False], [1000, 400])
    groups = np.arange(1400) // 2
    rows = disclosure.attack_set(is_train, groups, 0.7, seed=0)
    assert is_train[rows].mean() == pytest.approx(0.7, abs=0.005) and len(set(groups[rows])) == len(rows) > 600
    small = disclosure.attack_set(is_train, groups, 0.7, seed=0, limit=100)
    assert len(small) == 100 and is_train[small].sum() == 70
    with pytest.raises(ValueError, match="0 held-out lesions"):
        disclosure.attack_set(np.ones(10, bool), np.arange(10), 0.7, seed=0)


def records(n, n_known, rng):
    """Nearness of n records at a train share of 0.7, of which n_known train records are given away."""
    is_train = np.arange(n) < 0.7 * n
    nearness = rng.normal(size=n)
    nearness[:n_known] += 100
    return nearness, is_train


def test_a_set_that_gives_no_record_away_is_called_so_at_the_level():
    rng = np.random.default_rng(0)
    results = [disclosure.membership(*records(300, 0, rng), seed=k) for k in range(80)]
    assert np.mean([result.p <= 0.05 for result in results]) <= 0.1
    assert np.mean([result.gain for result in results]) <= 0.02  # choosing a threshold gains nothing


def test_records_that_are_given_away_are_recovered_in_their_number():
    rng = np.random.default_rng(1)
    every, third = (disclosure.membership(*records(300, n, rng)) for n in (210, 70))
    assert every.f1 >= 0.98 and every.gain >= 0.9 and every.auc == 1
    assert third.auc == pytest.approx(1 / 3 + 2 / 3 * 0.5, abs=0.06) and third.p < 0.001
    assert third.naive == pytest.approx(2 * 0.7 / 1.7) and third.low <= third.f1 <= third.high


def people(n, risk, rng):
    """Guesses of a two-valued attribute, right by chance in half of the records and in a share `risk` of the rest."""
    true, is_train = rng.integers(0, 2, n), rng.random(n) < 0.7
    guessed = np.where(rng.random(n) < 0.5, true, 1 - true)
    known = is_train & (rng.random(n) < risk)
    return np.where(known, true, guessed), true, is_train, rng.integers(0, 5, n)


def test_an_attribute_that_is_inferred_of_train_records_alone_is_recovered_with_its_size():
    result = disclosure.attribute_inference(*people(4000, 0.3, np.random.default_rng(0)))
    assert result.risk == pytest.approx(0.3, abs=0.05) and result.low < 0.3 < result.high and result.p < 0.001
    assert result.held_out == pytest.approx(0.5, abs=0.03)


def test_knowledge_of_the_population_is_no_disclosure():
    rng = np.random.default_rng(1)
    p = [disclosure.attribute_inference(*people(300, 0.0, rng), seed=k).p for k in range(100)]
    assert np.mean(np.array(p) <= 0.05) <= 0.1
    strata, is_train = np.repeat([0, 1], 400), np.tile([True, False], 400)
    is_train[:300] = True  # a stratum that is easy to guess is more frequent in train
    right = np.concatenate([np.ones(400), rng.random(400) < 0.5]).astype(int)
    result = disclosure.attribute_inference(right, np.ones(800, int), is_train, strata)
    assert abs(result.risk) < 0.15 and result.p > 0.05


@pytest.mark.parametrize("n, n_strata, usable", [(300, 5, 5), (420, 200, 70), (700, 330, 120)])
@pytest.mark.parametrize("risk", [0.0, 0.3])
def test_intervals_hold_the_risk_also_where_most_strata_have_one_held_out_record(
    n, n_strata, usable, risk, monkeypatch
):
    monkeypatch.setattr(disclosure, "REPLICATES", 199)
    rng, covered, both = np.random.default_rng(0), [], []
    for k in range(300):
        guessed, true, is_train, _ = people(n, risk, rng)
        strata = rng.integers(0, n_strata, n)
        result = disclosure.attribute_inference(guessed, true, is_train, strata, seed=k)
        covered.append(result.low <= risk <= result.high)
        both.append(len({*strata[is_train]} & {*strata[~is_train]}))
    assert np.mean(both) == pytest.approx(usable, rel=0.15)
    assert np.mean(covered) >= 0.9


def test_an_attribute_without_a_stratum_of_both_sides_is_refused():
    with pytest.raises(ValueError, match="no stratum"):
        disclosure.attribute_inference([1, 1], [1, 0], np.array([True, False]), ["a", "b"])
