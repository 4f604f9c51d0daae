"""A planted preference for a letter is found with its size; a reader without one is silent, and so is a noisy one."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from p2d_lib.readers import option_letters, vlm_report
from p2d_lib.vocabulary import DX, DX_NAMES

N = 140


@pytest.fixture(scope="module")
def cases():
    dx = [DX[k // 2 % 7] for k in range(N)]
    return pd.DataFrame(
        {"image_id": [f"i{k}" for k in range(N)], "lesion_id": [f"l{k // 2}" for k in range(N)], "dx": dx}
    )


def reader(cases, skill=1.5, for_a=0.0, noise=0.0, seed=0):
    """Probabilities of letters (n, 7, 7): of what is seen, raised by for_a at the letter A in the logarithm."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(len(cases), 7))
    seen[np.arange(len(cases)), [DX.index(dx) for dx in cases["dx"]]] += skill
    logits = np.stack([np.roll(seen, -rotation, axis=1) for rotation in range(7)], 1)
    logits[..., 0] += for_a
    return softmax(logits + noise * rng.normal(size=logits.shape), axis=2)


def test_each_diagnosis_stands_once_behind_each_letter_and_is_read_where_it_stands():
    lines = [option_letters.question(rotation).splitlines()[1:8] for rotation in range(7)]
    behind = {letter: {line[k][3:] for line in lines} for k, letter in enumerate(option_letters.LETTERS)}
    assert all(names == set(DX_NAMES.values()) for names in behind.values())
    chosen = np.zeros((1, 7, 7))
    for rotation, of_rotation in enumerate(lines):  # a reader who always names melanoma
        chosen[0, rotation, [line[3:] for line in of_rotation].index(DX_NAMES["mel"])] = 1
    assert (option_letters.of_diagnoses(chosen).argmax(2) == DX.index("mel")).all()


@pytest.mark.parametrize("for_a", [1.0, 0.4, -1.0])
def test_a_planted_preference_is_found_with_its_size_and_the_mean_over_orders_is_free_of_it(cases, for_a):
    of_letters, without = reader(cases, for_a=for_a), reader(cases)
    row = option_letters.preferences(of_letters, cases["lesion_id"]).set_index("letter").loc["A"]
    many = reader(pd.concat([cases] * 60), for_a=for_a, seed=1)
    expected = many[..., 0].mean()
    assert row["low"] <= expected <= row["high"] and abs(expected - 1 / 7) > 0.03
    assert row["probability"] == pytest.approx(expected, abs=0.03) and row["p_holm"] < 0.05
    mean, unbiased = (option_letters.of_diagnoses(one).mean(1) for one in (of_letters, without))
    agreeing = (mean.argmax(1) == unbiased.argmax(1)).mean()
    assert (
        agreeing > 0.97
        and agreeing > (option_letters.of_diagnoses(of_letters)[:, 0].argmax(1) == unbiased.argmax(1)).mean()
    )
    compared = option_letters.compare({"planted": of_letters}, cases).iloc[0]
    assert compared["changed"] > 0.05 and (compared["letter"] == "A") == (for_a > 0)


def test_a_reader_that_prefers_no_letter_is_silent_however_it_reads(cases):
    for skill in (0.0, 3.0):
        table = option_letters.preferences(reader(cases, skill), cases["lesion_id"])
        assert (table["p"] == 1).all() and table["probability"].to_numpy() == pytest.approx(np.full(7, 1 / 7))
    row = option_letters.compare({"sure": reader(cases, 3.0)}, cases).iloc[0]
    assert row["changed"] == 0 and row["one_order"] == row["all_orders"]
    assert "a preference for a letter is not shown" in vlm_report.letter_findings(pd.DataFrame([row]))[0]


def test_noise_that_favours_no_letter_is_called_a_preference_in_one_study_of_twenty_at_most(cases):
    some, alarms = cases.iloc[:80], 0
    for seed in range(100):
        table = option_letters.preferences(reader(some, noise=1.0, seed=seed), some["lesion_id"], 300, seed)
        alarms += bool((table["p_holm"] <= 0.05).any())
    assert alarms <= 10, f"{alarms} of 100; 5 expected at most"


def test_the_sentence_names_letter_and_size_of_a_preference(cases):
    letters = option_letters.compare({"m": reader(cases, for_a=2.0), "n": reader(cases)}, cases)
    biased, fair = vlm_report.letter_findings(letters)
    assert (
        "prefers the letter A, whatever stands behind it: probability 0." in biased
        and "0.14 is no preference" in biased
    )
    assert "prefers" not in fair
    printed = vlm_report.letters_table(letters)
    assert printed["preferred letter"].iloc[0] == "A" and printed["changed"].tolist()[1] == 0
    assert list(vlm_report.letters_table(option_letters.compare({}, cases)).columns) == list(printed.columns)
