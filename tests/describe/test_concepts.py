import math

import pandas as pd
import pytest

from p2d_lib.describe import concepts, template
from p2d_lib.schemas import DESCRIPTIONS
from p2d_lib.vocabulary import DX_NAMES, FEATURES, codes
from p2d_lib.words.render import CLIP_TOKENS, PRESENT
from p2d_lib.words.wording import Wording, lesions

TRAIN = 8


@pytest.fixture
def cases() -> pd.DataFrame:
    """Eight train images, of which 8, 6, 4 and 2 show one concept each, and four test images full of streaks."""
    shown = {"red": 8, "asymmetry": 6, "white": 4, "irregular_streaks": 2}
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(12)],
            "dx": ["mel", "nv"] * 6,
            "localization": "back",
            "age": 50.0,
            "sex": "female",
            "split": ["train"] * TRAIN + ["test"] * 4,
            "true_background_skin_tone": [0.1] * 5 + [math.nan] * 7,
            "true_black": 0.2,  # known everywhere, present nowhere
            **{f"true_{name}": [0.6 * (k < n) for k in range(TRAIN)] + [0.0] * 4 for name, n in shown.items()},
        }
    ).assign(true_irregular_streaks=[0.6, 0.6] + [0.0] * 6 + [0.9] * 4)


@pytest.fixture
def described(cases) -> pd.DataFrame:
    frequencies = template.describe(cases, pd.DataFrame(), "truth")
    return DESCRIPTIONS.validate(frequencies.assign(prompt=worded(cases, frequencies)))


def worded(cases: pd.DataFrame, frequencies: pd.DataFrame, kept: tuple[str, ...] = tuple(FEATURES)) -> list[str]:
    words = Wording("phrases", 8, CLIP_TOKENS, kept)
    return words.prompts(lesions(cases, frequencies), lambda text: len(text.split()), 0, cases["image_id"])


def test_shares_are_those_planted_most_frequent_first(described):
    frequencies = concepts.frequency(described[:TRAIN])
    assert frequencies["concept"][:5].tolist() == [
        "red",
        "asymmetry",
        "background_skin_tone",
        "white",
        "irregular_streaks",
    ]
    assert frequencies["share"][:6].tolist() == pytest.approx([1, 6 / 8, 5 / 8, 4 / 8, 2 / 8, 0])
    assert sorted(frequencies["concept"]) == sorted(FEATURES)


def test_a_concept_is_counted_where_and_only_where_the_prompt_mentions_it(described):
    frequencies = concepts.frequency(described).set_index("concept")["share"]
    for name in ("red", "white", "asymmetry", "irregular_streaks", "black"):
        assert frequencies[name] == described["prompt"].str.contains(FEATURES[name].phrase).mean()
    assert frequencies["background_skin_tone"] == described["prompt"].str.contains(" skin,").mean()


def test_a_score_below_the_threshold_is_not_mentioned_and_one_on_it_is(described):
    described["black"] = PRESENT
    assert concepts.frequency(described).set_index("concept")["share"]["black"] == 1
    described["black"] = PRESENT - 0.01
    assert concepts.frequency(described).set_index("concept")["share"]["black"] == 0


def test_concepts_carry_their_codes(described):
    frequencies = concepts.frequency(described).set_index("concept")
    assert frequencies.loc["red", ["umls_cui", "snomed_ct"]].tolist() == ["C1260956", "371240000"]
    assert frequencies.loc["blue_whitish_veil", ["umls_cui", "snomed_ct"]].tolist() == ["", ""]
    assert (frequencies["umls_cui"] == [codes()["feature", name].umls_cui for name in frequencies.index]).all()


def test_only_the_most_frequent_are_mentioned_and_test_images_do_not_count(cases, described):
    kept = concepts.top(concepts.frequency(described[:TRAIN]), 2)
    assert kept == ("red", "asymmetry")
    for case, text in zip(cases.itertuples(), worded(cases, described, kept), strict=True):
        visible = [FEATURES["asymmetry"].phrase] * (case.true_asymmetry > 0) + ["red color"] * (case.true_red > 0)
        assert text == ", ".join([f"dermoscopic image of {DX_NAMES[case.dx]}", *visible, "back"])
    assert "irregular_streaks" not in concepts.top(concepts.frequency(described[:TRAIN]), 4)
    assert "irregular_streaks" in concepts.top(concepts.frequency(described), 4)


def test_all_concepts_kept_change_nothing(cases, described):
    assert worded(cases, described, concepts.top(concepts.frequency(described), 22)) == described["prompt"].tolist()


def test_nothing_to_count_on_and_an_impossible_number_are_refused(described):
    with pytest.raises(ValueError, match="descriptions: no rows to count concepts on; give those of the train images"):
        concepts.frequency(described[:0])
    for k in (0, 23):
        with pytest.raises(ValueError, match=f"top_concepts: {k}: the vocabulary has 22 concepts; keep 1 to 22"):
            concepts.top(concepts.frequency(described), k)
