"""Tables in the ways in which R, Excel, pandas and people write them, and what is none of them."""

import math
import re
from zipfile import ZipFile

import pandas as pd
import pytest
from openpyxl import Workbook

from p2d_lib import table_files
from p2d_lib.table_files import TableError, number, read, truth

ROWS = [["a", "0.5"], ["b", "Zoë"]]


def written(tmp_path, content: str | bytes, name: str = "t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "x,y\na,0.5\nb,Zoë\n",
        "x;y\na;0.5\nb;Zoë\n",
        "x\ty\na\t0.5\nb\tZoë",
        "x|y\na|0.5\nb|Zoë\n",
        "sep=;\r\nx;y\r\na;0.5\r\nb;Zoë\r\n",
        '\ufeff"x", y \r"a", 0.5\rb,Zoë\r',
        "x,y\na,0.5\nb,Zoë\n".encode("utf-16"),
        "x;y;;\na;0.5;;\n;;;\nb;Zoë;;\n",
        "\ufeff\ufeffx,y\u200b\na\u00a0,\u200e0.5\nb,Zo\u00adë\n",
    ],
    ids=[
        "comma", "semicolon", "tab", "bar", "Excel's sep=", "BOM, blanks, old Mac", "UTF-16", "empty columns", "unseen",
    ],
)  # fmt: skip
def test_a_table_is_read_whatever_program_wrote_it(tmp_path, content):
    table = read(written(tmp_path, content))
    assert list(table) == ["x", "y"] and table.to_numpy().tolist() == ROWS


def test_an_excel_file_is_read_as_its_csv_is_whatever_its_name(tmp_path):
    table = pd.DataFrame({"x": ["a", "b"], "n": [3.0, 0.25], "yes": [True, None]})
    table.to_excel(tmp_path / "t.xlsx", index=False)
    (tmp_path / "t.xlsx").rename(tmp_path / "t.csv")
    assert read(tmp_path / "t.csv").to_numpy().tolist() == [["a", "3", "True"], ["b", "0.25", ""]]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('<c r="B2"><f>1+1</f><v>2</v></c>', "2"),
        ('<c r="B2" t="str"><f>IF(1,"","")</f><v></v></c>', ""),
        ('<c r="B2"><f>1+1</f><v></v></c>', "#UNSAVED!"),
        ('<c r="B2" s="1" t="n"><f t="shared" si="0"/></c>', "#UNSAVED!"),
        ("<c><f>1+1</f></c>", "#UNSAVED!"),
        ('<c r="B2"><v>3</v></c>', "3"),
    ],
)
def test_a_formula_without_its_value_is_no_empty_cell(tmp_path, cell, value):
    pd.DataFrame({"x": ["a"], "y": [7]}).to_excel(tmp_path / "whole.xlsx", index=False)
    with ZipFile(tmp_path / "whole.xlsx") as source, ZipFile(tmp_path / "t.xlsx", "w") as target:
        for name in source.namelist():
            target.writestr(name, re.sub(rb'<c r="B2".*?</c>', cell.encode(), source.read(name)))
    assert read(tmp_path / "t.xlsx").to_numpy().tolist() == [["a", value]]


def workbook(tmp_path, hidden: str = "", **sheets: str):
    """An .xlsx whose sheets hold these lines of comma-separated cells."""
    book = Workbook()
    book.remove(book.active)
    for title, text in sheets.items():
        sheet = book.create_sheet(title)
        for line in text.splitlines():
            sheet.append(line.split(","))
        sheet.sheet_state = "hidden" if title == hidden else "visible"
    book.save(tmp_path / "t.xlsx")
    return tmp_path / "t.xlsx"


NOTES = "Exported by the registry\n\nx is the name"


def test_among_the_sheets_of_a_workbook_the_table_is_the_one_that_has_the_columns(tmp_path):
    path = workbook(tmp_path, Empty="", Notes=NOTES, Data="\nx, y\na,0.5\nb,Zoë", Legend="x,meaning\na,first")
    table = read(path, columns=("x", "y"))
    assert table.to_numpy().tolist() == ROWS and table.index.tolist() == [3, 4]
    with pytest.raises(TableError, match=r"there are no rows below"):
        read(workbook(tmp_path, Notes=NOTES, Data="x,y"), columns=("x", "y"))


def test_a_table_that_stands_alone_in_its_workbook_is_read_whatever_its_columns(tmp_path):
    assert list(read(workbook(tmp_path, Empty="", Data="a,b\n1,2"), columns=("x", "y"))) == ["a", "b"]


def test_of_two_sheets_with_the_columns_none_is_chosen_and_both_are_named(tmp_path):
    path = workbook(tmp_path, hidden="Old", Old="x,y\na,1", Notes=NOTES, New="y,x,z\n2,a,")
    sentence = r"t\.xlsx: the sheets 'Old' \(hidden\) and 'New' all have the columns x, y.*save the sheet that is m"
    with pytest.raises(TableError, match=sentence):
        read(path, columns=("x", "y"))


def test_where_no_sheet_has_the_columns_each_is_named_with_its_own(tmp_path):
    path = workbook(tmp_path, Notes=NOTES, Data="X,y\na,1")
    sentence = r"row that has the columns x, y; they begin: 'Notes' with Exported by the registry; 'Data' with X, y\."
    with pytest.raises(TableError, match=sentence):
        read(path, columns=("x", "y"))


def test_a_rows_line_is_its_line_in_the_file(tmp_path):
    content = 'x,y\n\na,1\n"two\nlines",2\n\n\nb,3\n'
    assert read(written(tmp_path, content)).index.tolist() == [3, 4, 8]
    assert read(written(tmp_path, f"sep=,\n{content}")).index.tolist() == [4, 5, 9]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("x,y\na,Zoë\n".encode("latin-1"), r"t\.csv, line 2: a letter that is not in UTF-8 \(byte 0xeb\).*CSV UTF-8"),
        (b"\xff\xfea", "not in UTF-16"),
        (b"x,y\n\0\0", "zero bytes"),
        ("", "there are no rows"),
        ("x,y\n\n", "no rows below its line of column names"),
        ("x,y,x\n1,2,3\n", "column 'x' comes twice"),
        ("x,y\n1,2,3\n", r"line 2: 3 cells, and the line of column names has 2.*quotes"),
        (
            "# exported in May\nx,y\n1,2\n",
            r"line 2: 2 cells, .* remove what stands above the .* \('# exported in May'\)",
        ),
        ('x,y\n1,2\n"3,4\n', r"the row that begins in line 3 is no row of a table"),
        ("<<<<<<< HEAD\nx,y\n", "is an unfinished merge of git"),
        ("<html>404", "is a web page or XML, not a table"),
        (b"\xd0\xcf\x11\xe0...", r"an old Excel file \(\.xls\).*save it as CSV UTF-8 or \.xlsx"),
        (b"\x1f\x8b\x08", "packed by gzip"),
        (b"PK\x03\x04 half a zip", "not a readable xlsx file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("{\\rtf1 x,y}", r"is a text with formats \(\.rtf\), not a table"),
        (b"$FL2@(#) SPSS DATA FILE", "is an SPSS file, not a table"),
        (b"\x89PNG\r\n\x1a\n", "is a picture, not a table"),
    ],
)
def test_what_is_no_table_is_refused_by_name_with_what_to_do(tmp_path, content, sentence):
    with pytest.raises(TableError, match=sentence) as error:
        read(written(tmp_path, content))
    assert "t.csv" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TableError, match=r"gone\.csv: cannot be read \(No such file"):
        read(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("0,5", 0.5), (" 45,0 ", 45), ("-1", -1), (".5", 0.5), ("5e-1", 0.5), ("0,125", 0.125)]
    + [(text, None) for text in ("1,000", "12,345,678", "", "nan", "inf", "1_0", "5%", "old", "0.5.1", "٣", "1e999")],
)
def test_a_number_has_a_point_or_a_comma_and_what_may_be_a_thousand_is_none(text, value):
    assert number(text) == value


def test_words_for_true_and_false_are_understood_and_no_other(tmp_path):
    assert [truth(word) for word in ("TRUE", "T", "yes", "1", "WAHR", "vrai", "1.0")] == [True] * 7
    assert [truth(word) for word in ("False", "f", "No", "0", "FALSCH", "faux", "0.0")] == [False] * 7
    assert [truth(word) for word in ("", "NA", "0.93", "maybe", "2")] == [None] * 5


def test_markers_of_missing_values_are_those_of_r_excel_and_pandas_and_no_word(tmp_path):
    cells = pd.Series(["NA", "nan", "#N/A", "#NV", "NULL", "None", "", " - ", "nasal", "0", "unknown", "none of these"])
    assert table_files.missing(cells).tolist() == [True] * 8 + [False] * 4
    assert math.isnan(float("nan"))
