"""A planted gap is found at its size, none is found where there is none, and small groups stay silent."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from p2d_lib.fairness import groups, report
from p2d_lib.vocabulary import DX, HAM10000_LESIONS


def _cases(n=700, seed=0):
    rng = np.random.default_rng(seed)
    share = np.array(list(HAM10000_LESIONS.values())) ** 0.5
    lesions = pd.DataFrame(
        {
            "lesion_id": [f"l{i}" for i in range(n)],
            "dx": rng.choice(list(HAM10000_LESIONS), n, p=share / share.sum()),
            "sex": rng.choice(["female", "male", "unknown"], n, p=[0.48, 0.48, 0.04]),
            "age": rng.choice([20.0, 30, 44, 45, 59, 60, 74, 75, np.nan], n),
            "localization": rng.choice(["face", "ear", "back", "hand", "foot", "unknown"], n),
        }
    )
    lesions.loc[:3, "localization"] = "genital"
    cases = lesions.loc[np.repeat(lesions.index, rng.integers(1, 4, n))].reset_index(drop=True)
    return cases.assign(image_id=[f"i{i}" for i in range(len(cases))])


def _readings(cases, skill, arms=("real", "mixed"), seeds=3, seed=0):
    """skill: P(right) of each image, (n,) or {arm: (n,)}; half of it is luck of the lesion, half of the image."""
    rng = np.random.default_rng([seed, 1])
    lesion = rng.random(cases["lesion_id"].nunique())[pd.factorize(cases["lesion_id"])[0]]
    parts = []
    for arm in arms:
        for s in range(seeds):
            luck = np.where(rng.random(len(cases)) < 0.5, lesion, rng.random(len(cases)))
            right = luck < (skill[arm] if isinstance(skill, dict) else skill)
            away = np.where(right, 0, rng.integers(1, len(DX), len(cases)))
            said = np.array(DX)[(pd.Categorical(cases["dx"], DX).codes + away) % len(DX)]
            parts.append(pd.DataFrame({"image_id": cases["image_id"], "arm": arm, "seed": s, "dx_read": said}))
    return pd.concat(parts, ignore_index=True)


def _row(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_groups_are_what_the_cases_say():
    cases = pd.DataFrame(
        {
            "image_id": list("abcd"), "dx": ["mel", "nv", "bcc", "df"], "sex": ["male", "unknown", "female", "male"],
            "age": [29.9, 30, 75, np.nan], "localization": ["hand", "unknown", "ear", "oral"],
            "ita": [10.0, 40, 60, 20], "true_fitzpatrick": [1, 3, 6, 2],
        }
    )  # fmt: skip
    got = groups.attributes(cases).astype(object).where(lambda t: t.notna(), None)
    assert got["sex"].tolist() == ["male", None, "female", "male"]
    assert got["age"].tolist() == ["under 30", "30–44", "75 and over", None]
    assert got["site"].tolist() == ["upper extremity", None, "head and neck", "oral"]
    assert got["malignancy"].tolist() == ["malignant", "benign", "malignant", "benign"]
    assert got["skin type"].tolist() == ["I–II", "III–IV", "V–VI", "I–II"]
    judged = cases.rename(columns={"true_fitzpatrick": "fitzpatrick"})
    assert groups.attributes(judged)["skin type"].equals(groups.attributes(cases)["skin type"])
    assert "skin type" not in groups.attributes(cases.drop(columns="true_fitzpatrick")), "ITA is no group label"


def test_a_planted_gap_between_the_sexes_is_found_and_no_other():
    cases = _cases()
    skill = np.where(cases["sex"] == "female", 0.85, 0.6)
    result = groups.gaps(_readings(cases, skill), cases, min_n=10, n_resamples=400)
    for metric in ("accuracy", "balanced accuracy"):
        found = _row(result, attribute="sex", metric=metric, arm="real")
        assert (found["largest"], found["smallest"]) == ("female", "male")
        assert found["low"] < 0.25 < found["high"] and abs(found["gap"] - 0.25) < 0.08
        assert found["p_holm"] < 0.05
    others = result[(result["attribute"] != "sex") & (result["arm"] != groups.CHANGE)]
    assert not (others["p_holm"] < 0.05).any()
    assert not (result[result["arm"] == groups.CHANGE]["p_holm"] < 0.05).any()


def test_an_arm_that_closes_a_gap_shows_as_a_change():
    cases = _cases()
    female = cases["sex"] == "female"
    skill = {"real": np.where(female, 0.85, 0.55), "mixed": np.full(len(cases), 0.85)}
    result = groups.gaps(_readings(cases, skill, seeds=5), cases, min_n=10, n_resamples=400)
    change = _row(result, attribute="sex", metric="accuracy", arm=groups.CHANGE)
    assert change["low"] < -0.28 < change["high"] < 0 and change["p_holm"] < 0.05
    gap = {arm: _row(result, attribute="sex", metric="accuracy", arm=arm)["gap"] for arm in ("real", "mixed")}
    assert change["gap"] == pytest.approx(gap["mixed"] - gap["real"])


def test_without_any_gap_the_test_errs_as_rarely_as_it_says():
    """Of the five age bands the best and the worst are compared: the permutation pays for having picked them."""
    p = {"accuracy": [], "balanced accuracy": []}
    for trial in range(100):
        cases = _cases(150, seed=trial)
        read, rows = groups._aligned(_readings(cases, np.full(len(cases), 0.7), ["real"], 2, trial), cases)
        age = groups.attributes(rows)["age"]
        for metric in p:
            p[metric].append(groups._permuted(read, rows, age, metric, 99, trial)["real"])
    for metric, values in p.items():
        assert np.mean(np.array(values) <= 0.1) <= 0.18, metric
        assert 0.4 < np.mean(values) < 0.6, metric


def test_case_mix_is_not_mistaken_for_a_gap_of_balanced_accuracy():
    """Nevi are easy and sit on the trunk: accuracy differs by site, how each class is read does not."""
    cases = _cases(900)
    rng = np.random.default_rng(1)
    site = np.where(rng.random(900) < np.where(_first(cases)["dx"] == "nv", 0.9, 0.3), "back", "face")
    cases["localization"] = site[pd.factorize(cases["lesion_id"])[0]]
    skill = np.where(cases["dx"] == "nv", 0.95, 0.5)
    result = groups.gaps(_readings(cases, skill), cases, 10, n_resamples=400)
    assert _row(result, attribute="site", metric="accuracy", arm="real")["p"] < 0.01
    assert _row(result, attribute="site", metric="balanced accuracy", arm="real")["p"] > 0.05


def _first(cases):
    return cases.drop_duplicates("lesion_id")


def test_few_lesions_read_n_too_small_and_take_no_part():
    cases = _cases()
    skill = np.where(cases["localization"] == "genital", 0.0, 0.8)  # four lesions, all wrong
    readings = _readings(cases, skill, seeds=1)
    table = groups.by_group(readings, cases, min_n=10, n_resamples=100)
    small = table[table["group"] == "genital"]
    assert (small["n_lesions"] == 4).all() and small["estimate"].isna().all()
    shown = report.groups_table(table, ["real"], ["accuracy", "malignant sensitivity"])
    assert shown.loc[shown["group"] == "genital", "accuracy, real"].item() == "n too small"
    assert "genital" not in set(groups.gaps(readings, cases, 10, n_resamples=50)["smallest"])
    benign = _row(table, group="benign", metric="malignant sensitivity", arm="real")
    assert np.isnan(benign["estimate"]) and benign["n_counted"] == 0
    assert shown.loc[shown["group"] == "benign", "malignant sensitivity, real"].item() == "–"


def test_estimates_of_fairlearn_are_the_middle_of_what_is_resampled():
    cases = _cases(250)
    readings = _readings(cases, np.full(len(cases), 0.7))
    table = groups.by_group(readings, cases, min_n=5, n_resamples=50)
    women = cases[cases["sex"] == "female"].merge(readings[readings["arm"] == "real"], on="image_id")
    expected = [balanced_accuracy_score(one["dx"], one["dx_read"]) for _, one in women.groupby("seed")]
    got = _row(table, group="female", metric="balanced accuracy", arm="real")["estimate"]
    assert got == pytest.approx(np.mean(expected))
    read, rows = groups._aligned(readings, cases)
    for attribute, group in groups.attributes(rows).items():
        for (name, metric), draws in groups._draws(read, rows, group, np.ones((1, len(rows))), 5).items():
            row = _row(table, attribute=attribute, group=name, metric=metric, arm="mixed")
            assert row["estimate"] == pytest.approx(draws["mixed"].mean())
            assert row["low"] - 0.02 <= row["estimate"] <= row["high"] + 0.02


def test_sensitivity_and_specificity_are_those_planted():
    cases = _cases(600)
    malignant = cases["dx"].isin(["akiec", "bcc", "mel"])
    said = np.where(malignant, np.where(np.arange(len(cases)) % 4 == 0, "nv", "mel"), "bkl")
    readings = pd.DataFrame({"image_id": cases["image_id"], "arm": "real", "seed": 0, "dx_read": said})
    table = groups.by_group(readings, cases, min_n=10, n_resamples=200)
    sensitivity = _row(table, group="female", metric="malignant sensitivity")
    assert sensitivity["low"] < 0.75 < sensitivity["high"]
    specificity = _row(table, group="female", metric="malignant specificity")
    assert specificity["estimate"] == specificity["low"] == 1


def test_readings_that_do_not_pair_are_refused():
    cases = _cases(50)
    readings = _readings(cases, np.full(len(cases), 0.7))
    with pytest.raises(ValueError, match="arm 'real', seed 0 lacks 1 of the"):
        groups.by_group(readings.drop(index=0), cases, 10)
    with pytest.raises(ValueError, match="arms have different seeds"):
        groups.by_group(readings[(readings["arm"] == "real") | (readings["seed"] == 0)], cases, 10)
    with pytest.raises(ValueError, match="1 images read are no cases, the first is 'i0'"):
        groups.by_group(readings, cases.drop(index=0), 10)
    with pytest.raises(ValueError, match="no readings of arm 'mixed'"):
        groups.gaps(readings[readings["arm"] == "real"], cases, 10)


def test_fairness_needs_no_torch():
    code = "import sys, p2d_lib.fairness.groups; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
