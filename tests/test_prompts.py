import math
import string

import pytest

from p2d_lib.prompts import MARKED, PRESENT, SKIN_WORDS, prompt, said
from p2d_lib.vocabulary import DX, DX_NAMES, FEATURES, SITES

ALL = dict.fromkeys(FEATURES, 1.0)


@pytest.mark.parametrize("dx", DX)
def test_a_prompt_starts_with_the_diagnosis_and_no_two_diagnoses_share_one(dx):
    assert prompt(dx, {}) == f"dermoscopic image of {DX_NAMES[dx]}"
    assert prompt(dx, ALL).startswith(f"dermoscopic image of {DX_NAMES[dx]}, ")
    assert len({prompt(other, ALL) for other in DX}) == len(DX)


def test_what_is_unknown_or_absent_stays_unsaid():
    unknown = dict.fromkeys(FEATURES, math.nan)
    absent = dict.fromkeys(set(FEATURES) - {"background_skin_tone"}, PRESENT - 0.01)
    assert prompt("nv", unknown, "unknown") == prompt("nv", absent) == prompt("nv", {})


def test_each_present_feature_is_said():
    for name, feature in FEATURES.items():
        if name != "background_skin_tone":
            assert feature.phrase in prompt("mel", {name: PRESENT})


def test_a_marked_structure_is_said_to_be_marked():
    assert "marked blue-whitish veil" in prompt("mel", {"blue_whitish_veil": MARKED})
    assert "marked" not in prompt("mel", {"blue_whitish_veil": MARKED - 0.01})
    assert "marked" not in prompt("mel", {"ruler_presence": 1.0})


def test_with_too_many_features_the_strongest_are_said():
    features = {name: 0.4 for name in FEATURES} | {"irregular_streaks": 0.9, "black": 0.8}
    assert said(features, 2) == ["irregular_streaks", "black"]
    assert said(features, 3) == ["atypical_pigment_network", "irregular_streaks", "black"]
    assert prompt("mel", features | {"background_skin_tone": math.nan}, "", 2).endswith(
        "melanoma, marked irregular streaks, black color"
    )


def test_skin_tone_is_a_degree_and_always_said_where_known():
    tones = [prompt("nv", {"background_skin_tone": k / 5}) for k in range(6)]
    assert tones == [f"dermoscopic image of melanocytic nevus, {word} skin" for word in SKIN_WORDS]


def test_every_word_of_every_prompt_is_one_of_a_known_few():
    """The tiny text encoder has a word for each."""
    phrases = [*DX_NAMES.values(), *SITES, *SKIN_WORDS, *(feature.phrase for feature in FEATURES.values())]
    words = {word for phrase in phrases for word in phrase.split()}
    words |= {"dermoscopic", "image", "of", "marked", "and", "color", "colors", "skin"}
    for dx in DX:
        for site in SITES:
            for features in (ALL, {"red": 1.0}):
                assert set(prompt(dx, features, site, 22).replace(",", "").split()) <= words


def test_the_longest_prompt_fits_what_clip_reads():
    longest = max((prompt(dx, ALL, site) for dx in DX for site in SITES), key=len)
    pieces = sum(1 + word.count("-") * 2 for word in longest.replace(",", " ,").split())
    assert pieces * 1.3 < 75  # CLIP splits rare words in two or three; it reads 77 tokens with start and end


def test_an_unknown_diagnosis_is_refused():
    with pytest.raises(KeyError, match="wart"):
        prompt("wart", {})


def test_phrases_are_plain_words():
    for feature in FEATURES.values():
        assert set(feature.phrase) <= set(string.ascii_lowercase + " -")
