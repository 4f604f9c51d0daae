"""The detector learns a planted difference, finds none where there is none, and has no image of the study."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from studies import oracle, pools

from p2d_lib.models.extractors import Extractor
from p2d_lib.parameters.readers import Readers
from p2d_lib.prep import phantom
from p2d_lib.readers import analysis, exports, networks, people_report, report, scoring, study
from p2d_lib.vocabulary import DX

A_CLASS = 16  # lesions, in features of the extractor: half to learn from, half to judge


@pytest.fixture(scope="module")
def seen():
    """Features of phantom lesions by an independent extractor, (n, 1280), as they are and a little blurred, as a
    decoder blurs them."""

    def image(dx, k):
        rng = np.random.default_rng([DX.index(dx), k])
        return phantom.render(phantom.make_lesion(rng, dx), phantom.make_view(rng, "clinic"), (64, 64))[0]

    real = np.stack([image(dx, k) for dx in DX for k in range(A_CLASS)])
    extractor = Extractor("efficientnet_lite0", torch.device("cpu"))
    return extractor(real), extractor(np.stack([gaussian_filter(one, (0.8, 0.8, 0)) for one in real]))


def _areas(real, traced):
    """The area under the ROC curve on new images, for ten ways to call half of the lesions synthetic."""
    dx, areas = np.repeat(DX, A_CLASS), []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        quarter = np.concatenate([rng.permutation(A_CLASS) % 4 for _ in DX])
        learnt, synthetic = quarter < 2, quarter % 2 == 1
        features = np.where(synthetic[:, None], traced, real)
        model = networks.detector(features[learnt], synthetic[learnt], dx[learnt])
        areas.append(roc_auc_score(synthetic[~learnt], model.predict_proba(features[~learnt])[:, 1]))
    return areas


def test_a_trace_of_synthesis_planted_in_images_is_found_in_the_features_of_an_independent_network(seen):
    assert min(_areas(*seen)) > 0.7 and np.mean(_areas(*seen)) > 0.8


def test_two_halves_of_real_images_are_not_told_apart(seen):
    real, _ = seen
    areas = _areas(real, real)
    assert abs(np.mean(areas) - 0.5) < 0.05 and max(areas) < 0.7


def test_the_detector_finds_a_planted_shift_and_nothing_where_there_is_none():
    rng = np.random.default_rng(0)
    dx_real, dx_synthetic = rng.choice(DX, 600, p=[0.03, 0.05, 0.1, 0.02, 0.1, 0.68, 0.02]), np.repeat(DX, 40)
    content = {dx: rng.normal(0, 2, 32) for dx in DX}  # classes differ, and their frequencies do between the sources

    def features(dx, shift):
        return np.array([content[d] for d in dx]) + rng.normal(0, 1, (len(dx), 32)) + shift

    new = np.repeat(DX, 60)
    shares = {}
    for shift in (0.0, 0.6):
        known = np.concatenate([features(dx_real, 0), features(dx_synthetic, shift)])
        model = networks.detector(known, np.arange(len(known)) >= 600, np.concatenate([dx_real, dx_synthetic]))
        p = [model.predict_proba(features(new, s))[:, 1] >= 0.5 for s in (0, shift)]
        shares[shift] = (np.mean(~p[0]) + np.mean(p[1])) / 2
    assert abs(shares[0.0] - 0.5) < 0.06
    assert shares[0.6] > 0.9
    with pytest.raises(ValueError, match="of 600 images outside the study 0 are synthetic"):
        networks.detector(known[:600], np.zeros(600, bool), dx_real)


def test_the_detector_learns_from_no_image_and_no_lesion_of_the_study():
    cases, synthetic = pools()
    cases.loc[cases.index[::5], "split"] = "train"
    key, _ = study.choose(cases, synthetic, 70, seed=0)
    synthetic.loc[::4, "accepted"] = False
    pool = networks.outside_study(cases, synthetic, key)
    assert not set(pool["image_id"]) & set(key["image_id"])
    shown_lesions = set(cases.loc[cases["image_id"].isin(key["image_id"]), "lesion_id"])
    assert not set(pool["lesion_id"].dropna()) & shown_lesions
    assert set(pool.loc[~pool["is_synthetic"], "split"]) == {"test"}
    assert pool.loc[pool["is_synthetic"], "accepted"].all()


@pytest.fixture
def detected(key):
    """Readings of a detector in the mean colours of images, beside those of a network that names diagnoses."""

    class Colours:
        title = "mean colours"

        def __call__(self, images):
            return images.mean((1, 2))

    class Pictures:
        """In place of a run: real images are dark, synthetic ones bright."""

        def in_parts(self, table, measure):
            level = table["image_id"].str.startswith("s_").to_numpy(int)[:, None, None, None]
            return measure(100 * level + np.arange(len(table))[:, None, None, None] + np.zeros((1, 2, 2, 3)))

    pool = networks.outside_study(*pools(per_class=20), key)
    return pd.concat([oracle(key, None), networks.read(Colours(), Pictures(), pool, key)])


def test_a_detector_tells_sources_apart_and_is_asked_for_no_diagnosis(key, detected):
    row = analysis.analyse(detected, key, n_resamples=50).set_index("reader").loc["detector, mean colours"]
    assert row["auc"].estimate > 0.9 and row["n"] == len(key)
    assert np.isnan([row["dx_real"].estimate, row["dx_synthetic"].estimate, row["p_dx"], row["p_dx_holm"]]).all()
    assert scoring.scores(detected, key, n_resamples=50, seed=0)["reader"].tolist() == ["oracle"]
    assert set(exports.mrmcaov(detected, key, "malignant")["reader"]) == {"oracle"}
    long = exports.long(detected, key).set_index("reader")["right"]
    assert long.loc["detector, mean colours"].isna().all() and long.loc["oracle"].all()
    assert len(people_report.agreement_figure(detected).axes[0].texts) == 1


def test_a_person_or_a_model_without_a_diagnosis_abstains_and_is_wrong(key):
    for kind in ("person", "vlm"):
        silent = oracle(key, None, kind=kind).assign(dx_read="")
        assert analysis.analyse(silent, key, n_resamples=50)["dx_real"].iloc[0].estimate == 0
        assert scoring.scores(silent, key, n_resamples=50, seed=0)["abstentions"].tolist() == [len(key)]


def test_the_finding_names_each_detector_with_its_area_and_what_chance_does_not_show(key, detected):
    pool = pd.DataFrame({"is_synthetic": [True, False, False]})
    finding = report.detector_finding(analysis.analyse(detected, key, n_resamples=50), pool)
    assert "fitted on 2 real and 1 synthetic images that" in finding
    assert "in the features of mean colours" in finding and "in the features of oracle" not in finding
    assert "finds no difference in these features, not that there is none" in finding


def test_the_scout_is_no_independent_network():
    with pytest.raises(ValueError, match="detector_extractor: 'scout': write an independent network"):
        Readers(detector_extractor="scout")
