"""Planted accuracies, differences and sensitivities are recovered; readers who guess are chance and do not differ."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2d_lib.instruments import intervals
from p2d_lib.readers import vlm_report, vlm_scores
from p2d_lib.readings import readings
from p2d_lib.schemas import READINGS
from p2d_lib.vocabulary import DX

N = 280
REFERENCE = Path(__file__).resolve().parents[2] / "tables" / "reference" / "smoke"


@pytest.fixture(scope="module")
def cases():
    ids = [f"i{k}" for k in range(N)]
    dx = [DX[k // 2 % 7] for k in range(N)]
    return pd.DataFrame({"image_id": ids, "lesion_id": [f"l{k // 2}" for k in range(N)], "dx": dx})


def reader(cases, name, skill, seed):
    """A reader who is right in `skill` of the images and else names any diagnosis."""
    rng = np.random.default_rng(seed)
    read = np.where(rng.random(N) < skill, cases["dx"], rng.choice(DX, N))
    p = rng.dirichlet(np.ones(7), N) * 0.5
    p[np.arange(N), [DX.index(dx) for dx in read]] += 0.5
    return readings(cases["image_id"], name, "vlm", p=p)


def test_a_planted_difference_is_found_and_two_guessers_do_not_differ(cases):
    table = pd.concat([reader(cases, name, skill, k) for k, (name, skill) in enumerate(
        {"base": 0.0, "fitted": 0.6, "other": 0.0}.items())])  # fmt: skip
    found = vlm_scores.replicates(READINGS.validate(table), cases, seed=0)
    assert found["fitted"]["accuracy"][0, 0] == pytest.approx(0.6 + 0.4 / 7, abs=0.08)
    assert intervals.summarise(found["base"]["auc"]).low < 0.5 < intervals.summarise(found["base"]["auc"]).high
    result = vlm_scores.differences(found, [("fitted", "base"), ("other", "base"), ("fitted", "absent")])
    assert result["first"].tolist() == ["fitted", "other"], "a pair with an absent reader is left out"
    assert result["low"][0] > 0.1 and result["p_holm"][0] < 0.05
    assert result["low"][1] < 0 < result["high"][1] and result["p_holm"][1] > 0.05
    with pytest.raises(ValueError, match="'fitted' lacks 1 of 280 images"):
        without = (table["reader"] == "fitted") & (table["image_id"] == "i5")
        vlm_scores.replicates(table[~without], cases, seed=0)


def test_the_majority_class_has_its_share_and_an_area_of_one_half(cases):
    train = pd.DataFrame({"dx": ["nv"] * 5 + ["mel"] * 3})
    scores = vlm_scores.replicates(vlm_scores.majority(train, cases["image_id"]), cases, seed=0)[vlm_scores.MAJORITY]
    assert scores["accuracy"][0, 0] == pytest.approx(1 / 7) and scores["auc"][0, 0] == 0.5


def test_an_abstention_is_an_error_and_leaves_no_probabilities(cases):
    silent = readings(cases["image_id"], "silent", "vlm", dx_read=[""] * N)
    half = readings(
        cases["image_id"], "half", "vlm", dx_read=[dx if k % 4 < 2 else "" for k, dx in enumerate(cases["dx"])]
    )
    found = vlm_scores.replicates(READINGS.validate(pd.concat([silent, half])), cases, seed=0)
    assert found["silent"]["accuracy"][0, 0] == found["silent"]["macro_f1"][0, 0] == 0
    assert found["half"]["accuracy"][0, 0] == pytest.approx(0.5)
    assert np.isnan(found["half"]["auc"]).all()


def answers(cases, labels, way="lenient"):
    """labels: template -> the label of each image."""
    empty = dict.fromkeys(("strict", "lenient", "likeliest"), "")
    return pd.concat(
        pd.DataFrame({"image_id": cases["image_id"], "reader": "r", "template_id": template, **empty, way: label})
        for template, label in labels.items()
    )


def test_a_planted_sensitivity_to_words_is_recovered(cases):
    dx = cases["dx"].to_numpy(object)
    other = np.where(np.arange(N) < N // 4, np.roll(dx, 2), dx)
    row = vlm_scores.prompt_sensitivity(answers(cases, {"a": dx, "b": dx, "c": other}), cases).iloc[0]
    assert row["changed"] == 0.25 and row["highest accuracy"] == 1 and row["lowest accuracy"] == 0.75
    same = vlm_scores.prompt_sensitivity(answers(cases, {"a": dx, "b": dx, "c": dx}, "likeliest"), cases)
    assert same["read by"].tolist() == ["likeliest", "lenient"]
    assert same["kappa"][0] == 1 and same["changed"][0] == 0
    assert np.isnan(same["kappa"][1]), "silence alone is no agreement"
    rng = np.random.default_rng(0)
    guesses = vlm_scores.prompt_sensitivity(answers(cases, {t: rng.choice(DX, N) for t in "abc"}), cases).iloc[0]
    assert abs(guesses["kappa"]) < 0.1 and guesses["changed"] > 0.9


def test_what_the_parser_decides_is_counted(cases):
    table = answers(cases, {"q": cases["dx"].to_numpy(object)})
    table["strict"] = [dx if k < 70 else "" for k, dx in enumerate(cases["dx"])]
    row = vlm_scores.parsers(table, cases, "q").iloc[0]
    assert (row["strict"], row["lenient"], row["strict abstentions"], row["differing"]) == (0.25, 1.0, 210, 210)


def test_the_comparisons_are_fitted_against_base_and_all_against_the_majority():
    of_models = pd.DataFrame(
        {"reader": ["majority class", "CLIP", "m, zero", "m, LoRA"], "kind": ["network"] + ["vlm"] * 3}
    )
    pairs = vlm_scores.pairs(["m, zero", "m, LoRA"], of_models, pd.DataFrame({"arm": ["mixed", "real"]}))
    assert pairs == [
        ("m, LoRA", "m, zero"), ("m, zero", "majority class"), ("m, LoRA", "majority class"),
        ("CLIP", "majority class"), ("network, real", "m, LoRA"), ("network, real", "CLIP"),
    ]  # fmt: skip


def test_sentences_claim_a_difference_only_where_one_is_shown():
    rows = pd.DataFrame(
        [("a", "b", 0.2, 0.1, 0.3, 0.001, 0.003), ("c", "b", 0.02, -0.1, 0.1, 0.6, 0.6)],
        columns=["first", "second", "difference", "low", "high", "p", "p_holm"],
    )
    prompts = pd.DataFrame(
        [("a", "lenient", 3, 9, 0.5, 0.1, 0.4, np.nan)],
        columns=["reader", "read by", "questions", "n", "changed", "lowest accuracy", "highest accuracy", "kappa"],
    )
    parsed = pd.DataFrame([{"reader": "a", "strict": 0.1, "lenient": 0.4, "differing": 3}])
    legend, shown, not_shown, of_parsers, of_words = vlm_report.findings(rows, prompts, parsed)
    assert "zero-shot" in legend and "LoRA" in legend
    assert shown.endswith(": better.") and not_shown.endswith("a difference is not shown.")
    assert "10% are right" in of_parsers and "40% if" in of_parsers and "3 answers" in of_parsers
    assert (
        "changes the diagnosis of 50% of the images" in of_words and "undefined" in of_words and "nan" not in of_words
    )


def test_a_run_without_a_model_has_tables_with_headings_and_no_rows():
    cases = pd.DataFrame({"image_id": ["a"], "lesion_id": ["l"], "dx": ["nv"]})
    likelihoods = vlm_report.likelihood_table({}, cases, 0)
    assert len(likelihoods) == 0 and list(likelihoods)[-1] == "calibration error"


def test_the_committed_table_of_smoke_has_its_readers_in_the_expected_order():
    """The majority class below LoRA and CLIP, zero-shot below LoRA, LoRA below a network; paired over lesions."""
    table = pd.read_csv(REFERENCE / "t7_vlm_differences.csv").set_index("comparison")["difference"]
    lows = {comparison: float(cell.split("[")[1].split(",")[0]) for comparison, cell in table.items()}
    lora = "tiny LLaVA, LoRA"
    shown = [f"{lora} − tiny LLaVA, zero-shot", f"{lora} − majority class", "CLIP, alignment − majority class",
             f"network, real − {lora}"]  # fmt: skip
    assert all(lows[comparison] > 0 for comparison in shown), lows
