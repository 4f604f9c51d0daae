"""A group that train under-represents is named, and its gap recovered; a split at random is called silent."""

import cohorts
import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from p2d_lib.fairness import represented, represented_report
from p2d_lib.fairness.represented import change

ARMS = ("real", "real+replay", "mixed")
OTHERS, DARK, CLOSED = 0.85, 0.35, 0.8  # recall of other melanomas, of dark-skin ones by both real arms, and by mixed
LEFT = 0.1  # of train's dark-skin melanomas stay; 0.5 of the lesions are in train, 0.4 in test
TIMES_RARER = (0.4 + 0.5 * (1 - LEFT)) / 0.4 / LEFT  # 21: dark-skin melanomas to others, in test over in train


def cohort(seed: int, moved: float = 0.0) -> pd.DataFrame:
    """800 lesions, half of them on dark skin, split at random; `moved` of train's dark-skin melanomas go to test."""
    rng, cases = np.random.default_rng([seed, 2]), cohorts.cases(800, seed)
    of_lesions = pd.DataFrame({"lesion_id": cases["lesion_id"].unique()})
    of_lesions["true_fitzpatrick"] = rng.choice([2, 6], len(of_lesions))
    of_lesions["split"] = rng.choice(["train", "val", "test"], len(of_lesions), p=[0.5, 0.1, 0.4])
    of_lesions["moves"] = rng.random(len(of_lesions)) < moved
    cases = cases.merge(of_lesions)
    rare = cases["moves"] & (cases["dx"] == "mel") & (cases["true_fitzpatrick"] == 6) & (cases["split"] == "train")
    return cases.assign(split=cases["split"].mask(rare, "test"))


def study(seed: int, of_dark: dict[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    cases = cohort(seed, moved=1 - LEFT)
    test = cases[cases["split"] == "test"].reset_index(drop=True)
    dark = (test["dx"] == "mel") & (test["true_fitzpatrick"] == 6)
    read = cohorts.readings(test, {arm: np.where(dark, of_dark[arm], OTHERS) for arm in ARMS}, ARMS, 3, seed)
    shares = represented.shares(cases, 10)
    found = represented.under_represented(shares)
    return shares, represented.gaps(read, cases, found, ARMS, n_resamples=300, n_permutations=199, seed=seed)


@pytest.fixture(scope="module")
def studies():
    return [study(seed, {"real": DARK, "real+replay": DARK, "mixed": CLOSED}) for seed in range(12)]


def melanomas_on_dark_skin(table):
    return cohorts.row(table, dx="mel", attribute="skin type", group="V–VI")


def test_a_planted_group_is_found_at_its_size_and_hardly_ever_another():
    others, times = 0, []
    for seed in range(20):
        found = represented.under_represented(represented.shares(cohort(seed, moved=1 - LEFT), 10))
        times.append(represented.times_rarer(melanomas_on_dark_skin(found)))
        others += len(found) > 1
    assert others <= 4  # 1 is expected
    estimates, low, high = np.transpose(times)
    assert np.median(estimates) == pytest.approx(TIMES_RARER, rel=0.4)
    assert ((low <= TIMES_RARER) & (high >= TIMES_RARER)).sum() >= 16  # 19 are expected


def test_random_splits_are_called_silent():
    """Holm's correction allows a false alarm in 1 of 20 splits; 6 or more of 40 have a chance of 1 in 70 at most."""
    tables = [represented.shares(cohort(seed), 10) for seed in range(100, 140)]
    assert sum(len(represented.under_represented(table)) > 0 for table in tables) <= 5
    intervals = np.array([represented.times_rarer(melanomas_on_dark_skin(table))[1:] for table in tables])
    assert ((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1)).sum() >= 34  # 38 are expected


def test_a_group_that_train_lacks_altogether_is_at_least_so_many_times_rarer():
    row = pd.Series({"train_of_group": 0, "train": 60, "test_of_group": 12, "test": 40})
    estimate, low, high = represented.times_rarer(row)
    assert estimate == high == np.inf and 3 < low < 20
    row = pd.concat([row, pd.Series({"dx": "mel", "attribute": "sex", "group": "male", "p": 1e-6, "p_holm": 1e-6})])
    printed = represented_report.shares_table(row.to_frame().T.infer_objects())
    assert printed["times rarer in train"].tolist() == [f"at least {low:.1f}"]


def test_the_gap_of_the_planted_group_and_its_closing_are_recovered(studies):
    rows = [gaps[(gaps["dx"] == "mel") & (gaps["attribute"] == "skin type")] for _, gaps in studies]
    real = [cohorts.row(gaps, arm="real") for gaps in rows]
    assert np.mean([row["gap"] for row in real]) == pytest.approx(OTHERS - DARK, abs=0.06)
    assert np.mean([row["low"] <= OTHERS - DARK <= row["high"] for row in real]) >= 0.75
    assert np.mean([row["p_holm"] <= 0.05 for row in real]) >= 0.75
    for first in ("real", "real+replay"):
        closed = [cohorts.row(gaps, arm=change(first, "mixed")) for gaps in rows]
        assert np.mean([row["gap"] for row in closed]) == pytest.approx(DARK - CLOSED, abs=0.06)
        assert np.mean([row["high"] < 0 for row in closed]) >= 0.75
    unchanged = [cohorts.row(gaps, arm=change("real", "real+replay")) for gaps in rows]
    assert np.mean([row["gap"] for row in unchanged]) == pytest.approx(0, abs=0.06)
    assert sum(row["p_holm"] <= 0.05 for row in unchanged) <= 2


def test_each_arm_is_compared_with_the_first_and_synthetic_ones_with_replay_too():
    assert represented.contrasts(["real", "mixed"]) == [("real", "mixed")]
    found = represented.contrasts(["real", "mixed", "real+replay", "real+classical", "mixed:skin-tones"])
    assert found == [("real", name) for name in ("mixed", "real+replay", "real+classical", "mixed:skin-tones")] + [
        ("real+replay", "mixed"),
        ("real+replay", "mixed:skin-tones"),
    ]
    by_tone = ["real", "real+replay", "real+replay:skin-tones", "mixed", "mixed:skin-tones"]
    assert represented.contrasts(by_tone)[4:] == [
        ("real+replay", "mixed"),
        ("real+replay:skin-tones", "mixed:skin-tones"),
    ]


def test_a_rare_group_that_is_read_as_well_as_others_has_no_gap():
    tables = [study(seed, dict.fromkeys(ARMS, OTHERS))[1] for seed in range(200, 212)]
    assert sum(len(gaps) > 0 for gaps in tables) >= 11
    assert sum(gaps["p_holm"].min() <= 0.05 for gaps in tables) <= 2


def test_the_findings_name_the_group_or_say_that_there_is_none(studies):
    of_replay = [cohorts.row(gaps, dx="mel", arm=change("real+replay", "mixed"))["p_holm"] for _, gaps in studies]
    for k, words in (
        (np.argmin(of_replay), "the gap narrows"),
        (np.argmax(of_replay), "no change of the gap is shown"),
    ):
        line = represented_report.findings(*studies[k], ARMS)[-1]
        assert "Train under-represents mel of skin type V–VI" in line
        assert f"Against real+replay, mixed: {words}" in line
    gaps = studies[0][1]
    printed = represented_report.gaps_table(gaps)
    changes = [change(*pair) for pair in represented.contrasts(ARMS)]
    assert list(printed["arm"]) == [*ARMS, *changes] and set(printed["group"]) == {"skin type V–VI"}
    silent = represented.shares(cohort(101), 10)
    assert represented_report.findings(silent, gaps.head(0), ARMS)[0].startswith(
        "No group is shown to be rarer in train"
    )
    assert len(represented_report.shares_table(silent)) == represented_report.SHOWN


def test_a_group_as_rare_as_is_called_detectable_is_found_in_four_of_five_studies_and_a_tiny_one_never():
    row = {"train_of_group": 120, "train": 273, "test_of_group": 36, "test": 77, "p": 0.1, "p_holm": 1.0}
    tiny = row | {"train_of_group": 3, "train": 6, "test_of_group": 2, "test": 4}
    times, never = represented.detectable(pd.DataFrame([row, tiny]))
    assert 2 < times < 4 and np.isinf(never)
    rng, share = np.random.default_rng(0), 156 / 350
    odds = share / (1 - share) / times
    a, b = rng.binomial(273, odds / (1 + odds), 2000), rng.binomial(77, share, 2000)
    found = np.array([fisher_exact([[i, 273 - i], [k, 77 - k]], "less").pvalue for i, k in zip(a, b, strict=True)])
    assert 0.77 <= (found <= 0.05 / 2).mean() <= 0.86
    text = represented_report.findings(pd.DataFrame([row, tiny]), None, ARMS)[0]
    assert f"found from {times:.1f} to {times:.1f} times rarer on; 1 are too small" in text


def test_groups_too_small_to_be_measured_are_not_tested():
    shares = represented.shares(cohort(0), 10)
    assert (shares[["test_of_group"]].min() >= 10).all()
    assert (shares["test"] - shares["test_of_group"]).min() >= 10
    none = represented.shares(cohort(0), 1000)
    assert none.empty and "large enough" in represented_report.findings(none, none, ARMS)[0]


def test_the_figure_shows_recalls_gaps_and_changes_where_the_table_has_them(studies):
    _, gaps = studies[0]
    figure = represented_report.gaps_figure(gaps, ARMS)
    recalls, of_arms, changes = figure.axes
    shown = [[line.get_xdata().tolist() for line in axis.lines if len(line.get_xdata()) == 3] for axis in figure.axes]
    of = gaps.set_index("arm")
    names = [change(*pair) for pair in represented.contrasts(ARMS)]
    assert shown[0] == [of.loc[list(ARMS), "of_others"].tolist(), of.loc[list(ARMS), "recall"].tolist()]
    assert shown[1:] == [[of.loc[list(ARMS), "gap"].tolist()], [of.loc[names, "gap"].tolist()]]
    assert [text.get_text() for text in recalls.get_yticklabels()] == list(ARMS)
    assert [text.get_text() for text in changes.get_yticklabels()] == names
    assert len(of_arms.containers) == len(changes.containers) == 1, "gaps and changes have intervals"
