"""What is printed about the arms is what was planted in their readings."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.classify import comparison, reading_tests, report
from p2d_lib.instruments import intervals
from p2d_lib.vocabulary import DX, MALIGNANT

SCORES = ("balanced_accuracy",)  # the primary one
SKILL = {"real": 0.6, "real+replay": 0.75, "synthetic": 0.3, "mixed": 0.75}


@pytest.fixture(scope="module")
def read():
    """Readings of 400 images of 200 lesions by four arms of known recall, five seeds each, rows in any order."""
    rng = np.random.default_rng(0)
    dx = np.repeat(rng.choice(DX, 200), 2)
    cases = pd.DataFrame({"image_id": [f"i{i}" for i in range(400)], "lesion_id": np.arange(400) // 2, "dx": dx})
    parts = []
    for arm, skill in SKILL.items():
        for seed in range(5):
            p = rng.dirichlet(np.ones(7), 400)
            right = rng.random(400) < skill
            dx_read = np.where(right, dx, np.array(DX)[(pd.Index(DX).get_indexer(dx) + rng.integers(1, 7, 400)) % 7])
            parts.append(
                pd.DataFrame({"image_id": cases["image_id"], "arm": arm, "seed": seed, "dx_read": dx_read})
                .join(pd.DataFrame(p, columns=[f"p_{d}" for d in DX]))
                .sample(frac=1, random_state=seed)
            )
    return pd.concat(parts, ignore_index=True), cases


@pytest.fixture(scope="module")
def of_arms(read):
    return comparison.replicates(*read, seed=0, n_resamples=400)


def test_each_arm_is_printed_with_its_planted_skill_inside_its_interval(of_arms):
    table = report.arms_table(of_arms)
    assert table.index.tolist() == list(SKILL)
    for arm, cell in table["balanced accuracy"].items():
        estimate, low, high = (float(part.strip("[],")) for part in cell.split())
        assert low <= SKILL[arm] <= high
        assert abs(estimate - SKILL[arm]) < 0.05


def test_planted_differences_are_found_and_none_where_none_is(of_arms):
    differences = comparison.paired(of_arms).set_index(["score", "first", "second"]).loc["balanced_accuracy"]
    assert differences.loc[("mixed", "real"), "p_holm"] < 0.05
    assert differences.loc[("synthetic", "real"), "p_holm"] < 0.05
    assert differences.loc[("synthetic", "real"), "difference"] == pytest.approx(-0.3, abs=0.08)
    assert differences.loc[("mixed", "real+replay"), "p_holm"] > 0.05
    assert (differences["p_holm"] >= differences["p"]).all()
    assert 0 < differences.loc[("mixed", "real"), "detectable"] < 0.15


def test_only_the_primary_score_is_tested_and_its_comparisons_are_one_family(of_arms):
    differences = comparison.paired(of_arms)
    tested = differences["p"].notna()
    assert set(differences.loc[tested, "score"]) == {comparison.PRIMARY} and tested.sum() == 4
    smallest = differences["p"].idxmin()
    assert differences.loc[smallest, "p_holm"] == pytest.approx(min(1, 4 * differences.loc[smallest, "p"]))
    assert not differences.loc[~tested, "announced"].any()


def test_a_single_seed_and_arms_of_other_images_are_refused(read, of_arms):
    one_seed = {arm: {score: values[:1] for score, values in of_arm.items()} for arm, of_arm in of_arms.items()}
    with pytest.raises(ValueError, match="two training seeds or more, there is 1"):
        comparison.paired(one_seed)
    readings, cases = read
    lacking = readings.drop(index=readings.index[(readings["arm"] == "mixed") & (readings["seed"] == 1)][0])
    with pytest.raises(ValueError, match="arm 'mixed', seed 1 read 399 images, others 400"):
        comparison.replicates(lacking, cases, 0, 20)


def test_the_other_tests_see_the_planted_differences_and_none_where_none_is(read):
    tests = reading_tests.reading_tests(*read, seed=0, n_permutations=199).set_index(["first", "second", "test"])
    for test in ("swap", "mcnemar"):
        assert tests.loc[("mixed", "real", test), "p_holm"] <= 0.06 and tests.loc[("mixed", "real", test), "p"] < 0.01
        assert tests.loc[("mixed", "real", test), "difference"] == pytest.approx(0.15, abs=0.05)
        assert tests.loc[("mixed", "real+replay", test), "p"] > 0.05
    assert tests.loc[("synthetic", "real", "delong"), "p"] > 0.05, "p is noise in all arms"
    readings, cases = read
    malignant = readings["image_id"].isin(cases.loc[cases["dx"].isin(MALIGNANT), "image_id"])
    surer = readings.assign(p_mel=readings["p_mel"] + 0.3 * (malignant & (readings["arm"] == "mixed")))
    of_surer = reading_tests.reading_tests(surer, cases, 0, 9).set_index(["first", "second", "test"])
    assert of_surer.loc[("mixed", "real", "delong"), "low"] > 0.1
    table = report.tests_table(tests.reset_index())
    assert len(table) == 12 and table["p"].notna().all()


def test_few_lesions_have_no_test_and_no_interval(read):
    readings, cases = read
    few = cases[cases["lesion_id"] < 15]
    readings = readings[readings["image_id"].isin(few["image_id"])]
    table = report.tests_table(reading_tests.reading_tests(readings, few, 0, 9))
    assert set(table["difference (points)"]) == {"n too small"} and table["p"].isna().all()
    recalls = report.classes_table(readings, few, 0, 20)
    assert recalls["real"].str.fullmatch(r"[01]\.\d\d \(n too small\)").all()


def test_further_scores_are_those_of_the_readings(read, of_arms):
    table = report.scores_table(of_arms)
    assert list(table) == list(SKILL) and len(table) == len(comparison.scores.FURTHER)
    assert float(table.loc["malignant AUC", "mixed"].split()[0]) == pytest.approx(0.5, abs=0.06), "p is noise"
    assert "[" not in table.loc["calibration error (ECE) ↓", "mixed"]


def test_findings_say_better_worse_and_not_shown_as_it_is(read, of_arms):
    lines = report.findings(of_arms, comparison.paired(of_arms), read[1], "The base saw nothing.")
    verdict = {line.split(":")[0]: line.rsplit(": ", 1)[1] for line in lines if " − " in line}
    assert verdict == {
        "mixed − real": "higher.",
        "mixed − real+replay": "no difference is shown.",
        "real+replay − real": "higher.",
        "synthetic − real": "**lower**.",
    }
    assert all("(5 of 5 of the same sign)" in line for line in lines if "real+replay − real" in line)
    assert "detect true differences from about" in lines[-3]
    assert "200 test lesions" in lines[-2] and lines[-1] == "The base saw nothing."


def _arms_of_equal_skill(rng, n_lesions=190, n_seeds=3, luck=0.03):
    """Replicates of the four arms, equal on average; each training is off by its luck."""
    weights = intervals.resample(np.arange(n_lesions), 300, seed=rng)
    ease = rng.normal(0.7, 0.2, n_lesions)

    def training():
        right = rng.random(n_lesions) < (ease + rng.normal(0, luck)).clip(0, 1)
        return weights @ right / n_lesions

    return {arm: {score: np.stack([training() for _ in range(n_seeds)]) for score in SCORES} for arm in SKILL}


@pytest.mark.parametrize("luck", [0.0, 0.03, 0.06])
def test_arms_of_equal_skill_are_announced_as_different_at_most_at_the_nominal_rate(monkeypatch, luck):
    monkeypatch.setattr(comparison.scores, "SCORES", SCORES)
    announced = sum(
        comparison.paired(_arms_of_equal_skill(np.random.default_rng(trial), luck=luck))["announced"].any()
        for trial in range(150)
    )
    assert announced / 150 <= 0.07  # 5 % and what chance adds in 150 studies


def test_a_difference_on_which_the_seeds_disagree_is_not_announced(of_arms):
    """The mean is clear, yet one of five trainings says the opposite."""
    weights = intervals.resample(np.arange(2000), 200, seed=0)
    rng = np.random.default_rng(0)
    first, second = (
        np.stack([weights @ (rng.random(2000) < skill) / 2000 for skill in of_seeds])
        for of_seeds in ([0.9, 0.9, 0.9, 0.9, 0.68], [0.7] * 5)
    )
    arms = {name: dict.fromkeys(comparison.scores.SCORES, r) for name, r in (("mixed", first), ("real", second))}
    row = comparison.paired(arms).set_index("score").loc[comparison.PRIMARY]
    assert (row["agreeing"], row["n_seeds"]) == (4, 5)
    assert not row["announced"]
    assert row["lowest"] < 0 < row["highest"]
    printed = report.paired_table(comparison.paired(arms)).iloc[1]
    assert printed["same sign"] == "4 of 5" and printed["single seeds"].startswith("-")
    assert printed["verdict"] == "no difference is shown, since the training seeds disagree in sign"


def test_recall_by_class_counts_images_and_lesions_of_the_class(read):
    table = report.classes_table(*read, seed=0, n_resamples=100).set_index("dx")
    assert table["images"].sum() == 400
    assert (table["images"] == 2 * table["lesions"]).all()
    readings, cases = read
    of_mel = readings.merge(cases).query("dx == 'mel' and arm == 'real'")
    assert float(table.loc["mel", "real"].split()[0]) == pytest.approx((of_mel["dx_read"] == "mel").mean(), abs=0.006)


def test_arms_that_were_not_run_are_not_compared(of_arms):
    without = {arm: of_arms[arm] for arm in ("real", "mixed")}
    assert comparison.paired(without)[["first", "second"]].drop_duplicates().to_numpy().tolist() == [["mixed", "real"]]


def test_an_arm_of_other_synthetic_images_is_compared_with_the_arm_of_the_usual_ones_at_its_ratio():
    arms = ["real", "mixed", "mixed@2x", "mixed:base@2x", "mixed:sentence", "synthetic:base"]
    assert comparison.pairs(arms) == [("mixed", "real"), ("mixed:base@2x", "mixed@2x"), ("mixed:sentence", "mixed")]
    assert comparison.pairs(["curriculum", "mixed"]) == [("curriculum", "mixed")]
    by_tone = ["real+replay", "real+replay:skin-tones", "mixed:skin-tones"]
    assert comparison.pairs(by_tone) == [(by_tone[2], by_tone[1]), (by_tone[1], by_tone[0])]
