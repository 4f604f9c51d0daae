"""Tables and sentences: they say what the numbers carry, and no more."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.fidelity import alignment, compare, report, verdicts
from p2d_lib.fidelity.controls import CONTROLS
from p2d_lib.fidelity.sets import Sets

DX = np.repeat(["bcc", "mel", "nv"], [30, 30, 8])


def analysed(adapter=0.2, outliers=False, too_few=()):
    shifts = {"test": 0, "train": 0, "adapter": adapter, "base": 1.0, "cascade": 1.0, **dict.fromkeys(CONTROLS, 8)}
    features = {
        name: np.random.default_rng(k).normal(shift, 1, (len(DX), 8)) for k, (name, shift) in enumerate(shifts.items())
    }
    features["test"][:7] *= 60 if outliers else 1
    rng, aligned = np.random.default_rng(9), {}
    for name in ("adapter", "base", "cascade", "test", *CONTROLS):
        prompts, images = rng.normal(size=(2, len(DX), 16))
        images += (name not in CONTROLS) * prompts
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, prompts)]
        aligned[name] = alignment.align(*unit, DX)
    chosen = Sets({name: pd.DataFrame({"dx": DX}) for name in ("test", "train", "adapter", "base", "cascade")}, too_few)
    measured = compare.measured(features, DX, 10)
    return measured, aligned, verdicts.family(features, features, aligned, DX, ["cascade"], 10, 0), chosen


def sentences(*analysis):
    return " ".join(report.findings(*analysis, "means see no shapes"))


def test_a_planted_gain_is_said_to_fall_and_no_gain_is_not():
    better, same = sentences(*analysed(adapter=0.2)), sentences(*analysed(adapter=1.0))
    assert better.count(": falls") == 2 and "nearer to real images than cascade" in better
    assert same.count("no change is shown") == 2 and "not shown to differ from cascade" in same
    assert "rises**" in sentences(*analysed(adapter=3.0))


def test_sentences_name_the_controls_the_extractor_and_hold_no_nan():
    text = sentences(*analysed())
    assert all(f"{name} " in text for name in CONTROLS) and "means see no shapes" in text
    assert "for noise 5" in text or "for noise 4" in text, "chance is printed beside obedience"
    assert "nan" not in text.lower() and "nv" not in text and "melanocytic nevus (8)" in text


def test_a_baseline_that_is_no_nearer_than_noise_is_said_to_be_so():
    measured, *others = analysed()
    assert "No nearer to them than noise" not in sentences(measured, *others)
    measured.loc[("cascade", "all", "frechet"), "estimate"] = 1 + measured.at[("noise", "all", "frechet"), "estimate"]
    assert "No nearer to them than noise: cascade." in sentences(measured, *others)


def test_features_that_do_not_see_a_blur_are_said_not_to_and_others_are_not():
    measured, *others = analysed()
    assert "these features do not see that" not in sentences(measured, *others)
    measured.loc[("blurred", "all", "frechet"), "estimate"] = measured.at[("train", "all", "frechet"), "high"]
    assert "made blurred are as near: these features do not see that" in sentences(measured, *others)


def test_a_measure_that_calls_nonsense_good_is_not_printed_and_named():
    measured, aligned, tests, chosen = analysed(outliers=True)
    for table in (report.overall_table(measured, aligned), report.generators_table(measured, aligned, tests, chosen).T):
        assert "precision ↑" not in table.index
    assert "precision gives blobs 1.00" in sentences(measured, aligned, tests, chosen)
    assert "precision ↑" in report.overall_table(*analysed()[:2]).index


def test_the_controls_stand_beside_base_adapter_and_real_images():
    table = report.overall_table(*analysed()[:2])
    assert list(table.columns) == ["base", "adapter", "real", *CONTROLS]
    assert "[" in table.at["KID ↓", "adapter"] and "[" not in table.at["KID ↓", "noise"]


def test_a_small_class_reads_n_too_small():
    measured, aligned, tests, _ = analysed()
    table = report.classes_table(measured, aligned, tests, DX)
    assert (table.loc["nv"].filter(like="distance") == report.TOO_SMALL).all() and table.at["nv", "p (Holm)"] == "–"
    assert list(table.index) == ["bcc", "mel", "nv", "all"] and table.at["all", "n"] == "68"
    assert (table.loc["mel"].filter(like="KID").str.match(r"-?\d")).all()


def test_one_quantity_has_one_value_in_all_tables():
    measured, aligned, tests, chosen = analysed()
    overall = report.overall_table(measured, aligned).loc["Fréchet distance ↓"]
    all_generators = report.generators_table(measured, aligned, tests, chosen).set_index("images")["Fréchet distance ↓"]
    by_class = report.classes_table(measured, aligned, tests, DX).loc["all"]
    for name in ("base", "adapter", "real"):
        assert overall[name].split(" ")[0] == all_generators[name] == by_class[f"Fréchet distance {name}"]


def test_a_baseline_with_too_few_images_keeps_its_row():
    measured, aligned, tests, chosen = analysed(too_few=("scratch-unet",))
    table = report.generators_table(measured, aligned, tests, chosen).set_index("images")
    assert table.loc["scratch-unet"].tolist() == [report.TOO_SMALL, *["–"] * (table.shape[1] - 1)]
    assert "scratch-unet: n too small" in sentences(measured, aligned, tests, chosen)


def test_the_floors_of_train_and_val_stand_side_by_side_or_read_n_too_small():
    features = {
        name: np.random.default_rng(k).normal(size=(len(DX), 8)) for k, name in enumerate(("test", "train", "val"))
    }
    table = report.floors_table(compare.measured(features, DX, 10)).set_index("real images")
    assert (
        list(table.index) == ["train", "val"]
        and (table["n"] == "68").all()
        and table["KID ↓"].str.contains(r"\[").all()
    )
    empty = report.floors_table(compare.measured({}, np.array([]), 10))
    assert (empty["KID ↓"] == report.TOO_SMALL).all()


def test_the_figure_has_a_line_for_each_class_and_says_which_are_too_small():
    measured, _, _, chosen = analysed()
    figure = report.distances_figure(measured, chosen.n)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "bcc (n = 30)", "mel (n = 30)", "nv (n = 8)", "all (n = 68)"
    ]  # fmt: skip
    assert [text.get_text() for text in figure.axes[0].texts] == [report.TOO_SMALL]


@pytest.mark.parametrize("measure", ["frechet", "kid", "auc", "wins"])
def test_every_hypothesis_stands_in_the_table_of_tests(measure):
    _, _, tests, _ = analysed()
    table = report.tests_table(tests)
    assert len(table) == len(tests) and table["p (Holm)"].str.match(r"< 0.001$|[01]\.\d{3}$").all()
    assert table["estimate"][tests["measure"] == measure].str.contains(r"\[").all() == (measure in ("frechet", "kid"))


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert report._number("kid", -0.001, -0.5, 0.5) == "0.00 [-0.50, 0.50]" and report._number("kid", np.nan) == "–"
