"""Claims about obedience: an effect planted in what is read comes back, one that only the class explains does not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from p2d_lib.instruments import obedience
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words.parse import parse
from p2d_lib.words.render import render

N = 420
DX_OF = [DX[k % 7] for k in range(N)]
PROMPTS = [f"prompt {k}" for k in range(N)]


def requested_scores(rng, veil=lambda dx: 0.5):
    """The scores that N images are asked for; veil: its probability in a class."""
    return pd.DataFrame(
        {
            "background_skin_tone": rng.random(N),
            "asymmetry": (rng.random(N) < 0.5).astype(float),
            "blue_whitish_veil": [float(rng.random() < veil(dx)) for dx in DX_OF],
        },
        columns=obedience.ATTRIBUTES,  # the others are not asked for
    )


def readings(rng, requested, strength, accuracy):
    """A network that reads strength x what was asked for + noise, and the class with an accuracy."""
    features = pd.DataFrame(rng.normal(size=(N, len(FEATURES))), columns=list(FEATURES))
    for name in requested.dropna(axis=1):
        features[name] += strength * requested[name]
    truth = np.array([DX.index(dx) for dx in DX_OF])
    wrong = (truth + rng.integers(1, 7, N)) % 7
    return np.eye(7)[np.where(rng.random(N) < accuracy, truth, wrong)], features.to_numpy()


def agreement(requested, p, features, prompts=PROMPTS, dx=DX_OF, **more):
    return obedience.agreement(prompts, dx, requested, p, features, **{"seed": 0} | more).set_index("attribute")


def test_a_planted_effect_of_known_size_is_recovered():
    rng = np.random.default_rng(0)
    requested = requested_scores(rng)
    table = agreement(requested, *readings(rng, requested, 1.5, 0.8))
    assert table["low"]["class"] < 0.8 < table["high"]["class"]
    assert table["high"]["class"] - table["low"]["class"] < 0.1
    for name in ("asymmetry", "blue_whitish_veil"):  # two normals 1.5 apart: an area of 0.856
        assert table["low"][name] < 0.856 < table["high"][name]
        assert 0.03 < table["high"][name] - table["low"][name] < 0.12
    tone = table.loc["background_skin_tone"]  # the mean of Phi(1.5 d / 2 ** 0.5) over pairs of different sixths
    assert tone["low"] < 0.68 < tone["high"] and tone["low"] > 0.55


def test_images_that_ignore_their_prompts_are_at_chance():
    rng = np.random.default_rng(1)
    requested = requested_scores(rng)
    table = agreement(requested, *readings(rng, requested, 0.0, 1 / 7))
    assert ((table["low"] < table["chance"]) & (table["chance"] < table["high"])).all()


def test_a_veil_on_every_melanoma_is_no_obedience_to_the_word_veil():
    rng = np.random.default_rng(2)
    requested = requested_scores(rng, veil=lambda dx: 0.9 if dx == "mel" else 0.1)
    p, features = readings(rng, requested, 0.0, 1.0)
    column = list(FEATURES).index("blue_whitish_veil")
    features[:, column] += 3 * (np.array(DX_OF) == "mel")
    assert roc_auc_score(requested["blue_whitish_veil"], features[:, column]) > 0.65
    veil = agreement(requested, p, features).loc["blue_whitish_veil"]
    assert veil["low"] < 0.5 < veil["high"]


def test_in_one_class_with_two_levels_concordance_is_the_area_under_the_roc_curve():
    rng = np.random.default_rng(3)
    requested = requested_scores(rng)
    p, features = readings(rng, requested, 1.0, 0.5)
    mel = np.flatnonzero(np.array(DX_OF) == "mel")
    table = agreement(requested.iloc[mel], p[mel], features[mel], [PROMPTS[k] for k in mel], ["mel"] * len(mel))
    area = roc_auc_score(requested["asymmetry"][mel], features[mel, list(FEATURES).index("asymmetry")])
    assert table["estimate"]["asymmetry"] == pytest.approx(area)


def test_images_of_one_prompt_count_as_one():
    rng = np.random.default_rng(4)
    requested = requested_scores(rng)
    p, features = readings(rng, requested, 1.0, 0.7)
    once, often = (
        agreement(pd.concat([requested] * k), np.tile(p, (k, 1)), np.tile(features, (k, 1)), PROMPTS * k, DX_OF * k)
        for k in (1, 4)
    )
    width = (once["high"] - once["low"]).to_numpy()
    assert (often["high"] - often["low"]).to_numpy() == pytest.approx(width, rel=0.1)
    assert often["estimate"].to_numpy() == pytest.approx(once["estimate"].to_numpy())


def test_what_no_prompt_asks_for_cannot_be_judged():
    requested = pd.DataFrame(dict.fromkeys(obedience.ATTRIBUTES, [np.nan] * 3)).assign(asymmetry=0.8)
    table = agreement(requested, np.eye(7)[[4, 4, 0]], np.zeros((3, len(FEATURES))), ["a", "b", "c"], ["mel"] * 3)
    assert table["estimate"]["class"] == pytest.approx(2 / 3)
    assert list(table.index) == ["class", "asymmetry"]  # what no prompt asks for has no row
    assert np.isnan(table["estimate"]["asymmetry"])  # all were asked for the same


def test_the_words_of_a_prompt_do_not_matter():
    """A language model's words are no phrase of the vocabulary, and to parse them back would find nothing asked for."""
    rng = np.random.default_rng(5)
    requested = requested_scores(rng)
    words = "Melanoma with a lopsided outline beneath a bluish-white haze, on pale skin"
    assert parse(words).asymmetry == 0 and parse(words).background_skin_tone is None
    p, features = readings(rng, requested, 1.5, 0.8)
    rewritten = agreement(requested, p, features, [f"{words} ({k})" for k in range(N)])
    pd.testing.assert_frame_equal(rewritten, agreement(requested, p, features))


@pytest.mark.parametrize("name", ["background_skin_tone", "asymmetry", "blue_whitish_veil", "red"])
def test_scores_are_of_one_level_where_prompts_say_the_same(name):
    scores = np.linspace(0, 1, 201)
    prompts = [render(Lesion(dx="mel", **{name: score})) for score in scores]
    levels = obedience.levels(name, scores)
    same_words = np.array(prompts)[:-1] == np.array(prompts)[1:]
    np.testing.assert_array_equal(levels[:-1] == levels[1:], same_words)
    assert np.isnan(obedience.levels(name, np.array([np.nan]))).all()


def response(requested, features, dx=DX_OF, **more):
    table = obedience.response(
        dx, requested, features, groups=PROMPTS[: len(dx)], attributes=list(requested), **{"seed": 0} | more
    )
    return table.set_index("attribute")


def test_a_planted_response_is_recovered_and_is_significant():
    rng = np.random.default_rng(6)
    requested = requested_scores(rng).dropna(axis=1)
    table = response(requested, readings(rng, requested, 1.5, 0.8)[1], n_permutations=199)
    for name in ("asymmetry", "blue_whitish_veil"):  # two normals 1.5 apart; 0.856 is 2 x 0.856 - 1 as a correlation
        row = table.loc[name]
        assert row["low"] < 0.856 < row["high"] and row["p"] == 1 / 200
        assert 0.45 < row["rank_low"] < row["rank_correlation"] < row["rank_high"] < 0.75
    tone = table.loc["background_skin_tone"]
    assert tone["rank_low"] > 0.2 and tone["p"] == 1 / 200 and tone["present"] == (requested.iloc[:, 0] >= 0.5).sum()


def test_a_response_of_levels_and_readings_in_step_is_1_and_in_reverse_minus_1():
    requested = pd.DataFrame({"background_skin_tone": (np.arange(N) // 7 % 6 + 0.5) / 6})
    features = np.zeros((N, len(FEATURES)))
    features[:, list(FEATURES).index("background_skin_tone")] = obedience.levels(
        "background_skin_tone", requested["background_skin_tone"].to_numpy()
    )
    for sign in (1, -1):
        row = response(requested, sign * features, n_permutations=19).iloc[0]
        assert row["rank_correlation"] == pytest.approx(sign) and row["concordance"] == (sign + 1) / 2
        assert row["p"] == (1 / 20 if sign == 1 else 1)


def test_a_response_of_readings_that_follow_the_class_alone_is_called_one_in_5_of_100():
    """Levels are assigned at random; what is read follows the class strongly, and the prompt not at all."""
    rng, p = np.random.default_rng(7), []
    of_class = 3.0 * np.arange(84) % 7
    for _ in range(40):
        requested = pd.DataFrame({name: (rng.random(84) < 0.3).astype(float) for name in list(FEATURES)[:10]})
        features = of_class[:, None] + rng.normal(size=(84, len(FEATURES)))
        p += response(requested, features, DX_OF[:84], n_resamples=2, n_permutations=99)["p"].tolist()
    rate = np.mean(np.array(p) <= 0.05)
    assert 0.02 <= rate <= 0.085  # 400 tests: 0.05 and three standard errors


def test_what_is_asked_for_at_one_level_alone_has_no_response():
    requested = pd.DataFrame({"red": np.ones(N), "white": np.full(N, np.nan)})
    table = response(requested, np.random.default_rng(8).normal(size=(N, len(FEATURES))), n_permutations=9)
    assert table[["concordance", "rank_correlation", "p"]].isna().all(axis=None)
    assert table["n"].tolist() == [N, 0]


def test_pooled_concordance_counts_the_pairs_of_all_attributes():
    rng = np.random.default_rng(5)
    requested = requested_scores(rng)
    _, features = readings(rng, requested, 1.5, 0.8)
    weights = np.ones((1, N))
    single = {
        name: obedience.pooled(DX_OF, requested, features, weights, [name])[0]
        for name in ("asymmetry", "blue_whitish_veil")
    }
    assert single["asymmetry"] == pytest.approx(
        obedience.agreement(PROMPTS, DX_OF, requested, np.eye(7)[np.zeros(N, int)], features, n_resamples=1, seed=0)
        .set_index("attribute")["estimate"]["asymmetry"]
    )  # fmt: skip
    both = obedience.pooled(DX_OF, requested, features, weights, list(single))[0]
    assert min(single.values()) < both < max(single.values())
    noise = rng.normal(size=features.shape)
    assert obedience.pooled(DX_OF, requested, noise, weights, list(single))[0] == pytest.approx(0.5, abs=0.08)
    assert np.isnan(obedience.pooled(DX_OF, requested * np.nan, features, weights, list(single))[0])
