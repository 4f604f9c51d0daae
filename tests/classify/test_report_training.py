"""What is printed of the trainings is what was shown, sampled and planted."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.classify import image_sets, report_training
from p2d_lib.instruments import intervals, scores
from p2d_lib.vocabulary import DX


def replicates(skills, n=400, n_seeds=3):
    """{scale: replicates of classifiers that read this share rightly, on the same lesions}."""
    rng, weights = np.random.default_rng(0), intervals.resample(np.arange(n), 300, seed=0)
    return {
        scale: dict.fromkeys(scores.SCORES, np.stack([weights @ (rng.random(n) < skill) / n for _ in range(n_seeds)]))
        for scale, skill in skills.items()
    }


def test_a_planted_best_guidance_is_named_with_its_gain_over_the_one_in_use():
    swept = replicates({1: 0.5, 2: 0.8, 7.5: 0.6})
    table = report_training.guidance_table(swept, 7.5)
    low, high = table["− guidance 7.5 (points)"][1].split("[")[1].rstrip("]").split(", ")
    assert float(low) <= 20 <= float(high)
    assert table["− guidance 7.5 (points)"][2] == ""
    finding = report_training.guidance_finding(swept, 7.5)
    assert "the scale 2 has the highest balanced accuracy on val" in finding and finding.endswith(": the two differ.")
    axis = report_training.guidance_figure(swept).axes[0]
    assert axis.get_xlabel() == "guidance scale" and axis.lines[0].get_linestyle() == "None"


def test_scales_that_train_alike_are_not_called_different():
    differ = sum(
        report_training.guidance_finding(
            {
                scale: {"balanced_accuracy": np.random.default_rng([trial, k]).normal(0.6, 0.02, (3, 201))}
                for k, scale in enumerate((1, 2, 5))
            },
            5,
        ).endswith("the two differ.")
        for trial in range(100)
    )
    assert differ <= 8


def test_the_guidance_in_use_is_the_nearest_one_of_the_sweep():
    synthetic = pd.DataFrame({"generator": ["base", "adapter"], "guidance": [1.0, 4.5]})
    assert report_training.nearest([1.0, 5.0, 2.0], synthetic) == 5.0
    finding = report_training.guidance_finding(replicates({5: 0.9, 1: 0.5}), 5)
    assert "the scale 5 has the highest" in finding and "not tested" in finding


def test_images_and_how_often_they_are_shown_are_counted(tmp_path):
    table = pd.DataFrame({"image_id": list("abcdefg"), "set": ["train"] * 3 + ["test"] + ["synthetic"] * 3})
    images = image_sets.ImageSets(table, tmp_path)
    shown = {"real": np.array([[0, 1], [0, 0]]), "mixed": np.array([[0, 4], [1, 5], [2, 4]])}
    rows = report_training.shown_table(images, shown).set_index("arm")
    assert rows.loc["real"].tolist() == ["2 of 3", "0 to 3", "0", "–"]
    assert rows.loc["mixed"].tolist() == ["3 of 3", "1 to 1", "2", "1 to 2"]


def test_rounds_are_means_over_seeds_by_class():
    rows = [
        {"arm": "curriculum", "seed": s, "round": 1, "step": 5, "macro_f1": 0.5 + 0.2 * s, "dx": dx, "n": 9,
         "error": 0.1, "sampled": 4 + 2 * s, "refused": 0}
        for s in (0, 1) for dx in DX
    ]  # fmt: skip
    table = report_training.rounds_table(pd.DataFrame(rows))
    assert list(table["dx"]) == list(DX)
    assert table["new images"].eq(5).all() and table["macro-F1 on val before"].iloc[0] == pytest.approx(0.6)
