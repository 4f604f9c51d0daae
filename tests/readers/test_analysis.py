"""The analysis recovers a reader's planted skill, and announces no difference where none is planted."""

import numpy as np
import pandas as pd
import pytest
from simulated_reader import SimulatedReader, answer, confusion
from sklearn.metrics import roc_auc_score
from studies import oracle, pools

from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.readers import analysis, report, study


def test_a_perfect_reader_is_perfect_and_a_blind_one_is_at_chance(key):
    synthetic = (key["source"] == "synthetic").to_numpy(float)
    coin = np.random.default_rng(5).random(len(key))
    result = analysis.analyse(pd.concat([oracle(key, synthetic), oracle(key, coin, "blind")]), key).set_index("reader")
    perfect, blind = result.loc["oracle"], result.loc["blind"]
    assert perfect["detection"].estimate == perfect["auc"].estimate == perfect["dx_real"].estimate == 1
    assert perfect["p_auc"] < 1e-12
    assert blind["auc"].estimate == pytest.approx(roc_auc_score(synthetic, coin))
    for name in ("detection", "auc"):
        assert blind[name].low < 0.5 < blind[name].high
    assert blind["p_auc"] > 0.05 and perfect["p_dx"] == 1


def test_an_arm_trained_on_the_synthetic_images_is_not_credited_for_them(key):
    result = analysis.analyse(oracle(key, None).assign(arm="mixed"), key).iloc[0]
    assert result["dx_real"].estimate == 1 and np.isnan(result["dx_synthetic"].estimate)


def test_a_reader_without_answers_has_no_detection_and_no_test(key):
    result = analysis.analyse(oracle(key, None), key).iloc[0]
    assert np.isnan([result["detection"].estimate, result["auc"].estimate, result["p_auc"], result["p_auc_holm"]]).all()


def test_the_analysis_recovers_a_simulated_readers_skill():
    key, _ = study.choose(*pools(per_class=150, views=1), n_images=2100, seed=0)
    reader = SimulatedReader("many", sensitivity=0.8, specificity=0.6, synthetic_recall=0.5)
    sheet = answer(key, reader, seed=1)
    rows = oracle(key, np.where(sheet["source"] == "synthetic", 0.5, -0.5) * sheet["confidence"] / 5 + 0.5)
    rows = rows.assign(dx_read=sheet["dx"].to_numpy())
    result = analysis.analyse(rows, key, n_resamples=50).iloc[0]
    recall = np.mean(list(reader.recall.values()))
    for interval, planted in (
        (result["detection"], 0.7),
        (result["dx_real"], recall),
        (result["dx_synthetic"], recall / 2),
    ):
        assert interval.low < planted < interval.high
    assert result["auc"].estimate > 0.7, "grades that follow skill must add to it"
    shares = analysis.confusion(rows, key, "real") / 150
    np.testing.assert_allclose(shares, confusion(reader, "real"), atol=0.13)


def test_kappa_is_one_for_twins_and_zero_for_strangers(key):
    rng = np.random.default_rng(0)
    first = oracle(key, rng.random(70), "a")
    stranger = first.assign(reader="c", is_synthetic_read=rng.permutation(first["is_synthetic_read"]))
    kappa = analysis.kappa(pd.concat([first, first.assign(reader="b"), stranger])).set_index(["question", "readers"])
    assert kappa.loc[("source", "a – b"), "kappa"] == 1
    assert abs(kappa.loc[("source", "a – c"), "kappa"]) < 0.3
    assert kappa.loc[("dx", "all 3"), "kappa"] == pytest.approx(1)


def _sentences(rows, key):
    result = analysis.analyse(rows, key, n_resamples=100)
    return result, report.findings(result, key, "")[1:]


def _graded(rng, key, area=0.5, right=0.7, right_synthetic=None):
    """Readings of one whose confidence (in tenths) has a planted area, and a planted share of right diagnoses."""
    synthetic = (key["source"] == "synthetic").to_numpy()
    view = rng.normal(0, 1, len(key)) + (1 if area > 0.5 else 0) * synthetic
    share = np.where(synthetic, right if right_synthetic is None else right_synthetic, right)
    rows = oracle(key, np.round(view.clip(-2, 2) * 2.5) / 10 + 0.5)
    wrong = key["dx"].map({"nv": "mel"}).fillna("nv").to_numpy()
    return rows.assign(dx_read=np.where(rng.random(len(key)) < share, key["dx"], wrong))


def test_a_reader_without_any_difference_is_announced_with_one_in_five_percent_of_studies():
    """Both tests of one reader together: real or synthetic, and right on both alike."""
    key, _ = study.choose(*pools(), n_images=140, seed=0)
    announced = {"any": 0, "auc": 0, "dx": 0}
    for trial in range(200):
        result = analysis.analyse(_graded(np.random.default_rng(trial), key), key, n_resamples=1).iloc[0]
        announced["any"] += min(result["p_dx_holm"], result["p_auc_holm"]) <= LEVEL
        announced["auc"] += result["p_auc"] <= LEVEL
        announced["dx"] += result["p_dx"] <= LEVEL
    assert announced["any"] / 200 <= 0.085
    assert 0.02 <= announced["auc"] / 200 <= 0.085
    assert 0.02 <= announced["dx"] / 200 <= 0.085


def test_planted_differences_are_announced_in_words():
    key, _ = study.choose(*pools(), n_images=140, seed=0)
    both = _graded(np.random.default_rng(0), key, area=0.76, right=0.9, right_synthetic=0.6)
    _, (sentence,) = _sentences(both, key)
    assert "(fewer, p " in sentence and "(better than chance, p < 0.001)" in sentence
    none = _graded(np.random.default_rng(3), key)
    result, (sentence,) = _sentences(none, key)
    assert result[["p_dx", "p_auc"]].min(axis=None) > 0.05
    assert "a difference is not shown" in sentence and "a difference from chance is not shown" in sentence


def test_the_verdict_is_about_the_area_and_agrees_with_its_interval(key):
    """A reader whose grades tell the sources apart although its answers at 0.5 do not: all are under 0.5."""
    synthetic = (key["source"] == "synthetic").to_numpy()
    graded = np.where(synthetic, 0.4, 0.1) + np.random.default_rng(0).choice([0, 0.05], len(key))
    result, (sentence,) = _sentences(oracle(key, graded), key)
    row = result.iloc[0]
    assert row["detection"].estimate == 0.5 and row["auc"].low > 0.5
    assert "better than chance" in sentence


def test_a_simulated_reader_is_corrected_apart_from_the_others(key):
    synthetic = (key["source"] == "synthetic").to_numpy()
    graded = 0.3 * np.random.default_rng(1).random(len(key)) + 0.1 * synthetic
    alone = analysis.analyse(oracle(key, graded), key)

    def beside_three(kind):
        others = [oracle(key, graded, f"r{k}", kind=kind) for k in range(3)]
        return analysis.analyse(pd.concat([oracle(key, graded), *others]), key)

    with_simulated, with_people = beside_three("simulated"), beside_three("person")
    columns = ["p_dx_holm", "p_auc_holm"]
    pd.testing.assert_frame_equal(with_simulated.loc[:0, columns], alone[columns])
    assert with_people.loc[0, "p_auc_holm"] == pytest.approx(4 * alone.loc[0, "p_auc_holm"])  # 8 tests, not 2
    text = report.findings(with_simulated, key, "")
    assert ["no person" in line for line in text[1:]] == [False, True, True, True]


def test_a_person_and_a_network_of_one_name_are_two_readers(key):
    rows = pd.concat([oracle(key, None, "scout"), oracle(key, None, "scout", kind="person")])
    assert analysis.analyse(rows.drop_duplicates(["image_id", "kind"]), key)["n"].tolist() == [70, 70]


def test_a_reading_of_an_unknown_image_is_refused(key):
    with pytest.raises(ValueError, match="70 images read are not in the study's key"):
        analysis.analyse(oracle(key, None).assign(image_id=[f"x{k}" for k in range(70)]), key)


def test_the_table_shows_what_was_tested(key):
    table = report.readers_table(analysis.analyse(oracle(key, None, arm="mixed"), key))
    assert table.columns.tolist() == [
        "reader", "kind", "n", "dx, real", "dx, synthetic", "p (dx)", "real or synthetic", "AUC", "p (AUC)",
    ]  # fmt: skip
    assert table.iloc[0, 4:].tolist() == ["–"] * 5


def test_a_sheet_with_the_counts_of_the_glide_study_gives_its_published_numbers():
    """140 images, half synthetic: 66 of the one and 69 of the other 70 are called what they are. These are the smallest
    equal halves that give all of 0.96 right, precision 0.99 and 0.95, recall 0.94 and 0.99."""
    key, _ = study.choose(*pools(), n_images=140, seed=0)
    synthetic = (key["source"] == "synthetic").to_numpy()
    mistaken = synthetic & (synthetic.cumsum() <= 4) | ~synthetic & ((~synthetic).cumsum() <= 1)
    table = analysis.source_report(oracle(key, np.where(synthetic ^ mistaken, 1.0, 0.0)), key)
    rounded = table.round(2)
    assert rounded.loc["synthetic", ["precision", "recall"]].tolist() == [0.99, 0.94]
    assert rounded.loc["real", ["precision", "recall"]].tolist() == [0.95, 0.99]
    assert rounded.loc["right answers", "recall"] == 0.96 and table["n"].tolist() == [70, 70, 140]


def test_an_answer_that_takes_no_side_counts_as_wrong(key):
    rows = oracle(key, 0.5)
    assert analysis.analyse(rows, key).iloc[0]["detection"].estimate == 0
    table = analysis.source_report(rows, key)
    assert table["recall"].tolist() == [0, 0, 0] and table["precision"].isna().all()


def test_a_reader_agrees_with_himself_as_often_as_planted(key):
    """Of 70 images shown again a third is answered at random: kappa 0.67."""
    rng = np.random.default_rng(0)
    first = oracle(key, None, "Ada").assign(dx_read=rng.choice(key["dx"].unique(), len(key)))
    anew = rng.choice(key["dx"].unique(), len(key))
    again = first.assign(dx_read=np.where(rng.random(len(key)) < 1 / 3, anew, first["dx_read"]))
    table = analysis.kappa(first, again)
    row = table[table["readers"] == "Ada – the same images again"].set_index("question").loc["dx"]
    assert row["n"] == 70 and row["kappa"] == pytest.approx(0.67, abs=0.13)


def test_one_sentence_a_question_says_how_far_readers_agree_with_one_another_and_with_themselves():
    table = pd.DataFrame(
        [("dx", "a – b", 140, 0.42, 0.33, 0.52), ("dx", "a – c", 140, 0.37, 0.28, 0.45),
         ("dx", "all 3", 140, 0.40, 0.34, 0.47), ("dx", f"a – {analysis.AGAIN}", 14, 0.50, np.nan, np.nan),
         ("source", "a – b", 139, -0.04, -0.20, 0.13)],
        columns=["question", "readers", "n", "kappa", "low", "high"],
    )  # fmt: skip
    of_dx, of_source = report.agreement_findings(table)
    assert "all readers together 0.40 [0.34, 0.47] (n = 140); two readers 0.37 to 0.42 [0.28, 0.52, of sev" in of_dx
    assert "a reader with the same images shown again n too small (n = 14, of fewer than 30 images" in of_dx
    assert of_source.endswith("over images]: two readers -0.04 [-0.20, 0.13] (n = 139).")
    assert report.agreement_findings(table.iloc[:0]) == []
