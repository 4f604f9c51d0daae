"""Recipes of dropout and class weights: each trains with its own, and only a planted difference is announced."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from p2d_lib.classify import comparison, protocol, recipes
from p2d_lib.classify.protocol import Protocol
from p2d_lib.classify.recipes import PLAIN, RECIPES

BUDGET = Protocol(
    arms=["mixed"], seeds=2, synthetic_share=0.5, backbone="tiny_resnet", steps=1, batch_size=8, learning_rate=1e-3,
    seed=0, class_weights="capped", dropout=0.7,
)  # fmt: skip


def test_each_of_the_six_recipes_trains_the_arm_real_with_its_dropout_and_weights(monkeypatch):
    trained = []

    def fake(run, images, budget, device):
        trained.append(budget)
        return pd.DataFrame({"arm": ["real"], "seed": [0]})

    monkeypatch.setattr(protocol, "train_and_read_val", fake)
    read = recipes.train_and_read_val(None, None, BUDGET, torch.device("cpu"))
    assert read["arm"].tolist() == list(RECIPES) and len(set(read["arm"])) == 6
    assert [(budget.dropout, budget.class_weights) for budget in trained] == [
        (0.0, "none"), (0.0, "capped"), (0.0, "uncapped"), (0.2, "none"), (0.2, "capped"), (0.2, "uncapped"),
    ]  # fmt: skip
    assert all(replace(b, dropout=0.7, class_weights="capped", arms=["mixed"]) == BUDGET for b in trained)
    assert {tuple(budget.arms) for budget in trained} == {("real",)}


def replicates(gain: dict[str, float], seed: int) -> comparison.Replicates:
    """Scores of two seeds on 200 resamples; every recipe has the same luck with them but for noise of its own."""
    rng = np.random.default_rng(seed)
    luck = rng.normal(0, 0.02, 201)
    names = ("accuracy", "balanced_accuracy", "macro_f1", "auc")
    return {
        name: {score: 0.6 + gain.get(name, 0) + luck + rng.normal(0, 0.01, (2, 201)) for score in names}
        for name in RECIPES
    }


def test_a_planted_gain_is_named_with_its_size_and_without_one_none_is_shown():
    best = "dropout 0.2, capped"
    of_recipes = replicates({best: 0.1}, 0)
    sentence = recipes.finding(of_recipes)
    assert f"“{best}” has the highest" in sentence and sentence.endswith("the two differ.")
    table = recipes.table(of_recipes).set_index(["dropout", "class weights"])
    gain = float(table.loc[("0.2", "capped"), "− first (points)"].split()[0])
    assert 7 < gain < 13
    assert table.iloc[0]["− first (points)"] == "" and PLAIN == "dropout 0, none"
    false = sum("the two differ" in recipes.finding(replicates({}, seed)) for seed in range(1, 5))
    assert false <= 1
