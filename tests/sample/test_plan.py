"""Claims about the plan of a synthetic set."""

import json

import numpy as np
import pandas as pd
import pytest

from p2d_lib.sample import plan
from p2d_lib.schemas import PLAN
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.render import CLIP_TOKENS, PRESENT
from p2d_lib.words.wording import Wording


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


def test_each_class_is_requested_equally_often(described):
    planned = plan.make(*described, per_class=5, others_per_class=2, seed=0)
    counts = planned.groupby(["generator", "dx"]).size()
    assert (counts["adapter"] == 5).all()
    assert (counts["base"] == 2).all()
    assert set(counts["adapter"].index) == set(DX)


def test_prompts_follow_train_descriptions_of_the_class_alone(described):
    planned = plan.make(*described, per_class=20, others_per_class=0, seed=0)
    words = planned["prompt"].str.split(expand=True)
    assert (words[0] == planned["dx"]).all()
    assert (words[1] == "train").all()


def test_the_plan_remembers_whose_description_it_follows_and_what_it_asks_for(described):
    cases, descriptions = described
    rng = np.random.default_rng(0)
    descriptions[list(FEATURES)] = rng.random((len(descriptions), len(FEATURES)))
    descriptions.loc[descriptions["image_id"] == "nv1", "red"] = np.nan
    planned = PLAN.validate(plan.make(cases, descriptions, per_class=20, others_per_class=3, seed=0))
    source = descriptions.set_index("image_id").loc[planned["prompted_by"]].reset_index(drop=True)
    assert (planned["prompt"] == source["prompt"]).all()
    pd.testing.assert_frame_equal(planned[list(FEATURES)], source[list(FEATURES)])
    assert planned.loc[planned["prompted_by"] == "nv1", "red"].isna().all()
    assert set(cases.set_index("image_id").loc[planned["prompted_by"], "split"]) == {"train"}


def test_a_jittered_plan_holds_the_scores_after_the_jitter_which_its_words_say(described):
    cases, descriptions = described
    rng = np.random.default_rng(0)
    descriptions[list(FEATURES)] = rng.random((len(descriptions), len(FEATURES)))
    wording = Wording("json", len(FEATURES), 10_000)
    planned = plan.make(
        cases, descriptions, per_class=6, others_per_class=1, seed=0, sampling="jitter", wording=wording, count=len
    )
    source = descriptions.set_index("image_id").loc[planned["prompted_by"], list(FEATURES)].to_numpy()
    moved = np.abs(planned[list(FEATURES)].to_numpy() - source)
    assert (moved > 1e-6).mean() > 0.9 and moved.mean() < 0.3
    for row in planned.to_dict("records"):
        worded = json.loads(row["prompt"])
        for name in ("red", "asymmetry", "hair_amount"):
            assert worded.get(FEATURES[name].phrase, 0) == pytest.approx(
                row[name] if row[name] >= PRESENT else 0, abs=0.051
            )


def test_features_that_prompts_leave_out_are_not_requested(described):
    wording = Wording("phrases", 8, CLIP_TOKENS, concepts=("asymmetry",))
    planned = plan.make(*described, per_class=2, others_per_class=1, seed=0, wording=wording)
    assert planned["red"].isna().all() and planned["asymmetry"].notna().all()


def test_each_prompt_is_used_once_before_any_is_used_twice(described):
    planned = plan.make(*described, per_class=3, others_per_class=0, seed=0)
    assert planned["prompt"].is_unique


def test_base_and_adapter_pair_by_prompt_and_seed(described):
    planned = plan.make(*described, per_class=3, others_per_class=2, seed=0)
    pairs = planned.groupby(["dx", "seed"]).agg(n=("generator", "nunique"), prompts=("prompt", "nunique"))
    assert (pairs["n"] == 2).sum() == 2 * len(DX)
    assert (pairs["prompts"] == 1).all()


def test_an_image_is_the_same_in_a_larger_plan(described):
    small, large = (plan.make(*described, per_class=n, others_per_class=1, seed=0) for n in (2, 9))
    pd.testing.assert_frame_equal(large[large["image_id"].isin(small["image_id"])].reset_index(drop=True), small)


def test_no_two_images_of_a_generator_share_a_seed(described):
    planned = plan.make(*described, per_class=50, others_per_class=10, seed=0)
    assert not planned.duplicated(["generator", "seed"]).any()


def test_descriptions_marked_invalid_are_left_out(described):
    cases, descriptions = described
    descriptions.loc[descriptions["image_id"] == "mel0", "valid"] = False
    planned = plan.make(cases, descriptions, per_class=20, others_per_class=0, seed=0)
    assert "mel train 0" not in set(planned["prompt"])


def test_a_class_without_train_descriptions_is_named(described):
    cases, descriptions = described
    with pytest.raises(ValueError, match="df"):
        plan.make(cases[cases["dx"] != "df"], descriptions, per_class=1, others_per_class=1, seed=0)


def test_jittered_prompts_are_worded_anew_from_features_of_the_class(described):
    words = Wording("phrases", 8, CLIP_TOKENS)
    planned = plan.make(
        *described,
        per_class=3,
        others_per_class=1,
        seed=0,
        sampling="jitter",
        wording=words,
        count=lambda text: len(text.split()),
    )
    assert planned["prompt"][0] == "dermoscopic image of actinic keratosis, red color, very fair skin, back"


def test_a_persons_edit_makes_the_prompt_in_place_of_the_machines_words(described):
    cases, descriptions = described
    edited = descriptions[descriptions["image_id"] == "mel0"].assign(reviewer="Dr", prompt="mel train edited")
    planned = plan.make(cases, pd.concat([descriptions, edited]), per_class=20, others_per_class=0, seed=0)
    assert "mel train edited" in set(planned["prompt"])
    assert "mel train 0" not in set(planned["prompt"])


def of_class(table, generator="adapter"):
    return table[table["generator"] == generator]["dx"].value_counts().reindex(DX, fill_value=0)


def test_a_proportional_plan_has_the_frequencies_of_train_and_no_class_is_lost(described):
    train = ["nv"] * 900 + ["mel"] * 90 + ["bkl"] * 9 + ["akiec", "bcc", "df", "vasc"]
    counts = plan.numbers(train, 100, 0, "proportional")
    assert sum(counts.values()) == 700
    assert min(counts.values()) >= 1
    assert counts["nv"] == pytest.approx(700 * 900 / 1003, rel=0.02)
    assert counts["mel"] == pytest.approx(700 * 90 / 1003, rel=0.02)
    assert (of_class(plan.make(*described, per_class=4, others_per_class=2, seed=0, mode="proportional")) == 4).all()


def test_a_random_plan_takes_each_class_equally_likely_and_depends_on_its_seed():
    one, other = (pd.Series(plan.numbers([], 1000, seed, "random")) for seed in (0, 1))
    assert one.sum() == other.sum() == 7000
    assert ((one - 1000).abs() < 5 * (7000 * 6 / 49) ** 0.5).all()  # five standard deviations
    assert one.nunique() > 1 and not one.equals(other)


@pytest.fixture
def errors():
    """Melanomas are often misread, those with streaks most; nevi never."""
    frame = pd.DataFrame({"dx": DX, "feature": "", "n": 10, "error": 0.1})
    frame.loc[frame["dx"] == "mel", "error"] = 0.7
    frame.loc[frame["dx"] == "nv", "error"] = 0.0
    streaks = pd.DataFrame({"dx": ["mel"], "feature": "irregular_streaks", "n": 3, "error": 0.9})
    return pd.concat([frame, streaks], ignore_index=True)


def test_a_curriculum_asks_for_more_of_what_is_misread_and_for_all_of_the_rest(errors):
    counts = plan.numbers(DX, 100, 0, "curriculum", errors)
    assert sum(counts.values()) == 700
    assert counts["mel"] == pytest.approx(700 * (0.5 / 7 + 0.5 * 0.7 / 1.2), rel=0.02)
    assert counts["nv"] == pytest.approx(700 * 0.5 / 7, rel=0.05)
    assert min(counts.values()) == counts["nv"]


def test_a_curriculum_prompts_more_often_with_the_feature_that_is_misread(described, errors):
    cases, descriptions = described
    descriptions.loc[descriptions["image_id"] == "mel0", "irregular_streaks"] = 1.0
    settings = {"per_class": 100, "others_per_class": 0, "seed": 0}
    evenly = plan.make(cases, descriptions, **settings)
    harder = plan.make(cases, descriptions, **settings, mode="curriculum", errors=errors)
    streaked = [(t[t["dx"] == "mel"]["prompt"] == "mel train 0").mean() for t in (evenly, harder)]
    share = 0.25 + 0.5 * 0.9 / 1.6  # of prompts from the one case with streaks, and a third of the rest
    assert streaked == pytest.approx([1 / 3, share + (1 - share) / 3], abs=0.06)
    assert set(harder["prompt"]) == set(evenly["prompt"])


def test_a_curriculum_also_asks_for_a_class_that_val_lacks(described, errors):
    known = errors[errors["dx"] != "df"]
    planned = plan.make(*described, per_class=20, others_per_class=0, seed=0, mode="curriculum", errors=known)
    assert of_class(planned)["df"] == pytest.approx(140 * (0.5 / 7 + 0.5 / 7), abs=1)  # as the mean class


def test_a_curriculum_without_errors_is_balanced_and_unknown_ones_count_as_the_mean(errors):
    none = errors.assign(error=0.0)
    assert plan.numbers(DX, 20, 0, "curriculum", none) == dict.fromkeys(DX, 20)
    unknown = plan.shares(pd.Series([0.2, float("nan"), 0.4]))
    assert unknown.tolist() == pytest.approx([1 / 6 + 0.2 / 1.8, 1 / 6 + 0.3 / 1.8, 1 / 6 + 0.4 / 1.8])


@pytest.mark.parametrize("mode", plan.MODES)
def test_an_image_is_the_same_in_a_larger_plan_of_any_mode(described, errors, mode):
    settings = {"others_per_class": 1, "seed": 0, "mode": mode, "errors": errors}
    small, large = (plan.make(*described, per_class=n, **settings).set_index("image_id") for n in (2, 30))
    pd.testing.assert_frame_equal(large.loc[small.index], small)


@pytest.mark.parametrize("mode", ["curriculum", "alphabetical"])
def test_a_mode_that_cannot_be_is_refused(mode):
    with pytest.raises(ValueError, match=f"{mode}.*balanced, proportional, random, curriculum; .*errors"):
        plan.numbers(DX, 2, 0, mode)


def test_validation_errors_are_counted_per_class_and_per_feature_shown():
    features = pd.DataFrame({"asymmetry": [0.9, 0.9, 0.9, 0.0, float("nan")]})
    table = plan.validation_errors(["mel", "mel", "nv", "nv", "nv"], ["mel", "nv", "bcc", "nv", "nv"], features)
    table = table.set_index(["dx", "feature"])
    assert table["n"].to_dict() == {("mel", ""): 2, ("nv", ""): 3, ("mel", "asymmetry"): 2, ("nv", "asymmetry"): 1}
    assert table["error"].tolist() == pytest.approx([2 / 4, 2 / 5, 2 / 4, 2 / 3])
