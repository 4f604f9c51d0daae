"""Claims about the plan of a synthetic set."""

import pandas as pd
import pytest

from p2d_lib.sample import plan
from p2d_lib.vocabulary import DX


@pytest.fixture
def described():
    """Three train, one val and one test image of each class, each with a prompt of its own."""
    rows = [
        {"image_id": f"{dx}{i}", "dx": dx, "split": split, "prompt": f"{dx} {split} {i}", "valid": True}
        for dx in DX
        for i, split in enumerate(("train", "train", "train", "val", "test"))
    ]
    frame = pd.DataFrame(rows)
    return frame[["image_id", "dx", "split"]], frame[["image_id", "prompt", "valid"]]


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
