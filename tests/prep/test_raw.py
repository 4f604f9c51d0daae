import shutil
from zipfile import ZipFile

import pandas as pd
import pytest
from raw_set import MASKS, PARTS, edit, put

from p2d_lib.prep import phantom
from p2d_lib.prep.layouts import COLUMNS
from p2d_lib.prep.pixels import DataError
from p2d_lib.prep.raw import BAD, find, read

NAMES = [f"ISIC_{k:07d}" for k in range(42)]


def value(column, text):
    return lambda folder: put(folder, 3, column, text)


def row(**cells):
    """Appends the table's first row once more, with other cells."""

    def change(table):
        return pd.concat([table, table.iloc[[0]].assign(**cells)])

    return lambda folder: edit(folder, change)


def copy(place, name, to, new):
    def spoil(folder):
        (folder / to).mkdir(exist_ok=True)
        shutil.copy(folder / place / name, folder / to / new)

    return spoil


def remove(folder):
    (folder / PARTS[1] / "ISIC_0000003.jpg").unlink()


def cut_short(folder):
    with (folder / "HAM10000_metadata.csv").open("a") as stream:
        stream.write("HAM_0000000,ISIC_0000042\n")


CSV = "HAM10000_metadata.csv"
ROW_3 = ("ISIC_0000003", CSV, 5, "metadata")
LAST = (CSV, 44, "metadata")
BROKEN = {  # what is done to the set, what is said of it (ISIC_0000003 is in line 5), and what is listed
    "a dx that is none": (value("dx", "melanoma"), "dx is 'melanoma', expected one of akiec, bcc", ROW_3),
    "a dx that is not the lesion's": (value("dx", "nv"), "dx is 'nv', expected the dx of the lesion's first", ROW_3),
    "no lesion": (value("lesion_id", ""), "lesion_id is '', expected a name", ROW_3),
    "an age beyond all": (value("age", "450"), "age is '450', expected years from 0 to 120, or nothing", ROW_3),
    "a negative age": (value("age", "-5"), "age is '-5', expected years from 0 to 120", ROW_3),
    "an age in words": (value("age", "old"), "age is 'old', expected years from 0 to 120", ROW_3),
    "a sex that is none": (value("sex", "f"), "sex is 'f', expected one of female, male, unknown", ROW_3),
    "a site that is none": (value("localization", "moon"), "localization is 'moon', expected one of abdomen", ROW_3),
    "a dx_type that is none": (value("dx_type", "guess"), "dx_type is 'guess', expected one of histo", ROW_3),
    "no collection": (value("dataset", ""), "dataset is '', expected the name of the collection", ROW_3),
    "a second row": (row(), "image_id is 'ISIC_0000000', expected each image once", ("ISIC_0000000", *LAST)),
    "a row of no image": (row(image_id=""), "image_id is '', expected a name", ("", *LAST)),
    "a row cut short": (cut_short, r"line 44 \(ISIC_0000042\): dx is '', expected one of", ("ISIC_0000042", *LAST)),
    "a row without its picture": (
        remove,
        r"ISIC_0000003\.jpg is in no HAM10000_images\*.*but HAM10000_metadata\.csv, line 5, names it \(1 of 42 ",
        ROW_3,
    ),
    "a picture without its row": (
        copy(PARTS[0], "ISIC_0000000.jpg", PARTS[1], "ISIC_0000099.jpg"),
        r"part_2/ISIC_0000099\.jpg: no row of HAM10000_metadata\.csv names this image \(1 of 43 images are in no row",
        ("ISIC_0000099", f"{PARTS[1]}/ISIC_0000099.jpg", 0, "image"),
    ),
    "a picture twice": (
        copy(PARTS[0], "ISIC_0000000.jpg", PARTS[1], "ISIC_0000000.jpg"),
        r"part_2/ISIC_0000000\.jpg: ISIC_0000000 has another image, .*part_1/ISIC_0000000\.jpg; remove one of them",
        ("ISIC_0000000", f"{PARTS[1]}/ISIC_0000000.jpg", 0, "image"),
    ),
    "a mask without its picture": (
        copy(MASKS, "ISIC_0000000_segmentation.png", MASKS, "ISIC_0000099_segmentation.png"),
        r"ISIC_0000099_segmentation\.png: no row of .* names this mask \(1 of 43 masks are in no row\); add its row or",
        ("ISIC_0000099", f"{MASKS}/ISIC_0000099_segmentation.png", 0, "mask"),
    ),
    "a mask twice": (
        copy(MASKS, "ISIC_0000000_segmentation.png", f"{MASKS}/old", "ISIC_0000000_segmentation.png"),
        r"old/ISIC_0000000_segmentation\.png: ISIC_0000000 has another mask, ",
        ("ISIC_0000000", f"{MASKS}/old/ISIC_0000000_segmentation.png", 0, "mask"),
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_stops_the_reader_or_is_listed_with_the_same_sentence(folder, kind):
    spoil, sentence, listed = BROKEN[kind]
    spoil(folder)
    with pytest.raises(DataError, match=sentence) as error:
        read(folder)
    raw = read(folder, on_bad="quarantine")
    assert raw.bad.to_dict("records") == [dict(zip(BAD, (*listed, str(error.value)), strict=True))]
    kept = [name for name in NAMES if listed != ROW_3 or name != "ISIC_0000003"]
    assert raw.metadata["image_id"].tolist() == kept and raw.metadata.index.equals(pd.RangeIndex(len(kept)))
    assert set(raw.images) == set(raw.masks) == set(kept)


def test_all_that_is_wrong_is_listed_at_once_and_the_others_are_kept(folder):
    put(folder, 3, "age", "450")
    put(folder, 6, "age", "old")
    put(folder, 8, "dx", "melanoma")  # the first image of its lesion: the second is then judged by its own dx
    (folder / PARTS[1] / "ISIC_0000011.jpg").unlink()
    bad = read(folder, on_bad="quarantine").bad
    assert bad["image_id"].tolist() == ["ISIC_0000008", "ISIC_0000003", "ISIC_0000006", "ISIC_0000011"]
    assert bad["row"].tolist() == [10, 5, 8, 13]
    assert bad["reason"].str.contains(r"\(2 such rows\)").tolist() == [False, True, True, False]


def test_of_a_sound_set_no_row_is_set_aside(folder):
    fail, quarantine = read(folder), read(folder, on_bad="quarantine")
    assert fail.bad.empty and quarantine.bad.empty and list(fail.bad) == list(BAD)
    pd.testing.assert_frame_equal(fail.metadata, quarantine.metadata)
    assert fail.images == quarantine.images and set(fail.masks) == set(NAMES)


def no_table(folder):
    (folder / CSV).write_bytes(b"\xff\xfe\x00")


def wider_rows(folder):
    lines = (folder / CSV).read_text().splitlines()
    (folder / CSV).write_text("\n".join([lines[0], *(f"{line},x" for line in lines[1:])]))


def half_a_zip(folder):
    shutil.rmtree(folder / PARTS[1])
    (folder / f"{PARTS[1]}.zip").write_bytes(b"PK half a zip")


def pictures_gone(folder):
    for part in PARTS:
        shutil.rmtree(folder / part)


STRUCTURE = {
    "no table": (lambda folder: (folder / CSV).unlink(), r"there is no HAM10000_metadata\.csv nor .*10\.7910/DVN"),
    "not a table": (no_table, r"HAM10000_metadata\.csv, line 1: a letter that is not in UTF-16.*save it as CSV UTF-8"),
    "rows wider than the head": (wider_rows, r"metadata\.csv, line 2: 9 cells, and the line of column names has 8"),
    "no rows": (lambda folder: edit(folder, lambda table: table[:0]), r"metadata\.csv: there are no rows"),
    "a misspelt column": (
        lambda folder: edit(folder, lambda table: table.rename(columns={"sex": "sexe"})),
        r"column 'sex' is missing: did you mean 'sexe'\?; the file has 'lesion_id', .*; take it again from doi",
    ),
    "a broken zip": (half_a_zip, rf"{PARTS[1]}\.zip: not a readable zip .*download it again"),
    "no picture": (
        pictures_gone,
        r"ISIC_0000000\.jpg is in no HAM10000_images\*.*\(42 of 42 images are missing; the folders and",
    ),
    "a truth that knows others": (
        lambda folder: (folder / "truth.csv").write_text("image_id,true_x\nISIC_0000000,1\n"),
        r"truth\.csv: is no truth of a phantom",
    ),
    "a truth that has an image twice": (
        lambda folder: (folder / "truth.csv").write_text("image_id\n" + "ISIC_0000000\n" * 2),
        r"truth\.csv: is no truth of a phantom",
    ),
    "another file of this name": (
        lambda folder: (folder / "truth.csv").write_bytes("Größe,image_id\n1,ISIC_0000000\n".encode("latin-1")),
        r"truth\.csv: is no truth of a phantom, .* in a set of your own, give the file another name",
    ),
}


@pytest.mark.parametrize("on_bad", ["fail", "quarantine"])
@pytest.mark.parametrize("kind", STRUCTURE)
def test_a_set_that_cannot_be_read_at_all_stops_the_reader_in_either_way(folder, kind, on_bad):
    spoil, sentence = STRUCTURE[kind]
    spoil(folder)
    with pytest.raises(DataError, match=sentence):
        read(folder, on_bad=on_bad)


def test_a_set_without_a_usable_row_is_refused_with_the_first_reason(folder):
    pictures_gone(folder)
    with pytest.raises(DataError, match=r"metadata\.csv: nothing is left of its 42 images; the first: .*ISIC_0000000"):
        read(folder, on_bad="quarantine")


def test_on_bad_is_one_of_two(folder):
    with pytest.raises(ValueError, match="on_bad is 'skip'; it must be 'fail' or 'quarantine'"):
        read(folder, on_bad="skip")


def test_ham10000_holds_57_unknown_ages_and_no_other_gap(ham):
    assert ham.isna().sum().to_dict() == dict.fromkeys(COLUMNS, 0) | {"age": 57}


@pytest.mark.parametrize("column", [column for column in COLUMNS if column != "dataset"])
def test_a_removed_column_is_named(folder, column):
    edit(folder, lambda table: table.drop(columns=column))
    with pytest.raises(DataError, match=rf"HAM10000_metadata\.csv: column '{column}' is missing"):
        read(folder)


def test_unknown_ages_sexes_and_sites_are_unknown(folder):
    for at, age in enumerate(["", "unknown", "0.0"]):
        put(folder, at, "age", age)
    put(folder, 0, "sex", "")
    put(folder, 0, "localization", "")
    metadata = read(folder).metadata
    assert metadata["age"][:2].isna().all()
    assert metadata["age"][2] == 0
    assert metadata.loc[0, ["sex", "localization"]].tolist() == ["unknown", "unknown"]


def test_a_table_as_a_spreadsheet_saves_it_is_read(folder):
    before = read(folder).metadata
    (folder / CSV).write_text("\ufeff" + (folder / CSV).read_text().replace(",", " , ").replace("\n", "\r\n"))
    pd.testing.assert_frame_equal(read(folder).metadata, before)


def test_a_part_that_lies_zipped_and_unpacked_counts_once_and_shadow_files_not_at_all(folder):
    before = read(folder)
    with ZipFile(folder / f"{PARTS[0]}.zip", "w") as archive:
        archive.write(folder / PARTS[0] / "ISIC_0000000.jpg", "ISIC_0000000.jpg")
    (folder / PARTS[0] / "._ISIC_0000000.jpg").write_bytes(b"macOS")
    assert read(folder).images == before.images
    shutil.rmtree(folder / PARTS[0])
    assert str(read(folder, on_bad="quarantine").images["ISIC_0000000"]).endswith("part_1.zip/ISIC_0000000.jpg")


def test_a_folder_that_is_none_or_holds_none_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("P2D_HAM10000", raising=False)
    with pytest.raises(DataError, match=r"where is HAM10000\? .*01_prep\.data .*P2D_HAM10000"):
        find()
    with pytest.raises(DataError, match=r"nowhere: no such folder; 01_prep\.data or P2D_HAM10000 must"):
        find("nowhere")
    monkeypatch.setenv("P2D_HAM10000", str(tmp_path))
    assert find() == tmp_path
    with pytest.raises(DataError, match=r"where is ph2\? Download it \(https://www\.fc\.up\.pt.*--data DIR\)$"):
        find(layout="ph2")
    assert find(str(tmp_path), "ph2") == tmp_path


def test_the_phantom_is_read_as_ham10000_is_and_brings_its_truth(tmp_path):
    phantom.write(tmp_path / "p", 6, 0, 0.0, "clinic", progress=False)
    (tmp_path / "p" / "plants.csv").write_text("what a test planted\n")
    raw = read(tmp_path / "p")
    assert (raw.metadata["dataset"] == "phantom").all()
    truth = pd.read_csv(tmp_path / "p" / "truth.csv")
    assert raw.metadata["true_asymmetry"].tolist() == truth["true_asymmetry"].tolist()
    assert set(raw.masks) == set(raw.metadata["image_id"])
    (tmp_path / "p" / PARTS[0] / f"{truth['image_id'][1]}.jpg").unlink()
    kept = read(tmp_path / "p", on_bad="quarantine").metadata
    assert kept["true_asymmetry"].tolist() == truth["true_asymmetry"].drop(index=1).tolist()
