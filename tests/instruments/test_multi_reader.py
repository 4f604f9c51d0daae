"""The analysis gives the published values, has its nominal level, and finds planted differences."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2d_lib.instruments import multi_reader, multi_reader_scores, roe_metz
from p2d_lib.instruments.multi_reader import FIXED, RANDOM, Scores
from p2d_lib.instruments.roe_metz import Variances

VAN_DYKE = pd.read_csv(Path(__file__).parent / "published" / "van_dyke.csv")
DIGITS = {"rel": 1e-6, "abs": 1e-8}


@pytest.fixture(scope="module")
def van_dyke():
    """Truth bool (114,) and ratings (2, 5, 114)."""
    ratings = [[VAN_DYKE[f"treatment_{t}_reader_{r}"] for r in range(1, 6)] for t in (1, 2)]
    return VAN_DYKE["truth"].to_numpy(bool), np.array(ratings, float)


def _study(rng, n_readers, n_cases, variances=roe_metz.ROE_METZ):
    """Truth and ratings of two treatments with the same mean area, 0.80."""
    return roe_metz.ratings(rng, (0.8, 0.8), n_readers, n_cases, variances)


@pytest.fixture(scope="module")
def empirical(van_dyke):
    return multi_reader_scores.jackknife("auc", *van_dyke)


def test_binormal_areas_of_van_dykes_readers_are_the_published_ones(van_dyke):
    scores = multi_reader_scores.jackknife("binormal_auc", *van_dyke)
    result = multi_reader.analyse(scores)
    assert scores.estimates.mean(1) == pytest.approx([0.9109867, 0.9515536], abs=1e-6)
    row = result.differences.iloc[0]
    assert row["difference"] == pytest.approx(-0.04056698, abs=1e-6)
    assert row["error"] == pytest.approx(0.02479568, abs=1e-6)
    assert row["df"] == pytest.approx(10.51789, abs=1e-4)
    assert row["p"] == result.p == pytest.approx(0.1313682, abs=1e-6)
    assert list(row[["low", "high"]]) == pytest.approx([-0.09544867, 0.01431471], abs=1e-6)
    parts = result.components
    assert [parts.error, parts.cov1, parts.cov2, parts.cov3] == pytest.approx(
        [0.0010790449, 0.0003125019, 0.0003116050, 0.0001937700], abs=1e-8
    )
    means = result.means
    assert means["error"].tolist() == pytest.approx([0.03177392, 0.01802297], abs=1e-6)
    assert means[["low", "high"]].to_numpy().ravel() == pytest.approx(
        [0.8426298, 0.9793435, 0.9133299, 0.9897774], abs=1e-6
    )


def test_sensitivities_of_van_dykes_readers_are_the_published_ones(van_dyke):
    positive, ratings = van_dyke
    result = multi_reader.analyse(multi_reader_scores.jackknife("sensitivity", positive, (ratings >= 3) == positive))
    row, parts = result.differences.iloc[0], result.components
    assert result.means["estimate"].tolist() == pytest.approx([0.8222222, 0.92], abs=1e-6)
    assert [row["difference"], row["error"], row["p"]] == pytest.approx([-0.09777778, 0.03780451, 0.02008822], **DIGITS)
    assert [row["df"], result.statistic] == pytest.approx([15.71732, 6.689493], rel=1e-6)
    assert [parts.error, parts.cov1, parts.cov2, parts.cov3] == pytest.approx(
        [0.0023681257, 0.0009943883, 0.0010145903, 0.0006604938], rel=1e-6
    )
    assert result.means["high"].tolist() == pytest.approx([0.9482568, 1], abs=1e-6)


def test_delongs_covariances_of_van_dykes_readers_are_the_published_ones(van_dyke):
    result = multi_reader.analyse(multi_reader_scores.delong(*van_dyke))
    row, parts = result.differences.iloc[0], result.components
    assert [row["difference"], row["error"], row["df"], row["p"]] == pytest.approx(
        [-0.04380032, 0.0206825, 15.06611, 0.05123303], rel=1e-6
    )
    assert [parts.error, parts.cov1, parts.cov2, parts.cov3] == pytest.approx(
        [0.0007921325, 0.0003420090, 0.0003395265, 0.0002358497], rel=1e-6
    )


def test_fixed_readers_and_fixed_cases_give_the_published_values(empirical):
    readers = multi_reader.analyse(empirical, readers=FIXED)
    assert [readers.statistic, readers.p] == pytest.approx([5.475953, 0.01927984], rel=1e-6)
    assert readers.differences["error"].item() == pytest.approx(0.01871748, rel=1e-6)
    assert readers.means["error"].tolist() == pytest.approx([0.02428971, 0.01677632], rel=1e-6)
    cases = multi_reader.analyse(empirical, cases=FIXED)
    assert [cases.statistic, cases.df2, cases.p] == pytest.approx([8.704, 4, 0.04195875], rel=1e-4)
    assert cases.differences[["low", "high"]].iloc[0].tolist() == pytest.approx([-0.08502022, -0.00258042], abs=1e-7)


@pytest.mark.parametrize(("reader", "error", "p"), [(0, 0.02551213, 0.26933885), (4, 0.04405746, 0.02300099)])
def test_one_reader_is_a_special_case(empirical, reader, error, p):
    """The published comparisons of single readers, and DeLong's test of two areas."""
    one = Scores(empirical.estimates[:, [reader]], empirical.covariance[:, [reader]][:, :, :, [reader]])
    row = multi_reader.analyse(one, readers=FIXED).differences.iloc[0]
    assert [row["error"], row["p"]] == pytest.approx([error, p], rel=1e-6)
    with pytest.raises(ValueError, match="one reader cannot stand for others"):
        multi_reader.analyse(one)


def test_what_is_fixed_must_leave_something_that_varies(empirical):
    with pytest.raises(ValueError, match="readers and cases are both fixed"):
        multi_reader.analyse(empirical, readers=FIXED, cases=FIXED)


def test_jackknife_and_delong_agree_on_continuous_ratings():
    positive, ratings = _study(np.random.default_rng(0), 3, 60)
    one, other = multi_reader_scores.jackknife("auc", positive, ratings), multi_reader_scores.delong(positive, ratings)
    np.testing.assert_allclose(one.estimates, other.estimates)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=0.1, atol=2e-4)


def test_cases_that_are_nested_within_treatments_share_no_covariance_and_fewer_readings_cost_precision():
    positive, ratings = _study(np.random.default_rng(1), 4, 80)
    nested = ratings.copy()
    first_half = np.arange(80) < 40
    nested[0, :, first_half], nested[1, :, ~first_half] = np.nan, np.nan
    whole, parts = (multi_reader_scores.jackknife("auc", positive, table) for table in (ratings, nested))
    assert not parts.covariance[0, :, 1].any() and whole.covariance[0, :, 1].all()
    errors = [multi_reader.analyse(scores).differences["error"].item() for scores in (whole, parts)]
    assert errors[1] > errors[0]


def test_a_reader_without_one_side_is_named(van_dyke):
    positive, ratings = van_dyke
    few = np.where(positive, np.nan, ratings)
    few[0] = ratings[0]
    with pytest.raises(ValueError, match="reader 1 has no auc with treatment 2: its 69 readings lack"):
        multi_reader_scores.jackknife("auc", positive, few)
    with pytest.raises(ValueError, match="225 ratings are missing: DeLong's method needs all"):
        multi_reader_scores.delong(positive, few)
    with pytest.raises(ValueError, match=r"shape \(5, 114\); expected \(treatments, readers, 114\)"):
        multi_reader_scores.delong(positive, ratings[0])


def test_equal_treatments_are_called_different_in_five_percent_of_studies_and_a_planted_difference_more_often():
    """Ratings of Roe and Metz, whose readers and cases are both random: planted areas 0.80 and 0.80, or 0.88."""
    rejected = {}
    for difference in (0.0, 0.08):
        rng = np.random.default_rng(5)
        areas = (0.8, 0.8 + difference)
        studies = (roe_metz.ratings(rng, areas, 5, 100) for _ in range(400))
        results = [multi_reader.analyse(multi_reader_scores.delong(*study)) for study in studies]
        rejected[difference] = np.mean([result.p <= 0.05 for result in results])
        found = [row["low"] <= -difference <= row["high"] for row in (r.differences.iloc[0] for r in results)]
        assert 0.92 <= np.mean(found) <= 0.98
    assert 0.02 <= rejected[0.0] <= 0.08
    assert rejected[0.08] >= 0.5


def test_treating_random_readers_as_fixed_finds_too_many_differences():
    """The reason for a multi-reader analysis: with readers who differ, fixed ones announce far more than 5 %."""
    rng, announced = np.random.default_rng(7), {RANDOM: 0, FIXED: 0}
    for _ in range(200):
        scores = multi_reader_scores.delong(*_study(rng, 4, 200, Variances(reader_treatment=0.08)))
        for readers in announced:
            announced[readers] += multi_reader.analyse(scores, readers=readers).p <= 0.05
    assert announced[RANDOM] / 200 <= 0.09
    assert announced[FIXED] / 200 >= 0.15


def test_means_of_one_treatment_have_intervals_that_cover_the_planted_area():
    rng, covered = np.random.default_rng(11), []
    for _ in range(300):
        positive, ratings = _study(rng, 5, 100)
        row = multi_reader.analyse(multi_reader_scores.delong(positive, ratings[:1])).means.iloc[0]
        covered.append(row["low"] <= 0.8 <= row["high"])
    assert 0.91 <= np.mean(covered) <= 0.985


@pytest.mark.parametrize("areas", [(0.5,), (0.6, 0.6)])
def test_two_readers_alone_announce_no_more_than_five_percent_of_nothing_and_still_find_much(areas):
    """By the plain mean squares 11 and 9 % of such studies announced a mean area unlike 0.5, or a difference."""
    announced = {}
    for planted in (0.0, 0.35):
        rng = np.random.default_rng(13)
        ratings = (roe_metz.ratings(rng, (*areas[:-1], areas[-1] + planted), 2, 136) for _ in range(150))
        results = [multi_reader.analyse(multi_reader_scores.delong(*study)) for study in ratings]
        rows = [(one.differences if len(areas) > 1 else one.means).iloc[0] for one in results]
        chance = 0 if len(areas) > 1 else 0.5
        announced[planted] = np.mean([not row["low"] <= chance <= row["high"] for row in rows])
    assert announced[0.0] <= 0.04 and announced[0.35] >= 0.5


def test_readers_who_never_err_give_no_number_of_nothing():
    perfect = Scores(np.ones((2, 3)), np.zeros((2, 3, 2, 3)))
    result = multi_reader.analyse(perfect)
    assert result.p == 1 and result.differences["p"].item() == 1
    assert result.differences[["low", "high"]].iloc[0].tolist() == [0, 0] and result.means["low"].tolist() == [1, 1]
    better = Scores(np.array([[1.0] * 3, [0.9] * 3]), perfect.covariance)
    assert np.isnan(multi_reader.analyse(better).differences["p"].item())


def test_the_simulation_gives_the_areas_that_are_planted():
    rng, same_readers = np.random.default_rng(3), Variances(reader=0, reader_treatment=0)
    positive, ratings = roe_metz.ratings(rng, (0.7, 0.9), 8, 4000, same_readers)
    scores = multi_reader_scores.delong(positive, ratings).estimates.mean(1)
    assert scores == pytest.approx([0.7, 0.9], abs=0.02)
