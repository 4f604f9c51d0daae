"""Calibration by group: planted overconfidence of one group is recovered, a calibrated network shows none."""

import cohorts
import numpy as np
import pandas as pd
import pytest

from p2d_lib.fairness import confidence, report
from p2d_lib.vocabulary import DX


def _stated(cases, overconfidence_of_men):
    """Readings whose stated probability is their chance of being right, plus what is planted on men."""
    skill = np.random.default_rng(0).uniform(0.45, 0.8, len(cases))
    readings = cohorts.readings(cases, skill)
    sex = dict(zip(cases["image_id"], cases["sex"], strict=True))
    stated = readings["image_id"].map(dict(zip(cases["image_id"], skill, strict=True))).to_numpy()
    stated = stated + overconfidence_of_men * (readings["image_id"].map(sex) == "male").to_numpy()
    p = np.tile((1 - stated)[:, None] / 6, (1, 7))
    p[np.arange(len(p)), [DX.index(dx) for dx in readings["dx_read"]]] = stated
    return readings.join(pd.DataFrame(p, columns=[f"p_{dx}" for dx in DX]))


def test_planted_overconfidence_of_one_group_is_recovered_and_the_other_is_calibrated():
    cases = cohorts.cases(700)
    table = confidence.by_group(_stated(cases, 0.15), cases, 10, ("real", "mixed"), 200)
    men, women = (cohorts.row(table, group=group, arm="real") for group in ("male", "female"))
    assert men["low"] < 0.15 < men["high"] and men["low"] > 0.05
    assert women["low"] < 0 < women["high"] and abs(women["excess"]) < 0.05
    assert men["ece"] > men["ece_if_calibrated"] + 0.05
    assert women["ece"] == pytest.approx(women["ece_if_calibrated"], abs=0.03)
    assert not {"malignancy", "lesion type"} & set(table["attribute"])


def test_a_small_group_reads_n_too_small():
    cases = cohorts.cases(200)
    table = confidence.by_group(_stated(cases, 0.0), cases, 10, ("real", "mixed"), 20)
    assert cohorts.row(table, group="genital", arm="real")[["excess", "ece"]].isna().all()
    printed = report.calibration_table(table).set_index("group")
    assert printed.loc["genital", "overconfidence, mixed"] == "n too small"
    assert printed.loc["female", "ECE (if calibrated), mixed"].endswith(")")
