"""Equalised odds are fairlearn's, and a planted gap in one rate is recovered."""

import cohorts
import numpy as np
import pytest
from fairlearn.metrics import equalized_odds_difference, equalized_odds_ratio

from p2d_lib.fairness import groups, odds, report
from p2d_lib.vocabulary import MALIGNANT


def _with_sensitivity(cases, of_women, of_men):
    """Skill such that malignant lesions of women and men are found that often, benign ones equally."""
    malignant = cases["dx"].isin(MALIGNANT)
    return np.where(malignant, np.where(cases["sex"] == "female", of_women, of_men), 0.8)


def test_they_are_those_of_fairlearn():
    cases = cohorts.cases(500)
    readings = cohorts.readings(cases, _with_sensitivity(cases, 0.9, 0.6), seeds=1)
    table = odds.equalised_odds(readings, cases, 1, ("real", "mixed"), n_resamples=50)
    for arm in ("real", "mixed"):
        dx_read, rows = groups.align(readings[readings["arm"] == arm], cases)
        for attribute in ("sex", "age"):
            group = groups.attributes(rows)[attribute]
            known = group.notna().to_numpy()
            truth, read = rows["dx"].isin(MALIGNANT)[known], dx_read[arm][0].isin(MALIGNANT).to_numpy()[known]
            features = {"sensitive_features": group[known].astype(str).to_numpy()}
            row = cohorts.row(table, attribute=attribute, arm=arm)
            assert row["difference"] == pytest.approx(equalized_odds_difference(truth, read, **features))
            assert row["ratio"] == pytest.approx(equalized_odds_ratio(truth, read, **features))
            assert row["difference"] == max(row[rate] for rate in odds.RATES)
    perfect = readings.merge(cases[["image_id", "dx"]], on="image_id").assign(dx_read=lambda one: one["dx"])
    same = odds.equalised_odds(perfect.drop(columns="dx"), cases, 1, ("real",), n_resamples=20)
    assert (same["difference"] == 0).all() and (same["ratio"] == 1).all()


def test_a_planted_gap_in_sensitivity_is_recovered_and_none_where_none_is():
    cases = cohorts.cases(900)
    planted = cohorts.readings(cases, _with_sensitivity(cases, 0.9, 0.6))
    equal = cohorts.readings(cases, np.full(len(cases), 0.8))
    of_planted, of_equal = (
        cohorts.row(odds.equalised_odds(one, cases, 10, ("real",), 200), attribute="sex") for one in (planted, equal)
    )
    # a wrong reading names any other class, one in three of them malignant: 0.3 in skill is 0.2 in sensitivity
    assert of_planted["low"] < 0.2 < of_planted["high"] and of_planted["low"] > 0
    assert (of_planted["rate"], of_planted["worst"]) == ("malignant sensitivity", "male")
    assert of_equal["difference"] < 0.08 and of_equal["low"] < 0.03


def test_too_few_malignant_lesions_read_n_too_small():
    cases = cohorts.cases(60)
    readings = cohorts.readings(cases, np.full(len(cases), 0.8), seeds=2)
    table = odds.equalised_odds(readings, cases, 30, ("real", "mixed"), 20)
    assert (table["n_groups"] < 2).all() and table["difference"].isna().all()
    printed = report.odds_table(table)
    assert set(printed["gap in malignant sensitivity"]) == {"n too small"}
    assert set(printed["equalised odds difference"]) == {"–"}
