"""Sheets as people and their programs return them: every one is read, or named as one that is not."""

import re
import shutil
from zipfile import ZIP_DEFLATED, ZipFile

import pandas as pd
import pytest
from openpyxl import load_workbook

from p2d_lib.readers import answers
from p2d_lib.readers.answers import SheetError


@pytest.fixture
def folder(filled, tmp_path):
    """A folder that holds Ada's sheet alone."""
    folder = tmp_path / "returned"
    folder.mkdir()
    shutil.copy(filled[0], folder / "Ada.xlsx")
    return folder


def named(path, name, number=1, **cells):
    book = load_workbook(path)
    book["Instructions"]["B3"] = name
    book["Instructions"]["B4"] = f"{book['Instructions']['B4'].value[:-2]}{number:02d}"
    for cell, value in cells.items():
        book["Readings"][cell] = value
    book.save(path)


@pytest.mark.parametrize("name", ["BOB.XLSX", "bob.Xlsx", "bob.xlsm"])
def test_a_sheet_is_read_whatever_the_letters_of_its_suffix(folder, key, name):
    shutil.copy(folder / "Ada.xlsx", folder / "bob.xlsx")
    named(folder / "bob.xlsx", "Bob", 2, E2="nv", E3="melanoma")
    (folder / "bob.xlsx").rename(folder / name)
    assert {sheet.reader for sheet in answers.read_all(folder, key)[0]} == {"Ada", "Bob"}


@pytest.mark.parametrize("name", ["bob.ods", "bob.XLS", "bob.pdf", "bob.xlsx.zip", "bob.xlsx.crdownload"])
def test_what_may_be_a_readers_sheet_and_cannot_be_read_is_named(folder, key, name):
    (folder / name).write_text("answers")
    with pytest.raises(SheetError, match=rf"{re.escape(name)}: may hold a reader's answers and is no \.xlsx or \.csv"):
        answers.read_all(folder, key)


def test_a_sheet_in_a_subfolder_is_named(folder, key):
    (folder / "Bob").mkdir()
    shutil.copy(folder / "Ada.xlsx", folder / "Bob" / "sheet.xlsx")
    with pytest.raises(SheetError, match=r"Bob/sheet\.xlsx: lies in a subfolder"):
        answers.read_all(folder, key)


def test_what_open_programs_and_systems_leave_is_no_sheet(folder, key):
    for name in ("~$Ada.xlsx", ".~lock.Ada.xlsx#", ".DS_Store", "._Ada.xlsx", "notes.txt", "KEY.csv"):
        (folder / name).write_text("no sheet")
    (folder / "images").mkdir()
    assert len(answers.read_all(folder, key)[0]) == 1


def test_a_sheet_behind_a_link_that_leads_nowhere_and_one_that_nobody_filled_are_named(folder, built, key):
    (folder / "bob.xlsx").symlink_to("/no/where.xlsx")
    with pytest.raises(SheetError, match=r"bob\.xlsx: no such sheet"):
        answers.read_all(folder, key)
    (folder / "bob.xlsx").unlink()
    shutil.copy(built / "reader_01.xlsx", folder / "bob.xlsx")
    with pytest.raises(SheetError, match=r"bob\.xlsx, sheet Readings: no image has all its answers"):
        answers.read_all(folder, key)


def test_a_folder_that_is_none_is_named(folder, key):
    for place in (folder / "nowhere", folder / "Ada.xlsx"):
        with pytest.raises(SheetError, match=f"{re.escape(str(place))}: is no folder; give the folder"):
            answers.read_all(place, key)


def rewritten(path, **changes) -> None:
    """Changes parts of a sheet as other programs write them: name -> (old, new), or None to leave it out."""
    with ZipFile(path) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    for name, change in changes.items():
        for part in [part for part in parts if part.endswith(name.replace("__", "."))]:
            content = parts.pop(part)
            if change:
                parts[part] = content.replace(*change)
    with ZipFile(path, "w", ZIP_DEFLATED) as target:
        for name, content in parts.items():
            target.writestr(name, content)


STRICT = {
    b"http://schemas.openxmlformats.org/spreadsheetml/2006/main": b"http://purl.oclc.org/ooxml/spreadsheetml/main",
    b"http://schemas.openxmlformats.org/officeDocument/2006/": b"http://purl.oclc.org/ooxml/officeDocument/",
}


@pytest.mark.parametrize(
    "change",
    [
        {"styles__xml": (b"<fill><patternFill", b"<fill/><fill><patternFill")},
        {"styles__xml": (b'<family val="2"', b'<family val="15"')},
        {"styles__xml": (b"rgb=", b"rgb='nonsense' was=")},
        {"styles__xml": None},
        {"sheet2__xml": (b"<autoFilter ref=", b"<autoFilter ref='A1:Z' was=")},
        {"sheet2__xml": (b"<dimension ref=", b"<dimension ref='A1' was=")},
        {"workbook__xml": (b"<definedName ", b"<definedName localSheetId='9' was='x' ")},
        {"core__xml": (b"2000-01-01", b"yesterday")},
        {"drawing1__xml": (b"<", b"<<")},
    ],
    ids=["empty fill", "font family", "colour", "no styles", "filter", "dimension", "names", "date", "drawing"],
)
def test_answers_are_read_whatever_a_program_made_of_styles_filters_and_drawings(folder, key, change):
    before = answers.read(folder / "Ada.xlsx", key).readings
    rewritten(folder / "Ada.xlsx", **change)
    pd.testing.assert_frame_equal(answers.read(folder / "Ada.xlsx", key).readings, before)


@pytest.mark.filterwarnings("ignore")  # openpyxl warns of what it skips
def test_a_strict_open_xml_sheet_is_read(folder, key):
    before = answers.read(folder / "Ada.xlsx", key).readings
    for usual, strict in STRICT.items():
        rewritten(folder / "Ada.xlsx", xml=(usual, strict), rels=(usual, strict))
    assert load_workbook(folder / "Ada.xlsx").sheetnames == []  # openpyxl alone sees nothing
    pd.testing.assert_frame_equal(answers.read(folder / "Ada.xlsx", key).readings, before)


@pytest.mark.parametrize(
    "change",
    [
        {"sheet2__xml": (b"<sheetData>", b"<sheetData>\x01")},
        {"workbook__xml": None},
        {"sheet2__xml": (b"<row", b"<rwo")},
    ],
    ids=["a control character", "no workbook", "tags that do not match"],
)
def test_a_broken_sheet_is_one_sentence_that_names_it(folder, key, change):
    rewritten(folder / "Ada.xlsx", **change)
    with pytest.raises(SheetError, match=r"Ada\.xlsx: not a readable xlsx file .*save it as \.xlsx"):
        answers.read(folder / "Ada.xlsx", key)


@pytest.mark.parametrize("name", ["scout", " Scout ", "classifier, real", "CLASSIFIER", "detector, x", "truth"])
def test_a_person_is_never_taken_for_a_network(folder, key, name):
    named(folder / "Ada.xlsx", name)
    with pytest.raises(SheetError, match=r"Ada\.xlsx, sheet Instructions, cell B3: .* is the name of a network"):
        answers.read(folder / "Ada.xlsx", key)


def test_a_name_of_blanks_is_none_and_a_file_named_as_a_network_is_told_apart(folder, key):
    named(folder / "Ada.xlsx", "   ")
    assert answers.read(folder / "Ada.xlsx", key).reader == "Ada"
    (folder / "Ada.xlsx").rename(folder / "scout.xlsx")
    assert answers.read(folder / "scout.xlsx", key).reader == "scout (file)"


@pytest.mark.parametrize("other", ["ADA", "ada ", "A\u0301da|Áda", "Ada  L|Ada L"])
def test_one_name_in_two_spellings_is_one_name(folder, key, other):
    first, _, second = other.partition("|")
    shutil.copy(folder / "Ada.xlsx", folder / "other.xlsx")
    named(folder / "Ada.xlsx", second or "Ada")
    named(folder / "other.xlsx", first, 2, E2="nv", E3="melanoma")
    with pytest.raises(SheetError, match=r"other\.xlsx and Ada\.xlsx both say reader"):
        answers.read_all(folder, key)


def test_markers_of_missing_values_are_no_answer_and_a_decimal_comma_is_a_grade(folder, key):
    before = answers.read(folder / "Ada.xlsx", key)
    grade = str(load_workbook(folder / "Ada.xlsx")["Readings"]["F4"].value)
    named(folder / "Ada.xlsx", "Ada", D2="NA", E3="-", F4=f"{grade},0", H2="n/a")
    after = answers.read(folder / "Ada.xlsx", key)
    assert set(after.missing) == {1, 2} and len(after.readings) == len(before.readings) - 2


@pytest.mark.parametrize(("study", "cell"), [("12345678", 12345678), ("00123456", 123456), ("12e45678", "12e45678")])
def test_an_identifier_that_a_program_took_for_a_number_is_still_the_studys(folder, key, study, cell):
    book = load_workbook(folder / "Ada.xlsx")
    book["Instructions"]["B4"] = cell
    book.save(folder / "Ada.xlsx")
    assert len(answers.read(folder / "Ada.xlsx", key.assign(study=study)).readings) == 70
    with pytest.raises(SheetError, match="belongs to study"):
        answers.read(folder / "Ada.xlsx", key.assign(study="87654321"))


def test_sheets_that_numbers_has_renamed_are_read(folder, key):
    before = answers.read(folder / "Ada.xlsx", key)
    book = load_workbook(folder / "Ada.xlsx")
    for name in ("Instructions", "Readings"):
        book[name].title = f"{name} - Table 1"
    book.create_sheet("Export Summary", 0)
    book.save(folder / "Ada.xlsx")
    pd.testing.assert_frame_equal(answers.read(folder / "Ada.xlsx", key).readings, before.readings)


def test_a_key_that_a_spreadsheet_saved_is_read_and_a_spoilt_one_is_named_with_its_line(built, key, tmp_path):
    text = (built / "key" / "key.csv").read_text()
    (tmp_path / "key.csv").write_text("\ufeff" + text.replace(",", ";"))
    pd.testing.assert_frame_equal(answers.read_key(tmp_path / "key.csv"), key)
    (tmp_path / "key.csv").write_text(text.replace("\n2,", "\ntwo,"))
    with pytest.raises(SheetError, match=r"key\.csv, line 3: number is 'two'; take the key as it was written"):
        answers.read_key(tmp_path / "key.csv")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("number", value) for value in ("0", "2", "1.5")),
        *(("study", value) for value in ("", "another")),
        *(("block", "-1"), ("showing", "3"), ("image_id", "")),
    ],
)
def test_a_key_that_was_changed_by_hand_is_refused_by_its_line(built, tmp_path, column, value):
    table = pd.read_csv(built / "key" / "key.csv", dtype=str)
    table.loc[2, column] = value
    table.to_csv(tmp_path / "key.csv", index=False)
    with pytest.raises(SheetError, match=rf"key\.csv, line 4: {column} is '{value}'; take the key as it was written"):
        answers.read_key(tmp_path / "key.csv")


def as_csv(path, separator=","):
    """The sheet Readings as a spreadsheet saves it."""
    rows = load_workbook(path)["Readings"].values
    quoted = [[f'"{"" if value is None else value}"' for value in row] for row in rows]
    path.with_suffix(".csv").write_text("\ufeff" + "\r\n".join(separator.join(row) for row in quoted) + "\r\n")
    return path.with_suffix(".csv")


@pytest.mark.parametrize(  # Excel's "Unicode Text" and "CSV UTF-8" begin with a byte order mark
    ("name", "encoding"), [("Ada.txt", "utf-16"), ("Ada.TSV", "utf-16"), ("Ada.csv.txt", "utf-8-sig")]
)
def test_a_sheet_that_was_saved_as_text_is_no_note(folder, key, name, encoding):
    expected = answers.read(folder / "Ada.xlsx", key).readings.drop(columns="reader")
    text = as_csv(folder / "Ada.xlsx", "\t").read_text(encoding="utf-8-sig")
    (folder / name).write_bytes(text.encode(encoding))
    for other in ("Ada.xlsx", "Ada.csv"):
        (folder / other).unlink()
    (folder / "notes.txt").write_text("No. 7 is a doubtful diagnosis.")
    (folder / "older").mkdir()
    (folder / "older" / "notes.txt").write_text("seen in May")
    (read,), _ = answers.read_all(folder, key)
    pd.testing.assert_frame_equal(read.readings.drop(columns="reader"), expected)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_sheet_that_was_saved_as_csv_reads_the_same(folder, key, separator):
    expected = answers.read(folder / "Ada.xlsx", key)
    path = as_csv(folder / "Ada.xlsx", separator)
    pd.testing.assert_frame_equal(answers.read(path, key).readings, expected.readings)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"real"', '"reel"', r"Ada\.csv, line \d+, column Real or synthetic\?: expected one of real, synthetic"),
        ('"Study"', '"Studie"', r"Ada\.csv: column 'Study' is missing"),
        ("-01", "-x1", r"Ada\.csv, line \d+, column Study: .* a file holds one reader's answers"),
    ],
)
def test_a_spoilt_csv_is_named_with_its_line(folder, key, old, new, message):
    path = as_csv(folder / "Ada.xlsx")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(SheetError, match=message):
        answers.read(path, key)
