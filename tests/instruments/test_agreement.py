"""Kappa recovers a planted agreement, and is 0 between strangers whatever their habits."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from p2d_lib.instruments import agreement
from p2d_lib.vocabulary import DX

HABIT = [0.1, 0.1, 0.1, 0.1, 0.1, 0.4, 0.1]  # how often each diagnosis is named


def _readers(rng, shared, n=3000, readers=3):
    """Each reader names, with probability sqrt(shared), what the image suggests, else something by habit alone."""
    suggested = rng.choice(DX, n, p=HABIT)
    follows = rng.random((readers, n)) < np.sqrt(shared)
    by_habit = rng.choice(DX, (readers, n), p=HABIT)
    return pd.DataFrame(np.where(follows, suggested, by_habit).T, columns=[f"reader {k}" for k in range(readers)])


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.8])
def test_kappa_recovers_a_planted_agreement_and_is_zero_between_strangers(shared):
    """Two answers agree beyond chance when both readers follow the image: with probability `shared`."""
    table = agreement.kappa(_readers(np.random.default_rng(0), shared))
    assert table["readers"].tolist() == [
        "reader 0 – reader 1", "reader 0 – reader 2", "reader 1 – reader 2", "all 3",
    ]  # fmt: skip
    assert table["kappa"].tolist() == pytest.approx([shared] * 4, abs=0.05)


def test_two_readers_who_name_nevus_most_of_the_time_agree_by_chance_only():
    rng = np.random.default_rng(0)
    answers = pd.DataFrame({name: rng.choice(["nv", "mel"], 3000, p=[0.9, 0.1]) for name in "ab"})
    assert (answers["a"] == answers["b"]).mean() > 0.8
    assert agreement.kappa(answers)["kappa"].item() == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("n", [30, 100])
def test_intervals_over_images_hold_a_planted_kappa_and_none_is_given_of_fewer(n):
    held = np.zeros(3)
    for trial in range(60):
        rng = np.random.default_rng(trial)
        rows = [agreement.kappa(_readers(rng, shared, n, 2)).iloc[0] for shared in (0.0, 0.5)]
        held += [rows[0]["low"] <= 0 <= rows[0]["high"], rows[1]["low"] <= 0.5 <= rows[1]["high"], rows[1]["low"] > 0]
    assert (held[:2] / 60 >= 0.86).all() and held[2] / 60 >= 0.9, held
    few = agreement.kappa(_readers(rng, 0.5, agreement.FEWEST - 1))
    assert few["kappa"].notna().all() and few[["low", "high"]].isna().all(axis=None)


def test_only_images_that_all_answered_count():
    answers = _readers(np.random.default_rng(1), 0.5, n=40)
    answers.iloc[:10, 0] = None
    answers.iloc[30:, 1] = None
    table = agreement.kappa(answers).set_index("readers")
    assert table["n"].tolist() == [20, 30, 30, 20]
    both = answers.iloc[10:30]
    assert table.loc["reader 0 – reader 1", "kappa"] == pytest.approx(
        cohen_kappa_score(both["reader 0"], both["reader 1"])
    )


def test_without_variation_or_a_second_reader_there_is_no_kappa():
    same = pd.DataFrame({"a": ["nv"] * 5, "b": ["nv"] * 5, "c": [None] * 5})
    table = agreement.kappa(same)
    assert table["readers"].tolist() == ["a – b"] and np.isnan(table["kappa"]).all()
    assert agreement.kappa(same[["a"]]).empty
