"""Claims about control: an effect planted in what is read comes back, one that only the class explains does not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from p2d_lib.sample import control
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words.parse import parse
from p2d_lib.words.render import render
from p2d_lib.words.reword import paraphrase, plain

N = 420


def worded(rng, veil=lambda dx: 0.5):
    """Prompts of all classes, and what each asks for; veil: its probability in a class."""
    lesions = [
        Lesion(
            dx=DX[k % 7],
            background_skin_tone=rng.random(),
            asymmetry=float(rng.random() < 0.5),
            blue_whitish_veil=float(rng.random() < veil(DX[k % 7])),
        )
        for k in range(N)
    ]
    return [render(lesion) for lesion in lesions], lesions


def classes(lesions):
    return [lesion.dx for lesion in lesions]


def readings(rng, lesions, strength, accuracy):
    """A network that reads strength x what was asked for + noise, and the class with an accuracy."""
    features = pd.DataFrame(rng.normal(size=(N, len(FEATURES))), columns=list(FEATURES))
    for name in control.ATTRIBUTES:
        features[name] += strength * np.array([getattr(lesion, name) for lesion in lesions])
    truth = np.array([DX.index(lesion.dx) for lesion in lesions])
    wrong = (truth + rng.integers(1, 7, N)) % 7
    return np.eye(7)[np.where(rng.random(N) < accuracy, truth, wrong)], features.to_numpy()


def test_a_planted_effect_of_known_size_is_found():
    rng = np.random.default_rng(0)
    prompts, lesions = worded(rng)
    table = control.agreement(prompts, classes(lesions), *readings(rng, lesions, 1.5, 0.8)).set_index("attribute")
    assert table["low"]["class"] < 0.8 < table["high"]["class"]
    assert table["high"]["class"] - table["low"]["class"] < 0.1
    for name in ("asymmetry", "blue_whitish_veil"):  # two normals 1.5 apart: an area of 0.856
        assert table["low"][name] < 0.856 < table["high"][name]
        assert 0.03 < table["high"][name] - table["low"][name] < 0.12
    tone = table.loc["background_skin_tone"]
    assert tone["low"] < 0.656 < tone["high"] and tone["low"] > 0.55  # the mean of Phi(1.5 d / 2 ** 0.5)


def test_images_that_ignore_their_prompts_are_at_chance():
    rng = np.random.default_rng(1)
    prompts, lesions = worded(rng)
    table = control.agreement(prompts, classes(lesions), *readings(rng, lesions, 0.0, 1 / 7))
    assert ((table["low"] < table["chance"]) & (table["chance"] < table["high"])).all()


def test_a_veil_that_only_says_melanoma_is_no_control_of_the_veil():
    rng = np.random.default_rng(2)
    prompts, lesions = worded(rng, veil=lambda dx: 0.9 if dx == "mel" else 0.1)
    p, features = readings(rng, lesions, 0.0, 1.0)
    column = list(FEATURES).index("blue_whitish_veil")
    features[:, column] += 3 * np.array([lesion.dx == "mel" for lesion in lesions])
    assert roc_auc_score([lesion.blue_whitish_veil for lesion in lesions], features[:, column]) > 0.65
    veil = control.agreement(prompts, classes(lesions), p, features).set_index("attribute").loc["blue_whitish_veil"]
    assert veil["low"] < 0.5 < veil["high"]


def test_in_one_class_with_two_levels_concordance_is_the_area_under_the_roc_curve():
    rng = np.random.default_rng(3)
    prompts, lesions = worded(rng)
    p, features = readings(rng, lesions, 1.0, 0.5)
    mel = np.array([k for k in range(N) if lesions[k].dx == "mel"])
    found = control.agreement([prompts[k] for k in mel], ["mel"] * len(mel), p[mel], features[mel]).set_index(
        "attribute"
    )
    area = roc_auc_score([lesions[k].asymmetry for k in mel], features[mel, list(FEATURES).index("asymmetry")].round(9))
    assert found["estimate"]["asymmetry"] == pytest.approx(area)


def test_images_of_one_prompt_count_as_one():
    rng = np.random.default_rng(4)
    prompts, lesions = worded(rng)
    p, features = readings(rng, lesions, 1.0, 0.7)
    once, often = (
        control.agreement(list(prompts) * k, classes(lesions) * k, np.tile(p, (k, 1)), np.tile(features, (k, 1)))
        for k in (1, 4)
    )
    width = (once["high"] - once["low"]).to_numpy()
    assert (often["high"] - often["low"]).to_numpy() == pytest.approx(width, rel=0.1)
    assert often["estimate"].to_numpy() == pytest.approx(once["estimate"].to_numpy())


def test_what_no_prompt_asks_for_cannot_be_judged():
    prompts = [f"dermoscopic image of melanoma, {site}" for site in ("back", "chest", "face")]
    table = control.agreement(prompts, ["mel"] * 3, np.eye(7)[[4, 4, 0]], np.zeros((3, len(FEATURES)))).set_index(
        "attribute"
    )
    assert table["estimate"]["class"] == pytest.approx(2 / 3)
    assert table.loc[list(control.ATTRIBUTES), "estimate"].isna().all()
    assert table["n"]["background_skin_tone"] == 0


def test_prompts_in_other_words_ask_for_the_same():
    rng = np.random.default_rng(5)
    prompts, lesions = worded(rng)
    p, features = readings(rng, lesions, 1.0, 0.7)
    other = [paraphrase(prompt, k) for k, prompt in enumerate(prompts)]
    assert sum(a != b for a, b in zip(prompts, other, strict=True)) > 0.8 * N
    for prompt, rewritten in zip(prompts, other, strict=True):
        assert parse(plain(rewritten)) == parse(prompt), rewritten
    found, wanted = (control.agreement(said, classes(lesions), p, features) for said in (other, prompts))
    assert found["estimate"].to_numpy() == pytest.approx(wanted["estimate"].to_numpy())


def test_what_is_known_better_than_the_prompt_says_counts():
    prompts, scores = ["dermoscopic image of melanoma"] * 4, [0.0, 0.1, 0.2, 0.9]
    known = pd.DataFrame(dict.fromkeys(control.ATTRIBUTES, scores))
    features = np.tile(np.array(scores)[:, None], len(FEATURES))
    table = control.agreement(prompts, ["mel"] * 4, np.eye(7)[[4] * 4], features, wanted=known, n_resamples=1)
    assert (table["n"] == 4).all()
