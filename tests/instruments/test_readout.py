"""The readout of an independent extractor recovers planted attributes, and falls with prompts that were swapped."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.instruments import obedience, readout
from p2d_lib.vocabulary import DX, FEATURES

COLUMN = list(FEATURES).index("asymmetry")


def images(n, seed, d=40):
    """Features of images that show a class and an asymmetry among noise, with the scores of their descriptions."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    dx, asymmetry = np.array(DX)[rng.integers(0, 7, n)], (rng.random(n) < 0.5).astype(float)
    of_class, direction = 2 * fixed.normal(size=(7, d)), 2 * fixed.normal(size=d)
    features = of_class[[DX.index(name) for name in dx]] + asymmetry[:, None] * direction + rng.normal(size=(n, d))
    scores = np.full((n, len(FEATURES)), np.nan)
    scores[:, COLUMN] = np.where(rng.random(n) < 0.2, np.nan, asymmetry)
    return features, dx, scores, asymmetry


@pytest.fixture(scope="module")
def probe():
    features, dx, scores, _ = images(400, 1)
    return readout.fit(features, dx, scores)


def agreement(probe, swapped=0.0, of=None):
    features, dx, _, asymmetry = images(300, 2)
    rows = np.random.default_rng(3).permutation(300)[: int(swapped * 300)]
    dx[rows], asymmetry[rows] = dx[np.roll(rows, 1)], asymmetry[np.roll(rows, 1)]
    requested = pd.DataFrame(dict.fromkeys(obedience.ATTRIBUTES, np.full(300, np.nan))).assign(asymmetry=asymmetry)
    predicted = probe.predict(features if of is None else of)
    table = obedience.agreement([str(k) for k in range(300)], dx, requested, predicted[:, :7], predicted[:, 7:], seed=0)
    return table.set_index("attribute")["estimate"]


def test_planted_classes_and_attributes_are_read_on_new_images_in_spite_of_missing_scores(probe):
    whole = agreement(probe)
    assert whole["class"] > 0.9 and whole["asymmetry"] > 0.9


def test_agreement_falls_in_proportion_to_swapped_prompts_and_to_chance(probe):
    whole, half, none = (agreement(probe, share) for share in (0, 0.5, 1))
    assert none["asymmetry"] == pytest.approx(0.5, abs=0.12) and none["class"] < 0.35
    assert half["class"] == pytest.approx((whole["class"] + none["class"]) / 2, abs=0.08)
    assert half["asymmetry"] == pytest.approx((whole["asymmetry"] + none["asymmetry"]) / 2, abs=0.1)


def test_in_noise_nothing_is_read(probe):
    noise = np.random.default_rng(5).normal(size=(300, 40))
    values = agreement(probe, of=noise)
    assert values["asymmetry"] == pytest.approx(0.5, abs=0.12) and values["class"] == pytest.approx(1 / 7, abs=0.08)


def test_it_is_fitted_on_one_image_of_a_lesion_and_on_no_more_of_a_class_than_asked():
    cases = pd.DataFrame({"lesion_id": np.repeat(range(30), 2), "dx": np.repeat(["nv"] * 25 + ["mel"] * 5, 2)})
    known = pd.DataFrame({"asymmetry": np.arange(60.0)})
    taught, scores = readout.of_lesions(cases, known, 10, seed=0)
    assert taught["lesion_id"].is_unique and taught["dx"].value_counts().to_dict() == {"nv": 10, "mel": 5}
    assert scores["asymmetry"].tolist() == taught.index.tolist()
    assert readout.of_lesions(cases, known, 10, seed=1)[0]["lesion_id"].tolist() != taught["lesion_id"].tolist()
