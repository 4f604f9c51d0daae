import shutil

import pandas as pd
import pytest
from raw_set import PARTS, edit, put

from p2d_lib.prep import phantom
from p2d_lib.prep.pixels import DataError
from p2d_lib.prep.raw import COLUMNS, find, read


def test_ham10000_holds_57_unknown_ages_and_no_other_gap(ham):
    assert ham.isna().sum().to_dict() == dict.fromkeys(COLUMNS, 0) | {"age": 57}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_removed_column_is_named(folder, column):
    edit(folder, lambda table: table.drop(columns=column))
    with pytest.raises(DataError, match=rf"HAM10000_metadata\.csv: column '{column}' is missing"):
        read(folder)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("dx", "melanoma", "one of akiec, bcc"),
        ("dx", "nv", "the dx of the lesion's first image"),
        ("image_id", "ISIC_0000000", "each image once"),
        ("lesion_id", "", "a name"),
        ("age", "450", "years from 0 to 120"),
        ("age", "-5", "years from 0 to 120"),
        ("age", "old", "years from 0 to 120"),
        ("sex", "f", "one of female, male, unknown"),
        ("localization", "moon", "one of abdomen"),
        ("dx_type", "guess", "one of histo"),
    ],
)
def test_an_impossible_value_is_named_with_its_line(folder, column, value, expected):
    put(folder, 3, column, value)
    with pytest.raises(DataError, match=rf"line 5 \(.*\): {column} is '{value}', expected {expected}"):
        read(folder)


def test_unknown_ages_sexes_and_sites_are_unknown(folder):
    for row, age in enumerate(["", "unknown", "0.0"]):
        put(folder, row, "age", age)
    put(folder, 0, "sex", "")
    put(folder, 0, "localization", "")
    metadata = read(folder).metadata
    assert metadata["age"][:2].isna().all()
    assert metadata["age"][2] == 0
    assert metadata.loc[0, ["sex", "localization"]].tolist() == ["unknown", "unknown"]


def test_a_folder_that_is_none_or_holds_none_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("P2D_HAM10000", raising=False)
    with pytest.raises(DataError, match=r"01_prep\.data .*P2D_HAM10000"):
        find()
    with pytest.raises(DataError, match="nowhere: no such folder"):
        find("nowhere")
    with pytest.raises(DataError, match=r"there is no HAM10000_metadata\.csv"):
        read(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a table"):
        read(tmp_path)


def test_a_broken_zip_is_named(folder):
    shutil.rmtree(folder / PARTS[1])
    (folder / f"{PARTS[1]}.zip").write_bytes(b"PK half a zip")
    with pytest.raises(DataError, match=rf"{PARTS[1]}\.zip: not a readable zip .*download it again"):
        read(folder)


def test_the_phantom_is_read_as_ham10000_is_and_brings_its_truth(tmp_path):
    phantom.write(tmp_path / "p", 6, 0, 0.0, "clinic", progress=False)
    raw = read(tmp_path / "p")
    assert (raw.metadata["dataset"] == "phantom").all()
    truth = pd.read_csv(tmp_path / "p" / "truth.csv")
    assert raw.metadata["true_asymmetry"].tolist() == truth["true_asymmetry"].tolist()
    assert set(raw.masks) == set(raw.metadata["image_id"])
