import numpy as np
import pandas as pd
import pytest

from p2d_lib.fidelity import alignment


def test_a_mismatched_prompt_is_always_one_of_another_class():
    table = pd.DataFrame({"dx": ["mel", "nv", "df"] * 20, "prompt": [f"{dx} {i}" for i in range(20) for dx in "abc"]})
    own = dict(zip(table["dx"], "abc", strict=False))
    drawn = alignment.mismatched(table, seed=0)
    assert all(prompt[0] != own[dx] for dx, prompt in zip(table["dx"], drawn, strict=True))
    assert drawn == alignment.mismatched(table, seed=0) != alignment.mismatched(table, seed=1)


def test_one_class_alone_has_no_mismatched_prompts():
    with pytest.raises(ValueError, match="only 'mel'"):
        alignment.mismatched(pd.DataFrame({"dx": ["mel"], "prompt": ["x"]}), seed=0)


def test_words_without_effect_win_half_the_time_and_a_planted_effect_is_measured():
    rng = np.random.default_rng(0)
    other = rng.normal(0.2, 0.1, 400)
    chance = alignment.summarise(rng.normal(0.2, 0.1, 400), other, seed=0)
    planted = alignment.summarise(rng.normal(0.3, 0.1, 400), other, seed=0)
    assert chance.loc["wins", "low"] < 0.5 < chance.loc["wins", "high"]
    assert planted.loc["wins", "mean"] == pytest.approx(0.76, abs=0.04)  # P(N(0.1, 0.1 √2) > 0)
    assert planted.loc["own", "mean"] - planted.loc["other", "mean"] == pytest.approx(0.1, abs=0.02)
    assert planted.loc["own", "high"] - planted.loc["own", "low"] == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)
