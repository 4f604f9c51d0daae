"""The scores are those of scikit-learn, and whoever was trained on an image is not scored by it."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from studies import oracle

from p2d_lib.parameters.classify import ARMS
from p2d_lib.readers import scoring
from p2d_lib.readings import readings


def test_a_planted_share_of_right_diagnoses_is_recovered_by_source(key):
    wrong = key["dx"].map({"nv": "mel"}).fillna("nv")
    flawed = (key["source"] == "synthetic") & (np.arange(len(key)) % 2 == 0)
    rows = readings(key["image_id"], "Ada", "person", dx_read=key["dx"].mask(flawed, wrong))
    result = scoring.scores(rows, key, n_resamples=200, seed=0).iloc[0]
    synthetic = key["source"] == "synthetic"
    assert result["accuracy_real"].estimate == 1 and result["n_real"] == 35
    assert result["accuracy_synthetic"].estimate == pytest.approx(1 - flawed.sum() / 35)
    expected = metrics.f1_score(key["dx"][synthetic], rows["dx_read"].to_numpy()[synthetic], average="macro")
    assert result["macro_f1_synthetic"].estimate == pytest.approx(expected)
    assert np.isnan(result["auc_real"].estimate), "a person states no probabilities"


def test_an_arm_that_was_trained_on_the_synthetic_images_has_no_score_on_them(key):
    of_arms = (scoring.scores(oracle(key, None, arm=arm), key, n_resamples=50, seed=0).iloc[0] for arm in ARMS)
    real = {"real", "real+replay", "real+classical"}
    assert {arm for arm, result in zip(ARMS, of_arms, strict=True) if result["n_synthetic"]} - {"published"} == real
    result = scoring.scores(oracle(key, None, arm="mixed@2x"), key, n_resamples=50, seed=0).iloc[0]
    assert result["n_synthetic"] == 0 and np.isnan(result["accuracy_synthetic"].estimate)
    assert result["auc_real"].estimate == 1


def test_seeds_of_an_arm_are_one_reader_and_too_few_lesions_give_no_interval(key):
    seeds = pd.concat([oracle(key, None, arm="real", seed=seed) for seed in (0, 1)])
    assert len(scoring.scores(seeds, key, n_resamples=50, seed=0)) == 1
    few = key.iloc[:8]
    rows = oracle(few, None)
    assert np.isnan(scoring.scores(rows, few, n_resamples=50, seed=0)["accuracy_real"].iloc[0].estimate)


def test_an_image_without_a_known_diagnosis_is_named(key):
    with pytest.raises(ValueError, match="1 images read have no known diagnosis, the first is 'x'"):
        scoring.scores(readings(["x"], "Ada", "person", dx_read=["nv"]), key, seed=0)
