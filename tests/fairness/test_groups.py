"""Groups are what the cases say, metrics are fairlearn's, small groups are not measured."""

import subprocess
import sys

import cohorts
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from p2d_lib.fairness import gaps, groups, report


def test_groups_are_what_the_cases_say():
    cases = pd.DataFrame(
        {
            "image_id": list("abcd"), "dx": ["mel", "nv", "bcc", "df"], "sex": ["male", "unknown", "female", "male"],
            "age": [29.9, 30, 75, np.nan], "localization": ["hand", "unknown", "ear", "oral"],
            "ita": [10.0, 40, 60, 20], "true_fitzpatrick": [1, 3, 6, 2],
            "dataset": ["vidir", "rosendahl", "vidir", "vidir"],
        }
    )  # fmt: skip
    estimate = groups.attributes(cases).astype(object).where(lambda t: t.notna(), None)
    assert estimate["sex"].tolist() == ["male", None, "female", "male"]
    assert estimate["age"].tolist() == ["under 30", "30–44", "75 and over", None]
    assert estimate["site"].tolist() == ["upper extremity", None, "head and neck", "oral"]
    assert estimate["malignancy"].tolist() == ["malignant", "benign", "malignant", "benign"]
    assert estimate["skin type"].tolist() == ["I–II", "III–IV", "V–VI", "I–II"]
    judged = cases.rename(columns={"true_fitzpatrick": "fitzpatrick"})
    assert groups.attributes(judged)["skin type"].equals(groups.attributes(cases)["skin type"])
    assert estimate["source"].tolist() == ["vidir", "rosendahl", "vidir", "vidir"]
    assert "source" not in groups.attributes(cases.assign(dataset="phantom")), "one source is no comparison"
    assert "skin type" not in groups.attributes(cases.drop(columns="true_fitzpatrick")), "ITA is no group label"


@pytest.mark.parametrize("known", [(), ("sex",)])
def test_an_attribute_that_is_known_of_no_image_is_left_out(known):
    cases = cohorts.cases(200).assign(fitzpatrick=np.nan)
    unknown = {"sex": "unknown", "age": np.nan, "localization": "unknown"}
    cases = cases.assign(**{column: value for column, value in unknown.items() if column not in known})
    readings = cohorts.readings(cases, 0.7, seeds=2)
    table = groups.by_group(readings, cases, min_n=10, n_resamples=50)
    assert set(table["attribute"]) == {*known, "malignancy", "lesion type"}
    tested = gaps.gaps(readings, cases, 10, n_resamples=50, n_permutations=50)
    assert set(tested["attribute"]) == {*known, "malignancy", "lesion type"}


def test_few_lesions_read_n_too_small_and_take_no_part():
    cases = cohorts.cases()
    skill = np.where(cases["localization"] == "genital", 0.0, 0.8)  # four lesions, all wrong
    readings = cohorts.readings(cases, skill, seeds=1)
    table = groups.by_group(readings, cases, min_n=10, n_resamples=100)
    small = table[table["group"] == "genital"]
    assert (small["n_lesions"] == 4).all() and small["estimate"].isna().all()
    shown = report.groups_table(table, ["real"], ["accuracy", "malignant sensitivity"])
    assert shown.loc[shown["group"] == "genital", "accuracy, real"].item() == "n too small"
    assert "genital" not in set(gaps.gaps(readings, cases, 10, n_resamples=50)["worst"])
    benign = cohorts.row(table, group="benign", metric="malignant sensitivity", arm="real")
    assert np.isnan(benign["estimate"]) and benign["n_counted"] == 0
    assert shown.loc[shown["group"] == "benign", "malignant sensitivity, real"].item() == "–"


def test_where_no_two_groups_are_large_enough_the_findings_say_so_and_the_table_too():
    cases = cohorts.cases(60)
    readings = cohorts.readings(cases, np.full(len(cases), 0.7), seeds=2)
    tested = gaps.gaps(readings, cases, min_n=60, n_resamples=20, n_permutations=20)
    assert set(report.gaps_table(tested, {})["gap"]) == {"n too small"}
    lines = report.findings(groups.by_group(readings, cases, 60, 20), tested, ("real", "mixed"), 60, {})
    assert lines[0] == "No gap is tested: of no attribute have two groups 60 lesions or more that a metric counts."


def test_estimates_of_fairlearn_are_the_middle_of_what_is_resampled():
    cases = cohorts.cases(250)
    readings = cohorts.readings(cases, np.full(len(cases), 0.7))
    table = groups.by_group(readings, cases, min_n=5, n_resamples=50)
    women = cases[cases["sex"] == "female"].merge(readings[readings["arm"] == "real"], on="image_id")
    expected = [balanced_accuracy_score(one["dx"], one["dx_read"]) for _, one in women.groupby("seed")]
    estimate = cohorts.row(table, group="female", metric="balanced accuracy", arm="real")["estimate"]
    assert estimate == pytest.approx(np.mean(expected))
    dx_read, rows = groups.align(readings, cases)
    for attribute, group in groups.attributes(rows).items():
        replicates = groups.group_replicates(dx_read, rows, group, np.ones((1, len(rows))), 5)
        for (name, metric), by_arm in replicates.items():
            row = cohorts.row(table, attribute=attribute, group=name, metric=metric, arm="mixed")
            assert row["estimate"] == pytest.approx(by_arm["mixed"].mean())
            assert row["low"] - 0.02 <= row["estimate"] <= row["high"] + 0.02


def test_sensitivity_and_specificity_are_those_planted():
    cases = cohorts.cases(600)
    malignant = cases["dx"].isin(["akiec", "bcc", "mel"])
    dx_read = np.where(malignant, np.where(np.arange(len(cases)) % 4 == 0, "nv", "mel"), "bkl")
    readings = pd.DataFrame({"image_id": cases["image_id"], "arm": "real", "seed": 0, "dx_read": dx_read})
    table = groups.by_group(readings, cases, min_n=10, n_resamples=200)
    sensitivity = cohorts.row(table, group="female", metric="malignant sensitivity")
    assert sensitivity["low"] < 0.75 < sensitivity["high"]
    specificity = cohorts.row(table, group="female", metric="malignant specificity")
    assert specificity["estimate"] == specificity["low"] == 1


def test_readings_that_do_not_pair_are_refused():
    cases = cohorts.cases(50)
    readings = cohorts.readings(cases, np.full(len(cases), 0.7))
    with pytest.raises(ValueError, match="arm 'real', seed 0 lacks 1 of the"):
        groups.by_group(readings.drop(index=0), cases, 10)
    with pytest.raises(ValueError, match="arms have different seeds"):
        groups.by_group(readings[(readings["arm"] == "real") | (readings["seed"] == 0)], cases, 10)
    with pytest.raises(ValueError, match="1 images read are no cases, the first is 'i0'"):
        groups.by_group(readings, cases.drop(index=0), 10)
    with pytest.raises(ValueError, match="no readings of arm 'mixed'"):
        gaps.gaps(readings[readings["arm"] == "real"], cases, 10)


def test_fairness_needs_no_torch():
    code = "import sys, p2d_lib.fairness.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
