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
