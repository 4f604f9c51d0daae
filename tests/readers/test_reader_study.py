"""The study is blind, sheets come back as they were filled, and the analysis recovers a reader's planted skill."""

from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook
from sklearn.metrics import roc_auc_score

from p2d_lib.readers import analysis, simulate, study
from p2d_lib.readers.networks import detector, readings
from p2d_lib.readers.simulate import EXAMPLE
from p2d_lib.schemas import READINGS
from p2d_lib.vocabulary import DX, DX_NAMES


def _pools(per_class=12, views=2):
    cases = [(f"r_{dx}_{i}_{view}", f"l_{dx}_{i}", dx) for dx in DX for i in range(per_class) for view in range(views)]
    cases = pd.DataFrame(cases, columns=["image_id", "lesion_id", "dx"]).assign(split="test", path="images/x.png")
    synthetic = pd.DataFrame([(f"s_{dx}_{i}", dx) for dx in DX for i in range(per_class)], columns=["image_id", "dx"])
    return cases, synthetic.assign(path="synthetic/x.png", generator="adapter", accepted=True)


@pytest.fixture(scope="module")
def key():
    return study.choose(*_pools(), n_images=70, seed=3)[0]


@pytest.fixture(scope="module")
def built(key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "study"
    study.build(folder, key, _pictures(len(key)))
    return folder


def _pictures(n):
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), np.uint8)


@pytest.fixture
def filled(built, key, tmp_path):
    given = simulate.answers(key, simulate.SimulatedReader("Ada"), seed=0)
    study.fill(built / "sheet.xlsx", tmp_path / "ada.xlsx", "Ada", given)
    return tmp_path / "ada.xlsx", given


def _spoil(path, **cells):
    book = load_workbook(path)
    for cell, value in cells.items():
        book["Readings"][cell] = value
    book.save(path)
    return path


def test_a_study_has_each_class_equally_often_real_and_synthetic(key):
    assert (key.groupby(["source", "dx"]).size() == 5).all() and len(key) == 70
    assert not key["image_id"].str.extract(r"(r_.*)_\d$")[0].dropna().duplicated().any(), "two views of one lesion"


def test_only_the_test_split_and_accepted_images_of_the_adapter_are_shown():
    cases, synthetic = _pools()
    cases.loc[::2, "split"] = "train"  # every lesion keeps one view in test
    synthetic.loc[::3, "accepted"] = False
    synthetic.loc[1::3, "generator"] = "base"
    key, short = study.choose(cases, synthetic, 70, seed=0)
    allowed = {*cases["image_id"][1::2], *synthetic["image_id"][2::3]}
    assert set(key["image_id"]) <= allowed
    assert "mel 4 instead of 5 (12 test lesions, 4 accepted synthetic images)" in short
    assert key["source"].value_counts().to_dict() == {"real": 28, "synthetic": 28}


def test_an_image_more_in_the_pool_leaves_the_others_in_their_order():
    cases, synthetic = _pools()
    first, _ = study.choose(cases, synthetic, 168, seed=1)
    second, _ = study.choose(cases[cases["lesion_id"] != "l_nv_3"], synthetic, 154, seed=1)
    common = set(second["image_id"]) & set(first["image_id"])
    assert len(common) > 140
    assert [i for i in first["image_id"] if i in common] == [i for i in second["image_id"] if i in common]


def test_nothing_that_is_sent_tells_real_from_synthetic(built, key):
    sent = [path for path in built.rglob("*") if path.is_file() and "key" not in path.relative_to(built).parts]
    assert sorted(path.name for path in sent) == [*sorted(key["file"]), "sheet.xlsx"]
    with ZipFile(built / "sheet.xlsx") as archive:
        text = b"".join(archive.read(name) for name in archive.namelist() if name.endswith((".xml", ".rels"))).decode()
    assert not any(name in text for name in [*key["image_id"], *key["path"]])
    rows = load_workbook(built / "sheet.xlsx")["Readings"].iter_rows(min_row=2, values_only=True)
    assert {row[3:] for row in rows} == {(None,) * 5}, "an answer is already in the sheet"
    assert len({path.stat().st_mtime for path in sent}) == 1
    assert all(b"tEXt" not in path.read_bytes() and b"tIME" not in path.read_bytes() for path in sent[:-1])


def test_two_builds_are_equal_to_the_byte(built, key, tmp_path):
    study.build(tmp_path / "again", key, _pictures(len(key)))
    for path in (p for p in built.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(built)).read_bytes(), path.name


def test_a_filled_sheet_comes_back_as_it_was_filled(filled, key):
    path, given = filled
    back = study.read_sheet(path, key)
    READINGS.validate(back.readings)
    truth = key.merge(given, on="number", suffixes=("", "_said"))
    got = back.readings.merge(back.grades, on="image_id").merge(truth, on="image_id", suffixes=("", "_given"))
    assert back.reader == "Ada" and not back.missing and len(got) == len(key)
    assert (got["dx_read"] == got["dx_said"]).all()
    assert ((got["is_synthetic_read"] > 0.5) == (got["source_said"] == "synthetic")).all()
    np.testing.assert_allclose((got["is_synthetic_read"] - 0.5).abs(), got["confidence"] / 10)
    assert (got["quality"] == got["quality_given"]).all()


def test_a_sorted_sheet_with_codes_and_capitals_reads_the_same(filled, key):
    path, _ = filled
    expected = study.read_sheet(path, key).readings
    book = load_workbook(path)
    sheet = book["Readings"]
    rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)][::-1]
    codes = {name: dx.upper() for dx, name in DX_NAMES.items()}
    for cells, values in zip(sheet.iter_rows(min_row=2), rows, strict=True):
        for cell, value in zip(cells, values, strict=True):
            cell.value = f" {codes[value]} " if value in codes else float(value) if isinstance(value, int) else value
    book.save(path)
    pd.testing.assert_frame_equal(study.read_sheet(path, key).readings, expected)


def test_unanswered_images_are_counted_and_named(filled, key):
    path = _spoil(filled[0], D2=None, E5=None, F6="", D9=None, E9=None, F9=None)
    back = study.read_sheet(path, key)
    assert back.missing == {1: "real or synthetic", 4: "diagnosis", 5: "confidence",
                            8: "real or synthetic, diagnosis, confidence"}  # fmt: skip
    assert len(back.readings) == 66
    assert back.sentence.startswith("Ada: 66 of 70 images read; left out: 001 (real or synthetic), 004 (diagnosis)")


def test_a_sheet_without_any_confidence_still_counts(filled, key):
    path = _spoil(filled[0], **{f"F{row}": None for row in range(2, 72)})
    assert set(study.read_sheet(path, key).readings["is_synthetic_read"]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("cell", "value", "says"),
    [
        ("E12", "melanom", "cell E12: 'melanom'; expected one of .*did you mean 'melanoma'"),
        ("D3", "fake", "cell D3: 'fake'; expected one of real, synthetic"),
        ("F7", 6, "cell F7: 6; expected one of 1, 2, 3, 4, 5"),
        ("G7", 2.5, "cell G7: 2.5; expected one of 1"),
        ("A4", 99, "cell A4: 99 is no image of this study"),
        ("A4", 1, "cell A4: image 1 comes twice"),
        ("E1", "dx", "cell E1: header 'dx'; expected 'Diagnosis'"),
    ],
)
def test_a_corrupted_cell_is_named(filled, key, cell, value, says):
    with pytest.raises(study.SheetError, match=f"ada.xlsx, sheet Readings, {says}"):
        study.read_sheet(_spoil(filled[0], **{cell: value}), key)


def test_a_sheet_of_another_study_or_of_no_study_is_refused(filled, key, tmp_path):
    with pytest.raises(study.SheetError, match="cell B4: the sheet belongs to study"):
        study.read_sheet(filled[0], key.assign(study="00000000"))
    (tmp_path / "text.xlsx").write_text("real,synthetic")
    with pytest.raises(study.SheetError, match=r"text.xlsx: not a readable xlsx"):
        study.read_sheet(tmp_path / "text.xlsx", key)


def test_two_sheets_of_one_name_are_refused(filled, key, tmp_path):
    (tmp_path / "copy.xlsx").write_bytes(filled[0].read_bytes())
    with pytest.raises(study.SheetError, match=r"copy.xlsx and ada.xlsx both say reader 'Ada'"):
        study.read_sheets(tmp_path, key)


def test_sheets_are_read_with_the_key_that_lies_beside_them(filled, built, key, tmp_path):
    (tmp_path / "key.csv").write_bytes((built / "key" / "key.csv").read_bytes())
    (sheet,), used = study.read_sheets(tmp_path, key.assign(study="another run"))
    pd.testing.assert_frame_equal(used, key)
    assert len(sheet.readings) == len(key)
    with pytest.raises(study.SheetError, match="no filled sheet"):
        study.read_sheets(built / "key", key)


def _oracle(key, p_synthetic, name="oracle"):
    return readings(key["image_id"].to_numpy(), name, np.eye(7)[key["dx"].map(DX.index)], p_synthetic=p_synthetic)


def test_a_perfect_reader_is_perfect_and_a_blind_one_is_at_chance(key):
    synthetic = (key["source"] == "synthetic").to_numpy(float)
    coin = np.random.default_rng(5).random(len(key))
    result = analysis.analyse(pd.concat([_oracle(key, synthetic), _oracle(key, coin, "blind")]), key).set_index(
        "reader"
    )
    perfect, blind = result.loc["oracle"], result.loc["blind"]
    assert perfect["detection"].estimate == perfect["auc"].estimate == perfect["dx_real"].estimate == 1
    assert perfect["p"] < 1e-12
    assert blind["auc"].estimate == pytest.approx(roc_auc_score(synthetic, coin))
    for name in ("detection", "auc"):
        assert blind[name].low < 0.5 < blind[name].high
    assert blind["p"] > 0.05


def test_an_arm_trained_on_the_synthetic_images_is_not_credited_for_them(key):
    result = analysis.analyse(_oracle(key, None).assign(arm="mixed"), key).iloc[0]
    assert result["dx_real"].estimate == 1 and np.isnan(result["dx_synthetic"].estimate)


def test_who_was_not_asked_has_no_detection_and_is_no_test(key):
    result = analysis.analyse(_oracle(key, None), key).iloc[0]
    assert np.isnan([result["detection"].estimate, result["auc"].estimate, result["p"], result["p_holm"]]).all()


def test_the_analysis_recovers_a_simulated_readers_skill():
    key, _ = study.choose(*_pools(per_class=150, views=1), n_images=2100, seed=0)
    reader = simulate.SimulatedReader("many", sensitivity=0.8, specificity=0.6, synthetic_recall=0.5)
    said = simulate.answers(key, reader, seed=1)
    read = _oracle(key, np.where(said["source"] == "synthetic", 0.5, -0.5) * said["confidence"] / 5 + 0.5)
    read = read.assign(dx_read=said["dx"].to_numpy())
    result = analysis.analyse(read, key, n_resamples=50).iloc[0]
    recall = np.mean(list(reader.recall.values()))
    for got, planted in ((result["detection"], 0.7), (result["dx_real"], recall), (result["dx_synthetic"], recall / 2)):
        assert got.low < planted < got.high
    assert result["auc"].estimate > 0.7, "grades that follow skill must add to it"
    shares = analysis.confusion(read, key, "real") / 150
    np.testing.assert_allclose(shares, simulate.confusion(reader, "real"), atol=0.13)


def test_kappa_is_one_for_twins_and_zero_for_strangers(key):
    rng = np.random.default_rng(0)
    first = _oracle(key, rng.random(70), "a")
    stranger = first.assign(reader="c", is_synthetic_read=rng.permutation(first["is_synthetic_read"]))
    kappa = analysis.agreement(pd.concat([first, first.assign(reader="b"), stranger])).set_index(
        ["question", "readers"]
    )
    assert kappa.loc[("source", "a – b"), "kappa"] == 1
    assert abs(kappa.loc[("source", "a – c"), "kappa"]) < 0.3
    assert kappa.loc[("dx", "all 3"), "kappa"] == pytest.approx(1)


def test_the_detector_finds_a_planted_shift_and_nothing_where_there_is_none():
    rng = np.random.default_rng(0)
    dx_real, dx_synthetic = rng.choice(DX, 600, p=[0.03, 0.05, 0.1, 0.02, 0.1, 0.68, 0.02]), np.repeat(DX, 40)
    content = {dx: rng.normal(0, 2, 32) for dx in DX}  # classes differ, and their frequencies do between the sources

    def features(dx, shift):
        return np.array([content[d] for d in dx]) + rng.normal(0, 1, (len(dx), 32)) + shift

    new = np.repeat(DX, 60)
    found = {}
    for shift in (0.0, 0.6):
        known = np.concatenate([features(dx_real, 0), features(dx_synthetic, shift)])
        model = detector(known, np.arange(len(known)) >= 600, np.concatenate([dx_real, dx_synthetic]))
        p = [model.predict_proba(features(new, s))[:, 1] >= 0.5 for s in (0, shift)]
        found[shift] = (np.mean(~p[0]) + np.mean(p[1])) / 2
    assert abs(found[0.0] - 0.5) < 0.06
    assert found[0.6] > 0.9
    with pytest.raises(ValueError, match="of 600 images outside the study 0 are synthetic"):
        detector(known[:600], np.zeros(600, bool), dx_real)


def test_the_shipped_example_is_what_its_recipe_makes(tmp_path):
    simulate.write_example(tmp_path)
    made, shipped = (study.read_sheet(at / "sheet.xlsx", study.read_key(at / "key.csv")) for at in (tmp_path, EXAMPLE))
    pd.testing.assert_frame_equal(made.readings, shipped.readings)
    pd.testing.assert_frame_equal(made.grades, shipped.grades)
    assert (tmp_path / "key.csv").read_text() == (EXAMPLE / "key.csv").read_text()
