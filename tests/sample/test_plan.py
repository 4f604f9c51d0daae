"""Claims about the plan of a synthetic set."""

import pandas as pd
import pytest

from p2d_lib.prompts import CLIP_TOKENS, Wording
from p2d_lib.sample import plan
from p2d_lib.vocabulary import DX, FEATURES


@pytest.fixture
def described():
    """Three train, one val and one test image of each class, each with a prompt of its own."""
    rows = [
        {"image_id": f"{dx}{i}", "dx": dx, "split": split, "prompt": f"{dx} {split} {i}", "valid": True}
        for dx in DX
        for i, split in enumerate(("train", "train", "train", "val", "test"))
    ]
    frame = pd.DataFrame(rows)
    scores = dict.fromkeys(FEATURES, 0.0) | {"red": 0.5}
    frame = frame.assign(localization="back", age=50.0, sex="female", reviewer="", **scores)
    about = ["image_id", "dx", "split", "localization", "age", "sex"]
    return frame[about], frame[["image_id", "prompt", "valid", "reviewer", *FEATURES]]


def test_each_class_is_drawn_equally_often(described):
    planned = plan.make(*described, per_class=5, base_per_class=2, seed=0)
    counts = planned.groupby(["generator", "dx"]).size()
    assert (counts["adapter"] == 5).all()
    assert (counts["base"] == 2).all()
    assert set(counts["adapter"].index) == set(DX)


def test_only_train_descriptions_of_the_class_are_asked_with(described):
    planned = plan.make(*described, per_class=20, base_per_class=0, seed=0)
    words = planned["prompt"].str.split(expand=True)
    assert (words[0] == planned["dx"]).all()
    assert (words[1] == "train").all()


def test_each_prompt_is_used_once_before_any_is_used_twice(described):
    planned = plan.make(*described, per_class=3, base_per_class=0, seed=0)
    assert planned["prompt"].is_unique


def test_base_and_adapter_pair_by_prompt_and_seed(described):
    planned = plan.make(*described, per_class=3, base_per_class=2, seed=0)
    pairs = planned.groupby(["dx", "seed"]).agg(n=("generator", "nunique"), prompts=("prompt", "nunique"))
    assert (pairs["n"] == 2).sum() == 2 * len(DX)
    assert (pairs["prompts"] == 1).all()


def test_an_image_is_the_same_in_a_larger_plan(described):
    small, large = (plan.make(*described, per_class=n, base_per_class=1, seed=0) for n in (2, 9))
    pd.testing.assert_frame_equal(large[large["image_id"].isin(small["image_id"])].reset_index(drop=True), small)


def test_no_two_images_of_a_generator_share_a_seed(described):
    planned = plan.make(*described, per_class=50, base_per_class=10, seed=0)
    assert not planned.duplicated(["generator", "seed"]).any()


def test_descriptions_marked_invalid_are_left_out(described):
    cases, descriptions = described
    descriptions.loc[descriptions["image_id"] == "mel0", "valid"] = False
    planned = plan.make(cases, descriptions, per_class=20, base_per_class=0, seed=0)
    assert "mel train 0" not in set(planned["prompt"])


def test_a_class_without_train_descriptions_is_named(described):
    cases, descriptions = described
    with pytest.raises(ValueError, match="df"):
        plan.make(cases[cases["dx"] != "df"], descriptions, per_class=1, base_per_class=1, seed=0)


def test_jittered_prompts_are_worded_anew_from_features_of_the_class(described):
    words = Wording("phrases", 8, CLIP_TOKENS)
    planned = plan.make(
        *described,
        per_class=3,
        base_per_class=1,
        seed=0,
        sampling="jitter",
        wording=words,
        count=lambda text: len(text.split()),
    )
    assert planned["prompt"][0] == "dermoscopic image of actinic keratosis, red color, very fair skin, back"


def test_a_persons_edit_is_asked_with_in_place_of_the_machines_words(described):
    cases, descriptions = described
    edited = descriptions[descriptions["image_id"] == "mel0"].assign(reviewer="Dr", prompt="mel train edited")
    planned = plan.make(cases, pd.concat([descriptions, edited]), per_class=20, base_per_class=0, seed=0)
    assert "mel train edited" in set(planned["prompt"])
    assert "mel train 0" not in set(planned["prompt"])
