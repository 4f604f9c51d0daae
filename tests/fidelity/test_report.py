"""Tables and sentences: they say what the numbers carry, and no more."""

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
import small_sets

from p2d_lib.fidelity import alignment, compare, copying, pixels, report, verdicts
from p2d_lib.fidelity.__main__ import main as command
from p2d_lib.fidelity.controls import CONTROLS, RECONSTRUCTED
from p2d_lib.fidelity.report.cells import number
from p2d_lib.fidelity.sets import Sets
from p2d_lib.models.extractors import scout
from p2d_lib.run import ArtefactError

DX = np.repeat(["bcc", "mel", "nv"], [30, 30, 8])
EXTRACTORS = (
    SimpleNamespace(title="stranger", note="it has seen nothing", independent=True),
    SimpleNamespace(title="friend", note="it has seen all", independent=False),
)


@cache
def analysed(adapter=0.2, outliers=False, too_few=()):
    """All that the report takes but the extractors: two have the same features, of which the second has a part."""
    shifts = {"test": 0, "train": 0, "adapter": adapter, "base": 1.0, "cascade": 1.0, RECONSTRUCTED: 0.1}
    rng = [np.random.default_rng(k) for k in range(len(shifts) + 3)]
    features = {name: rng[k].normal(shift, 1, (len(DX), 8)) for k, (name, shift) in enumerate(shifts.items())}
    features |= {name: rng[-1].normal(8, 0.1, (len(DX), 8)) for name in CONTROLS}
    features["test"][:7] *= 60 if outliers else 1
    aligned = {}
    for name in ("adapter", "base", "cascade", "test", *CONTROLS):
        prompts, images = rng[-2].normal(size=(2, len(DX), 16))
        images += (name not in CONTROLS) * prompts
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, prompts)]
        aligned[name] = alignment.align(*unit, DX)
    chosen = Sets({name: pd.DataFrame({"dx": DX}) for name in ("test", "train", "adapter", "base", "cascade")}, too_few)
    both = {"stranger": features, "friend": {name: x[:, :3] for name, x in features.items()}}
    statistics = {name: 1 + rng[-3].random((len(DX), 9)) for name in features}
    statistics["adapter"][:, 3:5] /= 10  # power from 0.2 cycles/px on
    statistics["blocky"][:, 6:] = 0  # steps inside blocks
    in_pixels = pixels.measured(statistics, DX, 10)
    copied = pd.DataFrame([("adapter", 68, 0.0, 0.5, 0.5, 0.4)], columns=list(copying.COLUMNS))
    tests = verdicts.family(features, features, aligned, DX, copied, ["cascade"], 10, 0)
    return compare.measured(both, DX, 10), in_pixels, aligned, tests, chosen


def sentences(*analysis, extractors=EXTRACTORS):
    return " ".join(report.findings(*analysis, extractors))


def change(measured, key, value):
    """The same table with another estimate."""
    measured = measured.copy()
    measured.loc[[key], "estimate"] = value
    return measured


def test_a_planted_gain_is_said_to_fall_and_no_gain_is_not():
    better, same = sentences(*analysed(adapter=0.2)), sentences(*analysed(adapter=1.0))
    assert better.count(": falls") == 1 and "nearer to real images than cascade" in better
    assert same.count("no change is shown") == 1 and "not shown to differ from cascade" in same
    assert "KID falls in 1 (melanoma)" in better and "KID falls in none" in same
    assert "rises**" in sentences(*analysed(adapter=3.0))


def test_the_first_sentence_says_whether_the_judge_tells_them_apart_and_what_it_is():
    far, near = (report.findings(*analysed(adapter=shift), EXTRACTORS)[0] for shift in (1.0, 0.0))
    assert far.startswith("**By AUC, stranger tells from real test images the adapter's images with 0.9")
    assert "they differ), the base's" in far and "no difference is shown), the base's" in near
    assert "it has seen nothing" in far and "no judge of realism" not in far
    assert "friend, which is no judge of realism," in report.findings(*analysed(), EXTRACTORS[::-1])[0]


def test_only_the_judge_has_verdicts_and_the_other_extractor_is_named_with_what_one_must_know():
    (line,) = [line for line in report.findings(*analysed(), EXTRACTORS) if line.startswith("friend")]
    assert "no verdict" in line and "it has seen all" in line and "Holm" not in line and "times the floor" in line
    alone = sentences(*analysed(), extractors=EXTRACTORS[:1])
    assert "friend" not in alone


def test_lost_detail_is_said_with_the_values_of_real_and_reconstructed_images():
    (line,) = [line for line in report.findings(*analysed(), EXTRACTORS) if line.startswith("In pixels")]
    detail = line.split("power from 0.2 cycles/px on")[1]
    assert "is 0.1" in detail and "images 1.01" in detail and "reconstructed ones 0.99" in detail


def test_sentences_name_the_controls_and_hold_no_nan():
    text = sentences(*analysed())
    assert all(f"{name} " in text for name in CONTROLS)
    assert "for noise 5" in text or "for noise 4" in text, "chance is printed beside obedience"
    assert "nan" not in text.lower() and "nv" not in text and "melanocytic nevus (8)" in text


def test_a_baseline_that_is_no_nearer_than_noise_is_said_to_be_so():
    measured, *others = analysed()
    assert "No nearer to them than noise" not in sentences(measured, *others)
    noise = measured.loc[("stranger", "noise", "all", "kid"), "estimate"]
    measured = change(measured, ("stranger", "cascade", "all", "kid"), 1 + noise)
    assert "No nearer to them than noise: cascade." in sentences(measured, *others)


def test_features_that_do_not_see_a_blur_are_said_not_to_and_others_are_not():
    measured, *others = analysed()
    assert "these features do not see that" not in sentences(measured, *others)
    high = measured.loc[("stranger", "train", "all", "frechet"), "high"]
    measured = change(measured, ("stranger", "blurred", "all", "frechet"), high)
    assert "made blurred are as near: these features do not see that" in sentences(measured, *others)


def test_a_measure_that_calls_nonsense_good_is_not_printed_and_named_for_that_extractor_alone():
    measured, in_pixels, aligned, tests, chosen = analysed(outliers=True)
    table = report.overall_table(measured).set_index("extractor")["measure"]
    assert "precision ↑" not in table["stranger"].tolist()
    generators = report.generators_table(measured, aligned, tests, chosen).set_index("extractor")
    assert "precision ↑" not in generators or (generators.loc["stranger", "precision ↑"] == "–").all()
    assert "precision gives blobs 1.00" in sentences(measured, in_pixels, aligned, tests, chosen)
    assert "precision ↑" in report.overall_table(analysed()[0])["measure"].tolist()


def test_the_controls_stand_beside_base_adapter_and_real_images():
    table = report.overall_table(analysed()[0])
    assert list(table.columns) == ["extractor", "measure", "base", "adapter", "real", RECONSTRUCTED, *CONTROLS]
    kid = table[table["measure"] == "KID ↓"].iloc[0]
    infinite = table[table["measure"].str.contains("infinite")].iloc[0]
    assert infinite["adapter"] == report.TOO_SMALL, "68 images are too few for 32 components"
    assert kid["extractor"] == "stranger" and "[" in kid["adapter"] and "[" not in kid["noise"]


def test_realism_has_a_column_for_each_extractor_and_a_row_for_each_set_real_images_first():
    measured, in_pixels, *_ = analysed()
    table = report.realism_table(measured, in_pixels)
    assert list(table["images"]) == ["real", RECONSTRUCTED, "adapter", "base", "cascade", *CONTROLS]
    for column in ("AUC, stranger ↓", "AUC, friend ↓"):
        of = measured.xs(("all", "auc"), level=("dx", "metric")).loc[column.split()[1].rstrip(",")]
        of = of.rename({"train": "real"}).loc[table["images"]].round(3)
        assert (table[column].str.contains(r"\[").to_numpy() == (of["low"] < of["high"]).to_numpy()).all()
    assert table.set_index("images").at["adapter", "power 0.3–0.5"].startswith("0.1")
    assert table.set_index("images").at["blocky", "block borders / inside"] == "no steps inside"
    figure = report.realism_figure(measured, in_pixels, ["train", "adapter"])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["stranger", "friend"]
    assert len(figure.axes[1].get_legend().get_texts()) == 2


def test_a_small_class_reads_n_too_small():
    measured, _, _, tests, _ = analysed()
    table = report.classes_table(measured.loc["stranger"], tests).set_index(["dx", "measure"])
    assert (table.loc["nv"][["base", "adapter", "real"]] == report.TOO_SMALL).all(axis=None)
    assert (table.loc["nv"]["p (Holm)"] == "–").all() and (table.loc["all"]["n"] == "68").all()
    assert list(table.index.unique("dx")) == ["bcc", "mel", "nv", "all"]
    assert table.loc[("mel", "KID ↓"), "adapter"].count("[") == 1
    assert table.loc[("mel", "KID ↓"), "p (Holm)"] != "–" == table.loc[("mel", "Fréchet distance ↓"), "p (Holm)"]


def test_one_quantity_has_one_value_in_all_tables():
    measured, _, aligned, tests, chosen = analysed()
    overall = report.overall_table(measured).set_index(["extractor", "measure"])
    overall = overall.loc[("stranger", "Fréchet distance ↓")]
    generators = report.generators_table(measured, aligned, tests, chosen).set_index(["extractor", "images"])
    by_class = report.classes_table(measured.loc["stranger"], tests).set_index(["dx", "measure"])
    for name in ("base", "adapter", "real"):
        value = overall[name].split(" ")[0]
        assert value == generators.at[("stranger", name), "Fréchet distance ↓"]
        assert value == by_class.at[("all", "Fréchet distance ↓"), name].split(" ")[0]


def test_a_baseline_with_too_few_images_keeps_its_row():
    measured, in_pixels, aligned, tests, chosen = analysed(too_few=("scratch-unet",))
    table = report.generators_table(measured, aligned, tests, chosen).set_index(["extractor", "images"])
    row = table.loc[("stranger", "scratch-unet")].tolist()
    assert row == [report.TOO_SMALL, *["–"] * (table.shape[1] - 1)]
    assert "scratch-unet: n too small" in sentences(measured, in_pixels, aligned, tests, chosen)


def test_prompts_have_a_row_for_each_set_real_images_first():
    table = report.prompts_table(analysed()[2])
    assert list(table["images"]) == ["real", "adapter", "base", "cascade", *CONTROLS]
    assert table["own prompt fits better ↑"].str.contains(r"\[").all()


def test_a_further_extractor_is_asked_of_the_sets_that_are_compared_and_makes_no_verdict(capsys, monkeypatch):
    cases, synthetic = small_sets.cases(30), small_sets.synthetic(20, ("adapter", "base", "cascade"))
    far = {"base": 60, "adapter": 25}

    def images(table):
        drawn = [small_sets.lesion(row.dx, crc32(row.image_id.encode()), 16) for row in table.itertuples()]
        shift = [far.get(getattr(row, "generator", ""), 0) for row in table.itertuples()]
        return np.stack(drawn) // 2 + np.array(shift, np.uint8)[:, None, None, None]

    run = SimpleNamespace(
        images=images, parts=lambda table: [(images(table), table)], path=Path,
        read={"cases": cases, "synthetic": synthetic}.get, made_with=lambda _: {"parameters": {"seed": 7}},
    )  # fmt: skip
    monkeypatch.setattr("p2d_lib.run.Run", lambda *_: run)
    monkeypatch.setattr("p2d_lib.models.extractors.Extractor", lambda *_: Eye())
    assert command(["judge", "mine", "--extractor", "efficientnet_lite2"]) == 0
    line = capsys.readouterr().out
    adapter, base = map(float, re.search(r"distance ([\d.]+) \(adapter\) and ([\d.]+) \(base\) times", line).groups())
    assert line.startswith("eye, of which no verdict is made: AUC") and 1.5 < adapter < base


def test_a_judge_is_asked_only_where_images_and_a_place_for_features_are_there(tmp_path, capsys, monkeypatch):
    made = []

    def path(name):
        made.append(name)
        if len(made) == 2:
            raise ArtefactError(f"{name} is missing: run 04_sample first")
        return Path("run") / name

    asked = []
    run = SimpleNamespace(read=lambda name: name, path=path, made_with=lambda _: {"parameters": {"seed": 7}})
    monkeypatch.setattr("p2d_lib.run.Run", lambda *_: run)
    monkeypatch.setattr("p2d_lib.models.extractors.Extractor", lambda *given: asked.append(given[-1]))
    monkeypatch.setattr("p2d_lib.fidelity.report.opinion", lambda *_: "said")
    (tmp_path / "file").write_text("mine")
    judge = ["judge", "mine", "--extractor", "scout"]
    assert command(judge) == 1 and "synthetic_images is missing: run 04_sample first" in capsys.readouterr().err
    assert command([*judge, "--cache", str(tmp_path / "file" / "cache")]) == 1
    assert "another place with --cache" in capsys.readouterr().err and not asked
    assert command([*judge, "--cache", str(tmp_path / "cache")]) == 0 and asked == [Path("run/scout")]
    with pytest.raises(FileNotFoundError, match="--weights data/runs/<run>/scout"):
        scout.kind("scout", None)


class Eye:
    title, note, independent = "eye", "it has seen nothing", True

    def __call__(self, images):
        return small_sets.eye(images)


def test_the_caption_of_the_prompts_says_where_the_alignment_model_itself_has_chosen_the_images():
    kept, refused = pd.DataFrame({"reason": ["", "copy"]}), pd.DataFrame({"reason": ["", "alignment", "alignment"]})
    assert report.chosen_by_alignment(kept) == "" and "refused 2 images" in report.chosen_by_alignment(refused)


def test_the_class_that_was_asked_for_is_printed_beside_real_images_and_chance():
    agreements = {
        name: pd.DataFrame({
            "attribute": ["class"], "estimate": share, "low": share - 0.1, "high": share + 0.1, "chance": 1 / 7
        })
        for name, share in {"test": 0.8, "adapter": 0.4, "base": 0.2}.items()
    }  # fmt: skip
    assert list(report.attributes_table(agreements)["images"]) == ["real (test)", "adapter", "base"]
    line = report.attributes_finding(agreements, "stranger")
    assert "40 % [30, 50] of the adapter's" in line and "80 % of real test images; chance 14 %" in line


def test_further_sentences_stand_behind_the_judges_and_before_the_other_extractor():
    lines = report.findings(*analysed(), EXTRACTORS, ["First.", "", "Second."])
    assert (
        lines.index("First.") + 1
        == lines.index("Second.")
        < lines.index(next(line for line in lines if line.startswith("friend")))
    )


def test_the_floors_of_train_and_val_stand_side_by_side_or_read_n_too_small():
    features = {
        name: np.random.default_rng(k).normal(size=(len(DX), 8)) for k, name in enumerate(("test", "train", "val"))
    }
    table = report.floors_table(compare.measured({"stranger": features}, DX, 10)).set_index("real images")
    assert (
        list(table.index) == ["train", "val"]
        and (table["n"] == "68").all()
        and table["KID ↓"].str.contains(r"\[").all()
    )
    empty = report.floors_table(compare.measured({"stranger": {}}, np.array([]), 10))
    assert (empty["KID ↓"] == report.TOO_SMALL).all()


def test_the_figure_has_a_line_for_each_class_and_says_which_are_too_small():
    figure = report.distances_figure(analysed()[0].loc["stranger"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "bcc (n = 30)", "mel (n = 30)", "nv (n = 8)", "all (n = 68)"
    ]  # fmt: skip
    assert [text.get_text() for text in figure.axes[0].texts] == [report.TOO_SMALL]
    lines = [[tuple(line.get_xdata()) for line in axis.lines].count((0.5, 0.5)) for axis in figure.axes]
    assert lines == [0, 0, 1], "where an AUC tells nothing apart"


@pytest.mark.parametrize("measure", ["kid", "auc", "wins", "copying"])
def test_every_hypothesis_stands_in_the_table_of_tests(measure):
    tests = analysed()[3]
    table = report.tests_table(tests)
    assert len(table) == len(tests) and table["p (Holm)"].str.match(r"< 0.001$|[01]\.\d{3}$").all()
    assert table["estimate"][tests["measure"] == measure].str.contains(r"\[").all() == (measure == "kid")


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert number("frechet", -0.01, -0.5, 0.5) == "0.0 [-0.5, 0.5]" and number("kid", np.nan) == "–"
