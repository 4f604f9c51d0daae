"""The detector learns a planted difference, finds none where there is none, and has no image of the study."""

import numpy as np
import pytest
from studies import pools

from p2d_lib.readers import networks, study
from p2d_lib.vocabulary import DX


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
