"""People together: planted skill is found, equal skill is shown where it is, and verdicts keep their level."""

import numpy as np
import pandas as pd
import pytest
from studies import oracle, pools

from p2d_lib.readers import study, together
from p2d_lib.readers.together import ALL, DETECTION, DIAGNOSIS


@pytest.fixture(scope="module")
def large():
    return study.choose(*pools(per_class=40, views=1), n_images=560, seed=0)[0]


def _people(rng, key, separation=0.0, right=(0.7, 0.7), n=4):
    synthetic = (key["source"] == "synthetic").to_numpy()
    wrong = key["dx"].map({"nv": "mel"}).fillna("nv")
    rows = []
    for reader in range(n):
        view = np.round(1 / (1 + np.exp(-rng.normal(0, 1, len(key)) - separation * synthetic)), 1)
        correct = rng.random(len(key)) < np.where(synthetic, right[1], right[0])
        named = oracle(key, view, f"reader {reader}", kind="person").assign(dx_read=key["dx"].where(correct, wrong))
        rows.append(named)
    return pd.concat(rows)


def _all(table):
    return table[table["readers"] == ALL].set_index("question")


def test_planted_skill_and_a_planted_loss_on_synthetic_images_are_found(large):
    result = _all(together.analyse(_people(np.random.default_rng(0), large, 1.0, (0.9, 0.6)), large, margin=0.1))
    assert result.loc[DETECTION, "estimate"].estimate == pytest.approx(0.76, abs=0.04)
    assert result.loc[DIAGNOSIS, "estimate"].estimate == pytest.approx(-0.3, abs=0.06)
    assert (result["verdict"] == "a difference").all()


def test_readers_at_chance_who_read_both_alike_are_shown_to_be_so_in_a_large_study_and_not_in_a_small_one(large):
    people = _people(np.random.default_rng(1), large)
    result = _all(together.analyse(people, large, margin=0.1))
    assert (result["verdict"] == "no difference of 0.1 or more").all()
    few = large.iloc[:28]
    small = together.analyse(people[people["image_id"].isin(few["image_id"])], few, margin=0.1)
    assert (small["verdict"] == "not decided").all()


def test_readers_without_any_skill_are_announced_in_few_studies():
    key, _ = study.choose(*pools(), n_images=140, seed=0)
    verdicts = [
        _all(together.analyse(_people(np.random.default_rng(trial), key, n=3), key, margin=0.1))["verdict"]
        for trial in range(60)
    ]
    assert np.mean([("a difference" in set(one)) for one in verdicts]) <= 0.12


@pytest.mark.parametrize("n_images", [42, 140])
def test_a_difference_as_large_as_the_margin_is_called_none_in_few_studies_however_coarse_the_answers_are(n_images):
    """Three readers who call 1 in 10 real and 3 in 10 synthetic images synthetic, and read 8 and 7 in 10 right."""
    key, _ = study.choose(*pools(), n_images=n_images, seed=0)
    synthetic, called = (key["source"] == "synthetic").to_numpy(), {ALL: 0, "single": 0}
    for trial in range(80):
        rng = np.random.default_rng(trial)
        people = _people(rng, key, right=(0.8, 0.7), n=3)
        grades = rng.random(len(people)) < np.where(np.tile(synthetic, 3), 0.3, 0.1)
        table = together.analyse(people.assign(is_synthetic_read=np.where(grades, 0.8, 0.2)), key, margin=0.1)
        is_called = table["verdict"].isin(["no difference of 0.1 or more", "a difference, smaller than 0.1"])
        called[ALL] += is_called[table["readers"] == ALL].any()
        called["single"] += is_called[table["readers"] != ALL].any()
    assert max(called.values()) / 80 <= 0.11, called


def test_one_reader_stands_for_himself_and_one_who_was_not_asked_has_no_row(large):
    people = _people(np.random.default_rng(2), large, n=1)
    assert together.analyse(people, large, margin=0.1)["readers"].tolist() == ["reader 0"] * 2
    silent = together.analyse(people.assign(is_synthetic_read=np.nan), large, margin=0.1)
    assert silent["question"].tolist() == [DIAGNOSIS]


def test_readers_who_differ_among_one_another_do_not_speak_for_others(large):
    """Two readers lose on synthetic images and two do not: that is shown of the two, not of readers in general."""
    rng = np.random.default_rng(3)
    loses, gains = _people(rng, large, right=(0.9, 0.5), n=2), _people(rng, large, right=(0.7, 0.75), n=2)
    people = pd.concat([loses, gains.assign(reader=gains["reader"] + " of the others")])
    table = together.analyse(people, large, margin=0.1)
    verdicts = table[table["question"] == DIAGNOSIS].set_index("readers")["verdict"]
    assert verdicts["reader 0"] == verdicts["reader 1"] == "a difference"
    assert verdicts[ALL] == "not decided"


def test_one_answer_for_all_images_never_shows_that_people_cannot_tell_or_read_both_alike(large):
    """560 images, each called real with confidence 3, or each called a nevus: alone, and beside two who answer."""
    constant = oracle(large, 0.2, "reader 9", kind="person").assign(dx_read="nv")
    beside = pd.concat([constant, _people(np.random.default_rng(1), large, n=2)])
    for people in (constant, pd.concat([constant, constant.assign(reader="reader 8")]), beside):
        table = together.analyse(people, large, margin=0.1)
        of_these = table[table["readers"].isin([ALL, "reader 8", "reader 9"])]
        assert (of_these["verdict"] == "not decided").all() and of_these["p_equivalent"].isna().all()


def test_perfect_readers_are_announced_and_not_with_three_images_of_each_source(large):
    synthetic = large["source"] == "synthetic"
    few = pd.concat([large[synthetic].head(3), large[~synthetic].head(3)])
    for key, n, expected in ((large, 1, "a difference"), (large, 3, "a difference"), (few, 3, "not decided")):
        grades = (key["source"] == "synthetic").to_numpy(float)
        people = pd.concat([oracle(key, grades, f"reader {k}", kind="person") for k in range(n)])
        table = together.analyse(people, key, margin=0.1)
        detection, diagnosis = (table[table["question"] == question] for question in (DETECTION, DIAGNOSIS))
        assert (detection["verdict"] == expected).all() and (detection["p_equivalent"] > 0.9).all()
        assert all(interval.low < interval.high for interval in table["estimate"]), "no variance is no certainty"
        assert (diagnosis["verdict"] == ("not decided" if key is few else "no difference of 0.1 or more")).all()
