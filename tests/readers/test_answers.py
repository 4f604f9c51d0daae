"""Sheets come back as they were filled; a corrupted cell, a foreign sheet and a name that is markup are refused."""

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook
from simulated_reader import SimulatedReader, answer, fill
from studies import pools

from p2d_lib.readers import answers, example_sheets, sheet, study
from p2d_lib.run import Run
from p2d_lib.schemas import READINGS
from p2d_lib.vocabulary import DX_NAMES


def test_a_sheet_on_images_that_were_generated_anew_under_the_same_names_is_refused(tmp_path):
    cases, synthetic = (table.assign(sha256=table["image_id"]) for table in pools())
    before, _ = study.choose(cases, synthetic, 70, seed=0)
    again, _ = study.choose(cases, synthetic, 70, seed=0)
    anew, _ = study.choose(cases, synthetic.assign(sha256="other pixels"), 70, seed=0)
    assert list(anew["image_id"]) == list(before["image_id"])
    sheet.write(tmp_path / "blank.xlsx", before)
    given = answer(before, SimulatedReader("Ada"), seed=0)
    fill(tmp_path / "blank.xlsx", tmp_path / "ada.xlsx", "Ada", given)
    assert len(answers.read(tmp_path / "ada.xlsx", again).readings) == 70
    with pytest.raises(answers.SheetError, match="belongs to study"):
        answers.read(tmp_path / "ada.xlsx", anew)


def _spoil(path, **cells):
    book = load_workbook(path)
    for cell, value in cells.items():
        book["Readings"][cell] = value
    book.save(path)
    return path


def test_a_filled_sheet_comes_back_as_it_was_filled(filled, key):
    path, sheet = filled
    back = answers.read(path, key)
    READINGS.validate(back.readings)
    truth = key.merge(sheet, on="number", suffixes=("", "_filled"))
    merged_rows = back.readings.merge(back.grades, on="image_id").merge(
        truth, on="image_id", suffixes=("", "_of_sheet")
    )
    assert back.reader == "Ada" and not back.missing and len(merged_rows) == len(key)
    assert (merged_rows["dx_read"] == merged_rows["dx_filled"]).all()
    assert ((merged_rows["is_synthetic_read"] > 0.5) == (merged_rows["source_filled"] == "synthetic")).all()
    np.testing.assert_allclose((merged_rows["is_synthetic_read"] - 0.5).abs(), merged_rows["confidence"] / 10)
    assert (merged_rows["quality"] == merged_rows["quality_of_sheet"]).all()


def test_a_sorted_sheet_with_codes_and_capitals_reads_the_same(filled, key):
    path, _ = filled
    expected = answers.read(path, key).readings
    book = load_workbook(path)
    sheet = book["Readings"]
    rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)][::-1]
    codes = {name: dx.upper() for dx, name in DX_NAMES.items()}
    for cells, values in zip(sheet.iter_rows(min_row=2), rows, strict=True):
        for cell, value in zip(cells, values, strict=True):
            cell.value = f" {codes[value]} " if value in codes else float(value) if isinstance(value, int) else value
    book.save(path)
    pd.testing.assert_frame_equal(answers.read(path, key).readings, expected)


def test_unanswered_images_are_counted_and_named(filled, key):
    path = _spoil(filled[0], D2=None, E5=None, F6="", D9=None, E9=None, F9=None)
    back = answers.read(path, key)
    assert back.missing == {1: "real or synthetic", 4: "diagnosis", 5: "confidence",
                            8: "real or synthetic, diagnosis, confidence"}  # fmt: skip
    assert len(back.readings) == 66
    assert back.sentence.startswith("Ada: 66 of 70 images read; left out: 001 (real or synthetic), 004 (diagnosis)")


def test_a_sheet_without_any_confidence_still_counts(filled, key):
    path = _spoil(filled[0], **{f"F{row}": None for row in range(2, 72)})
    assert set(answers.read(path, key).readings["is_synthetic_read"]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("cell", "value", "message"),
    [
        ("E12", "melanom", "cell E12: expected one of actinic keratosis, .*, not 'melanom': did you mean 'melanoma'"),
        ("D3", "fake", "cell D3: expected one of real, synthetic, not 'fake'"),
        ("F7", 6, "cell F7: expected one of 1, 2, 3, 4, 5, not 6"),
        ("G7", 2.5, "cell G7: expected one of 1, 2, 3, 4, 5, not 2.5"),
        ("A4", 99, "cell A4: 99 is no image of this study"),
        ("A4", 1, "cell A4: image 1 comes twice"),
        ("E1", "dx", "cell E1: header 'dx'; expected 'Diagnosis'"),
    ],
)
def test_a_corrupted_cell_is_named(filled, key, cell, value, message):
    with pytest.raises(answers.SheetError, match=f"ada.xlsx, sheet Readings, {message}"):
        answers.read(_spoil(filled[0], **{cell: value}), key)


def test_sheets_that_were_sent_can_be_scored_after_another_study_took_the_place_of_theirs(filled, key, tmp_path):
    kept = tmp_path / "study_keys"
    study.keep_key(kept, key)
    study.keep_key(kept, key.assign(study="00000000"))
    with pytest.raises(answers.SheetError, match=rf"copy study_keys/{key['study'].iloc[0]}\.csv of the run"):
        answers.read(filled[0], key.assign(study="00000000"))
    again = answers.read(filled[0], answers.read_key(kept / f"{key['study'].iloc[0]}.csv"))
    pd.testing.assert_frame_equal(again.readings, answers.read(filled[0], key).readings)


def test_a_sheet_without_the_studys_code_is_told_what_to_write(filled, key):
    study_code = key["study"].iloc[0]
    with pytest.raises(answers.SheetError, match=rf"cell B4: the study's code is missing; write {study_code}-01 there"):
        answers.read(_as_reader(filled[0], None), key)


def test_a_number_that_is_no_grade_is_not_taken_for_a_typing_error(filled, key):
    with pytest.raises(answers.SheetError, match=r"cell F7: expected one of 1, 2, 3, 4, 5, not '2,5'$"):
        answers.read(_spoil(filled[0], F7="2,5"), key)


def test_a_sheet_of_another_study_or_of_no_study_is_refused(filled, key, tmp_path):
    with pytest.raises(answers.SheetError, match="cell B4: the sheet belongs to study"):
        answers.read(filled[0], key.assign(study="00000000"))
    (tmp_path / "text.xlsx").write_text("real,synthetic")
    with pytest.raises(answers.SheetError, match=r"text.xlsx: not a readable xlsx"):
        answers.read(tmp_path / "text.xlsx", key)


def _as_reader(path, code, name="Ada"):
    """The sheet again, as one that another reader was sent; its rows are in the order of the numbers."""
    book = load_workbook(path)
    book["Instructions"]["B3"], book["Instructions"]["B4"] = name, code
    book.save(path)
    return path


def test_two_sheets_of_one_name_are_refused(filled, key, tmp_path):
    (tmp_path / "copy.xlsx").write_bytes(filled[0].read_bytes())
    _spoil(_as_reader(tmp_path / "copy.xlsx", f"{key['study'].iloc[0]}-02"), E2="nv", E3="melanoma")
    with pytest.raises(answers.SheetError, match=r"copy.xlsx and ada.xlsx both say reader 'Ada'"):
        answers.read_all(tmp_path, key)


def test_one_readers_sheet_that_was_saved_twice_is_not_two_readers(filled, key, tmp_path):
    study_code = key["study"].iloc[0]
    _as_reader(filled[0], f"{study_code}-01", None)  # called as its file is
    copy = tmp_path / "ada (1).xlsx"
    copy.write_bytes(filled[0].read_bytes())
    both = rf"ada.xlsx and ada \(1\).xlsx are both sheet 01 of study {study_code}: remove one"
    with pytest.raises(answers.SheetError, match=both):
        answers.read_all(tmp_path, key)
    _spoil(_as_reader(copy, f"{study_code}-02", "Bob"), H2="seen twice")
    with pytest.raises(answers.SheetError, match="give the same answers to all 70 images"):
        answers.read_all(tmp_path, key)
    _spoil(copy, E2="nv", E3="melanoma")
    assert len(answers.read_all(tmp_path, key)[0]) == 2


def test_few_equal_answers_may_be_chance_and_experts_who_agree_are_two_readers(filled, key, tmp_path):
    of_few = {f"{column}{row}": None for column in "DEF" for row in range(2, 73 - answers.FEWEST_EQUAL)}
    _spoil(filled[0], **of_few)
    (tmp_path / "bob.xlsx").write_bytes(filled[0].read_bytes())
    _as_reader(tmp_path / "bob.xlsx", f"{key['study'].iloc[0]}-02", "Bob")
    assert len(answers.read_all(tmp_path, key)[0]) == 2
    experts = [
        SimulatedReader(str(k), dict.fromkeys(DX_NAMES, 0.95), 1.0, sensitivity=0.95, specificity=0.95)
        for k in range(60)
    ]
    given = [answer(key.head(answers.FEWEST_EQUAL), expert, 0)[["source", "dx"]] for expert in experts]
    equal = sum(one.equals(other) for k, one in enumerate(given) for other in given[:k])
    assert equal < 0.01 * 60 * 59 / 2, "even without grades experts agree throughout less than once in a hundred"


@pytest.mark.parametrize(("number", "of"), [("00", None), ("00", 3), ("99", 3)])
def test_a_number_that_no_reader_of_the_study_has_is_refused(filled, key, number, of):
    path = _as_reader(filled[0], f"{key['study'].iloc[0]}-{number}")
    with pytest.raises(answers.SheetError, match=rf"cell B4: '.*-{number}' ends in no reader's number of the study"):
        answers.read(path, key, of)
    assert answers.read(_as_reader(path, f"{key['study'].iloc[0]}-03"), key, of).number == 3


def test_sheets_are_read_with_the_key_that_lies_beside_them(filled, built, key, tmp_path):
    (tmp_path / "key.csv").write_bytes((built / "key" / "key.csv").read_bytes())
    (sheet,), used = answers.read_all(tmp_path, key.assign(study="another run"))
    pd.testing.assert_frame_equal(used, key)
    assert len(sheet.readings) == len(key)
    with pytest.raises(answers.SheetError, match="no filled sheet"):
        answers.read_all(built / "key", key)


def _named(path, name):
    book = load_workbook(path)
    book["Instructions"]["B3"] = name
    book.save(path)
    return path


@pytest.mark.parametrize("name", ["Ada Lovelace", "Dr. Müller-O'Brien (2)", "読者", "reader_1", "  Ada  "])
def test_a_plain_name_is_kept(filled, key, name):
    assert answers.read(_named(filled[0], name), key).reader == name.strip()


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>", "**Ada**", "[Ada](http://x)", "A\nB", "Ada\u202e", "$x$", "`x`", "a" * 61,
        "{Ada}",
    ],
)  # fmt: skip
def test_a_name_that_is_more_than_plain_text_is_refused(filled, key, name):
    with pytest.raises(answers.SheetError, match=r"ada.xlsx, sheet Instructions, cell B3: .* is no name of a reader"):
        answers.read(_named(filled[0], name), key)


def test_a_sheet_without_a_name_is_called_as_its_file_is_without_markup(filled, key, tmp_path):
    path = _named(filled[0], None)
    assert answers.read(path, key).reader == "ada"
    odd = path.rename(tmp_path / "<b>{Ada}.xlsx")
    assert answers.read(odd, key).reader == "b  Ada"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run without filled sheets, on real images or on the phantom."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))

    def of(dataset):
        run = Run("t", "07_readers")
        run.folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"dataset": [dataset]}).to_parquet(run.folder / "cases.parquet")
        return run

    return of


def test_a_run_on_real_images_shows_no_simulated_reader(run, key):
    sheets, used = example_sheets.filled_sheets(run("HAM10000"), "", key)
    assert sheets == []
    assert used is key


def test_a_phantom_run_without_sheets_shows_the_example_as_simulated(run, key):
    (sheet, *_), used = example_sheets.filled_sheets(run("phantom"), "", key)
    assert set(sheet.readings["kind"]) == {"simulated"} and len(used) == 154
    READINGS.validate(sheet.readings)


@pytest.mark.parametrize("dataset", ["HAM10000", "phantom"])
def test_filled_sheets_of_people_take_the_examples_place(run, filled, key, dataset):
    run = run(dataset)
    (run.folder / "study_filled").mkdir()
    filled[0].rename(run.folder / "study_filled" / "ada.xlsx")
    (sheet,), used = example_sheets.filled_sheets(run, "", key)
    assert (sheet.reader, set(sheet.readings["kind"])) == ("Ada", {"person"}) and used is key
