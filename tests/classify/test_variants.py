"""A variant changes one thing of what 04 sampled: the words of the prompt, or the guidance."""

import pandas as pd
import pytest

from p2d_lib.classify import variants
from p2d_lib.vocabulary import FEATURES
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
        {"image_id": list("abc"), "dx": ["mel", "mel", "nv"], "localization": "back", "age": 50.0, "sex": "female"}
    )
    return synthetic, cases


def sampled(names, plan, **options):
    asked = []

    def sampler(rows):
        asked.append(rows)
        return rows.assign(path="x.png", accepted=True)

    return variants.sampled(names, *plan, sampler, WORDING, lambda text: len(text.split()), **options), asked


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


def test_a_guidance_changes_the_guidance_alone(plan):
    rows, _ = sampled(["guidance-2", "guidance-3.5"], plan, per_class=1)
    assert list(rows["guidance"]) == [2.0, 2.0, 3.5, 3.5]
    assert set(rows["prompt"]) == {"as 04 said"} and list(rows["seed"]) == [1, 3, 1, 3]


def test_without_variants_nothing_is_sampled(plan):
    rows, asked = sampled([], plan)
    assert rows.empty and not asked and "variant" in rows


def test_variants_are_told_from_generators_and_describers():
    arms = ["real", "mixed:base", "mixed:captioner", "mixed:sentence@2x", "synthetic:sentence", "mixed:guidance-2"]
    assert variants.named(arms) == ["sentence", "guidance-2"]


@pytest.mark.parametrize("name", ["guidance-high", "guidance--1", "guidance-31", "guidance-nan"])
def test_a_guidance_that_is_no_scale_is_refused(plan, name):
    with pytest.raises(ValueError, match="guidance scale from 0 to 30"):
        sampled([name], plan)
