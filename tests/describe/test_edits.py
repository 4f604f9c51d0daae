"""Claims about people's edits of descriptions."""

import math

import pandas as pd
import pytest

from p2d_lib.describe import edits, report
from p2d_lib.describe.table import rows
from p2d_lib.words.choose import chosen


@pytest.fixture
def machine() -> pd.DataFrame:
    scores = [{"red": 0.5, "black": 0.9}, {"red": 0.1}]
    return rows(["a", "b"], "captioner", ["a red spot", "a mole"], scores).assign(prompt="p")


def written(tmp_path, text: str):
    path = tmp_path / "edits.csv"
    path.write_text(text)
    return path


def test_an_edit_is_a_row_of_its_own_that_wins_and_the_machines_stays(machine, tmp_path):
    path = written(tmp_path, "image_id,reviewer,text,red,black\na,Dr A,a brown spot,0.0,unknown\n")
    both = pd.concat([machine, edits.read_edits(path, machine).assign(prompt="q")])
    assert both["text"].tolist() == ["a red spot", "a mole", "a brown spot"]
    won = chosen(both).set_index("image_id")
    assert won.loc["a", ["reviewer", "text", "red", "describer"]].tolist() == ["Dr A", "a brown spot", 0.0, "captioner"]
    assert math.isnan(won.loc["a", "black"])
    assert won.loc["b", "reviewer"] == ""


def test_the_findings_say_where_reviewers_differ_and_who_counts(machine, tmp_path):
    """Control: equal reviews, and images that one person alone has reviewed, are no difference."""
    text = "image_id,reviewer,red,rejected\na,Dr A,0.7,\na,Dr B,{b},{why}\nb,Dr A,0.2,\n"
    for b, why, differ in (("0.7", "", 0), ("0.1", "", 1), ("0.7", "blurred", 1)):
        both = pd.concat([machine, edits.read_edits(written(tmp_path, text.format(b=b, why=why)), machine)])
        (line,) = report.review_findings(both)
        assert line.startswith(f"Images that several people have reviewed: 1; they differ on {differ} of these.")
        reds = chosen(both).set_index("image_id")["red"]
        assert reds.get("a") == (None if why else 0.7), "the first one counts, and a rejection stands"
    assert report.review_findings(both[both["reviewer"] != "Dr B"]) == []


def test_an_empty_cell_keeps_the_describers_value(machine, tmp_path):
    (edit,) = edits.read_edits(written(tmp_path, "image_id,reviewer,text,red\na,Dr A,,0.7\n"), machine).to_dict(
        "records"
    )
    assert (edit["text"], edit["red"], edit["black"]) == ("a red spot", 0.7, 0.9)


@pytest.mark.parametrize(
    ("word", "is_valid"), [("", True), ("no", True), ("FALSCH", True), ("0", True), ("yes", False), ("blurred", False)]
)
def test_no_is_no_reason_to_reject(machine, tmp_path, word, is_valid):
    path = written(tmp_path, f"image_id,reviewer,rejected\na,Dr A,{word}\n")
    assert edits.read_edits(path, machine)["valid"].tolist() == [is_valid]


def test_a_text_of_several_lines_becomes_one_line_without_what_tables_cannot_hold(machine, tmp_path):
    path = written(tmp_path, 'image_id,reviewer,text\na,Dr A,"a brown\nspot\x07"\n')
    assert edits.read_edits(path, machine)["text"].tolist() == ["a brown spot"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,text\na,x\n", "has no column 'reviewer'"),
        (
            f"image_id,reviewer\na,{'R' * 61}\n",
            "line 2: reviewer is 'R+'; write a name of one line, 60 letters at most",
        ),
        ("image_id,reviewer\na,Dr\x07A\n", r"line 2: reviewer is 'Dr.x07A'; write a name of one line"),
        (
            ",image_id,reviewer\n0,a,Dr\n",
            "'' is no column of edits; .* remove all other columns, also those without a n",
        ),
        ("image_id,reviewer,halo\na,Dr,1\n", "'halo' is no column of edits"),
        ("image_id,reviewer\nz,Dr\n", "line 2: no description of an image 'z'"),
        ("image_id,reviewer\na,\n", "line 2: reviewer is empty"),
        ("image_id,reviewer,red\nb,Dr,0.1\na,Dr,1.5\n", "line 3: red is '1.5'; write a score from 0 to 1"),
        ("image_id,reviewer,red\na,Dr,much\n", "red is 'much'"),
        ("image_id,reviewer,rejected\na,Dr,#REF!\n", "line 2: rejected is '#REF!', which Excel shows"),
        ("image_id,reviewer\n,Dr\n", "line 2: image_id is empty; name the image"),
        ("image_id,reviewer,red\na,Dr,0.1\na,Dr,0.2\n", "line 3: Dr has edited a twice"),
        ("image_id,reviewer,red\na,Dr,0.1\na,dr,0.2\n", "line 3: dr has edited a twice"),
        (
            "image_id,reviewer,text\na,Dr,#NAME?\n",
            r"line 2: text is '#NAME\?', which Excel shows for a formula that fa",
        ),
    ],
)
def test_an_edit_that_cannot_be_used_is_named(machine, tmp_path, text, message):
    with pytest.raises(edits.EditError, match=message):
        edits.read_edits(written(tmp_path, text), machine)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "image_id,reviewer,text\na,Dr Müller,x\n".encode("latin-1"),
            r"edits\.csv, line 2: a letter that is not in UTF-8",
        ),
        (b"\xff\xfei", r"edits\.csv, line 1: a letter that is not in UTF-16"),
        (b"", r"edits\.csv: there are no rows"),
        (b"image_id,reviewr\na,Dr\n", r"edits\.csv: has no column 'reviewer': rename column 'reviewr' to reviewer;"),
        (b"IMAGE_ID,reviewer\na,Dr\n", r"has no column 'image_id': rename column 'IMAGE_ID' to image_id;"),
        (b"image_id,reviewer,Red\na,Dr,0.1\n", r"'Red' is no column of edits: did you mean 'red'"),
        (b"image_id,reviewer,red\n\na,Dr,0.1\n\na,Dr,2\n", r"edits\.csv, line 5: red is '2'"),
        (b"image_id,reviewer,red\na,NA,0.1\n", "line 2: reviewer is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(machine, tmp_path, content, message):
    (tmp_path / "edits.csv").write_bytes(content)
    with pytest.raises(edits.EditError, match=message):
        edits.read_edits(tmp_path / "edits.csv", machine)


@pytest.mark.parametrize(
    "content",
    [
        "image_id;reviewer;text;red;black\na;Dr Müller;;0,2;unknown\n",
        "image_id,reviewer,text,red,black\na,Dr Müller,NA,0.2,Unknown\n",
        "sep=;\nimage_id;reviewer;text;red;black\na;Dr Müller;#NV;0,2;unknown\n",
        "image_id\treviewer\ttext\tred\tblack\na\tDr Müller\t\t0.2\tunknown\n".encode("utf-16"),
    ],
    ids=["German Excel", "R", "Excel's sep=", "Excel's Unicode text"],
)
def test_edits_are_read_as_spreadsheets_and_r_save_them(machine, tmp_path, content):
    (tmp_path / "edits.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    (edit,) = edits.read_edits(tmp_path / "edits.csv", machine).to_dict("records")
    assert (edit["reviewer"], edit["text"], edit["red"]) == ("Dr Müller", "a red spot", 0.2)
    assert math.isnan(edit["black"])


def test_a_formula_whose_value_was_not_saved_is_no_empty_cell(machine, tmp_path):
    pd.DataFrame({"image_id": ["a"], "reviewer": ["Dr A"], "red": ["=1/2"]}).to_excel(tmp_path / "e.xlsx", index=False)
    with pytest.raises(edits.EditError, match=r"e\.xlsx, line 2: red is '#UNSAVED!'; write a score"):
        edits.read_edits(tmp_path / "e.xlsx", machine)


def test_edits_may_be_an_excel_file(machine, tmp_path):
    table = pd.DataFrame({"image_id": ["a"], "reviewer": ["Dr A"], "red": [0.0], "black": ["unknown"]})
    table.to_excel(tmp_path / "edits.xlsx", index=False)
    (edit,) = edits.read_edits(tmp_path / "edits.xlsx", machine).to_dict("records")
    assert edit["red"] == 0 and math.isnan(edit["black"])
