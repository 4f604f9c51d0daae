"""A variant changes one thing of what 04 sampled: who described the case, the words, the skin tone, or the guidance."""

from dataclasses import replace

import pandas as pd
import pytest

from p2d_lib.classify import variants
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.wording import Wording

WORDING = Wording("phrases", 8, 62)


@pytest.fixture
def plan():
    """Three images of the adapter, one of them refused, and one of the base; and the cases that prompted them."""
    synthetic = pd.DataFrame(
        {
            "image_id": ["adapter_mel_0", "adapter_mel_1", "adapter_nv_0", "base_mel_0"],
            "dx": ["mel", "mel", "nv", "mel"], "generator": ["adapter", "adapter", "adapter", "base"],
            "prompted_by": ["a", "b", "c", "a"], "prompt": "as 04 said", "seed": [1, 2, 3, 1], "guidance": 5.0,
            "accepted": [True, True, True, True],
        }
    ).assign(**dict.fromkeys(FEATURES, 0.0) | {"asymmetry": 0.9})  # fmt: skip
    synthetic.loc[1, "accepted"] = False
    cases = pd.DataFrame(
        {
            "image_id": list("abc"),
            "dx": ["mel", "mel", "nv"],
            "split": "train",
            "localization": "back",
            "age": 50.0,
            "sex": "female",
        }
    )
    return synthetic, cases


def described(cases, describers=("measured", "captioner")):
    """What each describer says of each case: the template sees asymmetry, any other one a ruler."""
    saw = {"measured": "asymmetry"}
    parts = [
        cases[["image_id"]].assign(
            describer=name,
            valid=True,
            reviewer="",
            **dict.fromkeys(FEATURES, 0.0) | {saw.get(name, "ruler_presence"): 0.9},
        )
        for name in describers
    ]
    return pd.concat(parts, ignore_index=True)


def sampled(names, plan, wording=WORDING, **options):
    asked = []

    def sampler(rows):
        asked.append(rows)
        return rows.assign(path="x.png", accepted=True)

    options = {"descriptions": described(plan[1])} | options
    return variants.sampled(names, *plan, sampler, wording, lambda text: len(text.split()), **options), asked


def test_a_wording_changes_the_prompt_alone(plan):
    rows, asked = sampled(["sentence", "phrases"], plan)
    assert list(rows["variant"]) == ["sentence"] * 2 + ["phrases"] * 2
    for part in asked:
        assert list(part["seed"]) == [1, 3] and set(part["guidance"]) == {5.0}, "accepted ones of the adapter"
    assert rows["prompt"][0].startswith("Melanoma, back, 50-year-old female")
    assert rows["prompt"][2].startswith("dermoscopic image of melanoma")
    assert rows["image_id"].is_unique


def test_rewritten_words_the_same_lesions_otherwise(plan):
    rows, _ = sampled(["phrases", "rewritten"], plan)
    structured, rewritten = rows["prompt"][:2].tolist(), rows["prompt"][2:].tolist()
    assert structured != rewritten and len(rewritten) == 2


def test_the_class_alone_is_asked_for_and_noise_and_guidance_stay(plan):
    rows, _ = sampled(["class-name"], plan)
    assert list(rows["prompt"]) == ["dermoscopic image of melanoma", "dermoscopic image of melanocytic nevus"]
    assert rows[list(FEATURES)].isna().all(axis=None), "what is not asked for cannot be obeyed"
    assert list(rows["seed"]) == [1, 3] and set(rows["guidance"]) == {5.0} and list(rows["prompted_by"]) == ["a", "c"]


def test_a_guidance_changes_the_guidance_alone(plan):
    rows, _ = sampled(["guidance-2", "guidance-3.5"], plan, per_class=1)
    assert list(rows["guidance"]) == [2.0, 2.0, 3.5, 3.5]
    assert set(rows["prompt"]) == {"as 04 said"} and list(rows["seed"]) == [1, 3, 1, 3]


def test_without_variants_nothing_is_sampled(plan):
    rows, asked = sampled([], plan)
    assert rows.empty and not asked and "variant" in rows


def test_variants_are_told_from_generators_and_from_describers_that_have_prompted_04(plan):
    synthetic, cases = plan
    arms = ["real", "mixed:base", "mixed:captioner", "mixed:sentence@2x", "synthetic:sentence", "mixed:guidance-2"]
    arms += ["mixed:class-name"]
    worded_anew = ["sentence", "guidance-2", "class-name"]
    assert variants.named(arms, synthetic, described(cases)) == ["captioner", *worded_anew]
    assert variants.named(["real+replay:skin-tones"], synthetic, described(cases)) == [], "replay samples nothing"
    assert variants.named(["pretrain:guidance-2.0"], synthetic, described(cases)) == ["guidance-2"]
    captioner_first = described(cases, ("captioner", "measured"))
    assert variants.named(arms, synthetic, captioner_first) == worded_anew


@pytest.fixture
def plan_of_all_classes(plan):
    """An accepted image of each class, all prompted by cases of their own."""
    synthetic, cases = plan
    one, case = synthetic.iloc[[0]], cases.iloc[[0]]
    parts = [(one.assign(image_id=f"adapter_{dx}", dx=dx, prompted_by=dx, seed=k),
              case.assign(image_id=dx, dx=dx)) for k, dx in enumerate(DX)]  # fmt: skip
    return tuple(pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))


def test_a_describers_words_of_the_same_cases_are_sampled_with_the_same_noise(plan_of_all_classes):
    rows, _ = sampled(["captioner", "measured"], plan_of_all_classes)
    prompts = dict(iter(rows.groupby("variant")["prompt"]))
    assert prompts["captioner"].str.contains("ruler").all() and not prompts["measured"].str.contains("ruler").any()
    assert (
        prompts["measured"].str.contains("asymmetr").all() and not prompts["captioner"].str.contains("asymmetr").any()
    )
    assert list(rows["seed"]) == [*range(7)] * 2 and list(rows["prompted_by"]) == [*DX] * 2
    assert (rows.loc[rows["variant"] == "captioner", "ruler_presence"] == 0.9).all()


def test_each_skin_tone_is_asked_for_equally_often_of_each_class_and_nothing_else_changes(plan):
    synthetic, cases = plan
    many = pd.concat([synthetic.iloc[[0]]] * 12).assign(image_id=[f"adapter_mel_{k}" for k in range(12)])
    rows, _ = sampled(["skin-tones"], (many, cases))
    assert set(rows["background_skin_tone"].value_counts()) == {2} and rows["background_skin_tone"].nunique() == 6
    assert rows["prompt"].nunique() == 6
    others = [name for name in FEATURES if name != "background_skin_tone"]
    pd.testing.assert_frame_equal(rows[[*others, "seed"]], many[[*others, "seed"]].reset_index(drop=True))


def test_skin_tones_that_prompts_do_not_name_are_refused_and_not_sampled_as_they_are(plan):
    silent = replace(WORDING, concepts=["asymmetry"])
    with pytest.raises(ValueError, match=r"do not name the skin tone.*raise 02_describe\.top_concepts"):
        sampled(["skin-tones"], plan, silent)


def test_a_case_that_a_describer_has_not_described_is_replaced_by_a_train_case_of_the_class(plan_of_all_classes):
    synthetic, cases = plan_of_all_classes
    more = cases[cases["dx"] == "mel"].iloc[[0, 0]].assign(image_id=["in train", "in test"], split=["train", "test"])
    described_ones = described(pd.concat([cases[cases["dx"] != "mel"], more]), ("vlm",))
    rows, _ = sampled(["vlm"], (synthetic, pd.concat([cases, more])), descriptions=described_ones)
    assert list(rows["prompted_by"]) == [dx if dx != "mel" else "in train" for dx in DX]
    assert rows["prompt"].str.contains("ruler").all() and list(rows["seed"]) == [*range(7)]


def test_a_describer_that_has_described_no_case_of_a_class_is_refused(plan_of_all_classes):
    cases = plan_of_all_classes[1]
    with pytest.raises(ValueError, match="vlm has described no train case of akiec"):
        sampled(["vlm"], plan_of_all_classes)
    some = described(cases[cases["dx"] != "df"], ("vlm",))
    with pytest.raises(ValueError, match="vlm has described no train case of df"):
        sampled(["vlm"], plan_of_all_classes, descriptions=some)


@pytest.mark.parametrize("name", ["guidance-high", "guidance--1", "guidance-31", "guidance-nan"])
def test_a_guidance_that_is_no_scale_is_refused(plan, name):
    with pytest.raises(ValueError, match="guidance scale from 0 to 30"):
        sampled([name], plan)
