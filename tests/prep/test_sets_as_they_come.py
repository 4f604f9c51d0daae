"""Sets as they lie on people's disks: other tables, letters, links, zips and paths than their publishers'."""

import os
import re
import shutil
import unicodedata
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pandas as pd
import pytest
from minimal_sets import mask, picture
from PIL import Image
from raw_set import MASKS, PARTS, edit, prepare, put

from p2d_lib.images import ImageError
from p2d_lib.prep.layouts import load
from p2d_lib.prep.pixels import DataError
from p2d_lib.prep.raw import find, read
from p2d_lib.run import Run

CSV = "HAM10000_metadata.csv"


# The table


@pytest.mark.parametrize("marker", ["NA", "nan", "NaN", "#N/A", "NULL", "None", "-", "unknown", "#REF!", "-1"])
def test_a_marker_of_a_missing_value_is_no_lesion(folder, marker):
    put(folder, 3, "lesion_id", marker)
    with pytest.raises(DataError, match=rf"line 5 \(ISIC_0000003\): lesion_id is '{marker}', expected a name"):
        read(folder)
    raw = read(folder, on_bad="quarantine")
    assert marker not in set(raw.metadata["lesion_id"]) and raw.bad["image_id"].tolist() == ["ISIC_0000003"]


@pytest.mark.parametrize(("one", "other"), [("123", "123.0"), ("HAM 7", "HAM\u00a0 7"), ("nævé", "næve\u0301")])
def test_one_lesion_that_tools_write_in_two_ways_is_one(folder, one, other):
    put(folder, 0, "lesion_id", one)
    put(folder, 1, "lesion_id", other)
    assert read(folder).metadata["lesion_id"].tolist()[:2] == [one, one]


def test_lesions_that_differ_in_the_letters_case_alone_may_be_one_and_are_refused(folder):
    put(folder, 1, "lesion_id", "ham_0000000")
    with pytest.raises(
        DataError, match=r"line 3 .*lesion_id is 'ham_0000000', expected the same letters as in the fir"
    ):
        read(folder)


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        (
            "isic_0000001",
            "each image once, and no two that differ in upper and lower case alone",
        ),  # two files would be one where letters' case is none
        ("é" * 76, "at most 150 bytes, no line break"),
        ("ISIC\n3", "at most 150 bytes, no line break"),
    ],
)
def test_an_image_has_a_name_that_files_on_every_system_can_have(folder, image_id, expected):
    (folder / PARTS[0] / "ISIC_0000000.jpg").rename(folder / PARTS[0] / f"{image_id}.jpg")
    put(folder, 0, "image_id", image_id)
    with pytest.raises(DataError, match=rf"(?s)line [23]\b.*image_id is .*, expected {expected}"):
        read(folder)


def test_a_number_that_a_spreadsheet_has_shortened_names_no_lesion(folder):
    put(folder, 0, "lesion_id", "1.2E+05")
    with pytest.raises(DataError, match=r"line 2 .*lesion_id is '1.2E\+05', expected a name"):
        read(folder)
    put(folder, 0, "lesion_id", "7E3")  # as the digits of a digest
    put(folder, 1, "lesion_id", "7E3")
    assert read(folder).metadata["lesion_id"][0] == "7E3"


def test_images_of_people_of_two_sexes_are_no_lesion(folder):
    put(folder, 0, "sex", "male")
    put(folder, 1, "sex", "female")
    with pytest.raises(
        DataError, match=r"line 3 .*sex is 'female', expected the sex of the lesion's other images \(is "
    ):
        read(folder)
    put(folder, 1, "sex", "unknown")
    assert read(folder).metadata["sex"].tolist()[:2] == ["male", "unknown"]


def test_words_are_read_in_any_letters(folder):
    for column, word in (("dx", "MEL"), ("sex", "Female"), ("localization", "Back"), ("dx_type", "Histo")):
        edit(folder, lambda table, column=column, word=word: table.assign(**{column: word}))
    table = read(folder).metadata
    assert {tuple(row) for row in table[["dx", "sex", "localization", "dx_type"]].to_numpy()} == {
        ("mel", "female", "back", "histo")
    }


def test_a_lesion_whose_patient_is_missing_has_no_name_and_one_of_two_columns_stands_in_for_the_other(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN.replace("lesion_id: lesion", 'lesion_id: "{patient}_{lesion}"'))
    (tmp_path / "t.csv").write_text("file,patient,lesion,dx\n0.jpg,NA,1,mel\n1.jpg,P2,1,mel\n")
    for k in range(2):
        picture(tmp_path / "pics" / f"{k}.jpg", k)
    with pytest.raises(DataError, match=r"line 2 \(0\): \{patient\}_\{lesion\} is '', expected a name"):
        read(tmp_path, tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_text(OWN.replace("lesion_id: lesion", "lesion_id: patient or file"))
    assert read(tmp_path, tmp_path / "own.yaml").metadata["lesion_id"].tolist() == ["0.jpg", "P2"]


@pytest.mark.parametrize("marker", ["NA", "NaN", "#N/A", "null", ""])
def test_a_marker_of_a_missing_value_is_an_unknown_age_sex_and_site(folder, marker):
    for column in ("age", "sex", "localization"):
        put(folder, 0, column, marker)
    first = read(folder).metadata.iloc[0]
    assert pd.isna(first["age"]) and (first["sex"], first["localization"]) == ("unknown", "unknown")


def as_excel(text: str) -> str:
    return text.replace("45.0", "45,0").replace(",", ";").replace("45;0", "45,0")


@pytest.mark.parametrize(
    "rewrite",
    [
        as_excel,
        lambda text: f"sep=;\n{as_excel(text)}",
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: "\n".join(f"{line},," for line in text.splitlines()),
    ],
    ids=["semicolons and decimal commas", "sep=", "tabs", "blank lines", "empty columns"],
)
def test_a_table_that_a_spreadsheet_saved_is_the_same_table(folder, rewrite):
    before = read(folder).metadata
    (folder / CSV).write_text(rewrite((folder / CSV).read_text()))
    pd.testing.assert_frame_equal(read(folder).metadata, before)


def test_a_table_in_a_workbook_behind_a_sheet_of_notes_is_the_same_table(folder):
    before = read(folder).metadata
    table = pd.read_csv(folder / CSV)
    with pd.ExcelWriter(folder / CSV.replace(".csv", ".XLSX"), engine="openpyxl") as book:
        pd.DataFrame({"Notes": ["exported on Monday"]}).to_excel(book, sheet_name="Read me", index=False)
        table.drop(columns="dataset").to_excel(book, sheet_name="Table", index=False)  # which has a default
    (folder / CSV).unlink()
    pd.testing.assert_frame_equal(read(folder).metadata, before.assign(dataset="ham10000"))


def test_of_a_table_and_a_workbook_of_its_name_none_is_chosen(folder):
    pd.read_csv(folder / CSV).to_excel(folder / CSV.replace(".csv", ".xlsx"), index=False)
    with pytest.raises(
        DataError, match=r"holds HAM10000_metadata\.csv and HAM10000_metadata\.xlsx, and one of them is"
    ):
        read(folder)


@pytest.mark.parametrize("name", ["HAM10000_metadata (1).csv", "HAM10000_metadata.csv.gz", "ham10000_metadata.txt"])
def test_a_table_under_another_name_is_hinted_at(folder, name):
    (folder / CSV).rename(folder / name)
    with pytest.raises(DataError, match=f"but {re.escape(name)} is there: unpack or save it as HAM10000_metadata.csv"):
        read(folder)


def test_photographs_are_not_taken_for_phantoms_because_of_the_name_of_their_set(folder):
    edit(folder, lambda table: table.assign(dataset="phantom"))
    with pytest.raises(DataError, match=r"line 2: dataset is 'phantom', which means rendered images, and their truth"):
        read(folder, on_bad="quarantine")


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("true_red", "much", "0 to 1"),
        ("true_red", 7, "0 to 1"),
        ("true_red", "", "0 to 1"),
        ("true_fitzpatrick", 0, "1 to 6"),
    ],
)
def test_a_truth_that_cannot_be_is_named_with_its_image(folder, column, value, expected):
    names = pd.read_csv(folder / CSV)["image_id"]
    truth = pd.DataFrame({"image_id": names, "true_red": 0.5, "true_fitzpatrick": 2}).astype(object)
    truth.to_csv(folder / "truth.csv", index=False)
    assert read(folder).metadata["true_fitzpatrick"].eq(2).all()
    truth.loc[3, column] = value
    truth.to_csv(folder / "truth.csv", index=False)
    with pytest.raises(
        DataError, match=rf"truth\.csv: {column} of {names[3]} is .*, expected a number from {expected}"
    ):
        read(folder)


def test_the_copy_without_the_column_dataset_is_read(folder):
    edit(folder, lambda table: table.drop(columns="dataset"))
    assert set(read(folder).metadata["dataset"]) == {"ham10000"}


def test_the_line_that_is_named_is_the_line_of_the_file(folder):
    put(folder, 3, "age", "old")
    lines = (folder / CSV).read_text().splitlines()
    lines[1] = lines[1].replace("back", '"ba\nck"')
    (folder / CSV).write_text("\n\n".join(lines))
    wrong = (folder / CSV).read_text().splitlines().index(lines[4]) + 1
    assert wrong == 10
    bad = read(folder, on_bad="quarantine").bad
    assert bad.set_index("row").loc[[3, wrong], "image_id"].tolist() == ["ISIC_0000000", "ISIC_0000003"]


@pytest.mark.parametrize(("yes", "no"), [("TRUE", "FALSE"), ("WAHR", "FALSCH"), ("1", "0"), ("True", "False")])
def test_a_truth_value_is_understood_as_r_and_excel_write_it(tmp_path, yes, no):
    (tmp_path / "own.yaml").write_text(
        OWN.replace("dx: dx", "dx: dx, dx_type: biopsed") + 'values: {dx_type: {"True": histo, "False": consensus}}\n'
    )
    (tmp_path / "t.csv").write_text(f"file,lesion,dx,biopsed\n0.jpg,0,mel,{yes}\n1.jpg,1,nv,{no}\n")
    for k in range(2):
        picture(tmp_path / "pics" / f"{k}.jpg", k)
    assert read(tmp_path, tmp_path / "own.yaml").metadata["dx_type"].tolist() == ["histo", "consensus"]


# Folders, zips, links


def test_folders_and_tables_are_found_in_other_letters(folder):
    before = read(folder)
    for name in (*PARTS, MASKS, CSV):
        (folder / name).rename(folder / name.lower())
    after = read(folder)
    pd.testing.assert_frame_equal(after.metadata, before.metadata)
    assert len(after.images) == len(after.masks) == 42


def test_of_two_folders_that_differ_in_letters_alone_that_of_the_layout_counts(folder):
    before = read(folder).images
    for part in PARTS:  # as the set on Kaggle has them
        shutil.copytree(folder / part, folder / part.lower())
    assert read(folder).images == before


def test_a_picture_is_found_whose_name_the_table_writes_in_other_letters(folder):
    edit(folder, lambda table: table.assign(image_id=table["image_id"].str.lower() + ".JPG"))
    raw = read(folder)
    assert set(raw.images) == set(raw.metadata["image_id"]) == set(raw.masks)
    assert raw.images["isic_0000003"].path.name == "ISIC_0000003.jpg"


def test_an_accent_is_the_same_letter_however_it_is_encoded(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "t.csv").write_text(unicodedata.normalize("NFC", "file,lesion,dx\nnævus_é.jpg,0,mel\n"))
    picture(tmp_path / "pics" / unicodedata.normalize("NFD", "nævus_é.jpg"), 0)  # as macOS writes names
    assert len(read(tmp_path, tmp_path / "own.yaml").images) == 1


def test_a_link_that_leads_nowhere_is_an_unreadable_picture_and_not_a_crash(folder):
    path = folder / PARTS[1] / "ISIC_0000007.jpg"
    path.unlink()
    path.symlink_to("../.git/annex/objects/gone.jpg")
    with pytest.raises(ImageError, match=r"ISIC_0000007\.jpg: cannot be read .*replace the file"):
        prepare(folder, Run("a", "01_prep"))
    run = Run("b", "01_prep")
    assert len(prepare(folder, run, "quarantine")[0]) == 41
    assert run.read("quarantine")["image_id"].tolist() == ["ISIC_0000007"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_in_place_of_a_picture_is_named_and_not_waited_for(folder):
    path = folder / PARTS[0] / "ISIC_0000000.jpg"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ImageError, match=r"ISIC_0000000\.jpg: is no file; replace it by the picture"):
        read(folder).images["ISIC_0000000"].image()


def test_a_picture_whose_name_is_no_text_is_listed_with_its_bytes(folder):
    name = os.fsencode(folder / PARTS[0]) + b"/ISIC_\xff.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert read(folder, on_bad="quarantine").bad["file"].tolist() == [f"{PARTS[0]}/ISIC_\\udcff.jpg"]


def test_a_folder_or_table_behind_a_link_that_leads_nowhere_is_named(folder):
    shutil.rmtree(folder / PARTS[1])
    (folder / PARTS[1]).symlink_to("/no/such/disk")
    with pytest.raises(DataError, match=rf"{PARTS[1]} is a link that leads nowhere"):
        read(folder)
    (folder / CSV).unlink()
    (folder / CSV).symlink_to("gone.csv")
    with pytest.raises(DataError, match=rf"there is no {CSV} .*\({CSV} is a link that leads nowhere\)"):
        read(folder)


def test_pictures_behind_links_are_read_and_a_circle_of_links_is_walked_once(folder, tmp_path):
    (folder / PARTS[1]).rename(tmp_path / "disk")
    (folder / PARTS[1]).mkdir()
    (folder / PARTS[1] / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "circle").symlink_to(folder / PARTS[1])
    assert len(read(folder).images) == 42


def zipped(folder: Path, part: str, name: str = "{}", but: int = 0) -> None:
    """Puts a part's pictures into its zip, under names made by Windows for one, and removes all but a few."""
    with ZipFile(folder / f"{part}.zip", "w") as archive:
        for k, path in enumerate(sorted((folder / part).iterdir())):
            entry = ZipInfo("x")
            entry.filename = name.format(path.name)
            archive.writestr(entry, path.read_bytes())
            if k >= but:
                path.unlink()
    if not but:
        (folder / part).rmdir()


def test_a_zip_made_by_windows_is_read(folder):
    zipped(folder, PARTS[0], PARTS[0] + "\\{}")
    raw = read(folder)
    assert len(raw.images) == 42 and str(raw.images["ISIC_0000000"]).endswith(
        "part_1.zip/" + f"{PARTS[0]}/ISIC_0000000.jpg"
    )
    assert len(prepare(folder, Run("t", "01_prep"))[0]) == 42


def test_a_folder_that_was_half_unpacked_is_completed_from_its_zip(folder):
    zipped(folder, PARTS[0], but=5)
    raw = read(folder)
    assert len(raw.images) == 42
    assert sum(file.member != "" for file in raw.images.values()) == 21 - 5


def test_a_zip_beside_its_folder_brings_no_picture_that_the_table_does_not_name(folder):
    with ZipFile(folder / f"{PARTS[0]}.zip", "w") as archive:
        archive.writestr("ISIC_0000099.jpg", b"removed from folder and table")
    assert len(read(folder).images) == 42


@pytest.mark.parametrize(
    ("name", "sentence"),
    [(f"{PARTS[1]}.tar.gz", r"part_2\.tar\.gz is an archive that is not read: unpack it"),
     ("pictures.zip", r"the folders and zips there are HAM10000_segmentations_lesion_tschandl, pictures\.zip")],
)  # fmt: skip
def test_pictures_that_lie_where_nobody_looks_are_hinted_at(folder, name, sentence):
    for part in PARTS:
        shutil.rmtree(folder / part)
    with ZipFile(folder / name, "w") as archive:
        archive.writestr("x", b"")
    with pytest.raises(DataError, match=sentence):
        read(folder)


def test_a_set_one_folder_below_or_still_packed_is_named(folder, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"there is no .*, but .*raw has one: name that folder"):
        read(tmp_path)
    (tmp_path / "set.zip").write_bytes(b"PK")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"set\.zip is a file: unpack it"):
        find("set.zip")


def test_what_operating_systems_and_tools_leave_is_no_picture(folder):
    for hidden in (".git/annex", "@eaDir/x", "__MACOSX", ".ipynb_checkpoints"):
        picture(folder / PARTS[0] / hidden / "SHA256E-1.jpg", 0)
    assert len(read(folder).images) == 42


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named(folder):
    (folder / PARTS[0]).chmod(0)
    with pytest.raises(DataError, match=rf"{PARTS[0]}: cannot be listed"):
        read(folder)


# Masks, of which a missing one is no error


def resaved(folder: Path, suffix: str) -> None:
    """The masks of a set in another format, one of them left as it was."""
    for path in sorted((folder / MASKS).iterdir())[1:]:
        with Image.open(path) as image:
            image.save(path.with_suffix(suffix))
        path.unlink()


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".tif", ".gif"])
def test_a_mask_in_another_format_is_found(folder, suffix):
    lesions = prepare(folder, Run("png", "01_prep"))[1]["area"]
    resaved(folder, suffix)
    assert {file.path.suffix for file in read(folder).masks.values()} == {".png", suffix}
    assert prepare(folder, Run("other", "01_prep"))[1]["area"].to_numpy() == pytest.approx(lesions, abs=0.01)


def test_the_mask_in_the_layouts_format_counts_before_a_copy_in_another_and_of_two_copies_none(folder):
    first, second = sorted((folder / MASKS).iterdir())[:2]
    shutil.copy(first, first.with_suffix(".jpg"))
    assert read(folder).masks["ISIC_0000000"].path == first
    shutil.copy(second, second.with_suffix(".bmp"))
    second.rename(second.with_suffix(".tif"))
    with pytest.raises(DataError, match=r"0000001_segmentation\.tif: ISIC_0000001 has another mask, .*\.bmp; remove"):
        read(folder)


def test_a_mask_in_another_format_that_no_row_names_is_refused(folder):
    mask(folder / MASKS / "ISIC_9_segmentation.tif")
    next((folder / MASKS).glob("*01_segmentation.png")).unlink()
    with pytest.raises(DataError, match=r"ISIC_9_segmentation\.tif: no row of HAM10000_metadata\.csv names this mask"):
        read(folder)


def test_what_lies_in_place_of_a_mask_and_is_no_picture_is_named(folder):
    path = folder / MASKS / "ISIC_0000003_segmentation.png"
    (folder / MASKS / "ISIC_0000004_segmentation.json").write_text("{}")  # of an image that has a mask
    path.rename(path.with_suffix(".npy"))
    with pytest.raises(DataError, match=r"0003_segmentation\.npy: is no picture, so .* mask of ISIC_0000003; save the"):
        read(folder)
    raw = read(folder, on_bad="quarantine")
    assert raw.bad[["image_id", "stage"]].to_numpy().tolist() == [["ISIC_0000003", "mask"]] and len(raw.masks) == 41


def test_masks_in_a_folder_that_the_layout_does_not_name_are_not_passed_over(folder):
    (folder / MASKS).rename(folder / "masks")
    sentence = r"masks/ISIC_0000000_segmentation\.png: is named as the mask of ISIC_0000000 is; no mask is looked for"
    with pytest.raises(DataError, match=rf"{sentence} there, only in HAM10000_segmentations\* \(42 such files\): move"):
        read(folder)
    shutil.rmtree(folder / "masks")
    assert read(folder).masks == {}


def test_pictures_in_other_formats_beside_pictures_are_no_masks(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN + "masks: {places: [pics], names: ['*.png'], ending: ''}\n")
    (tmp_path / "t.csv").write_text("file,lesion,dx\n0,0,mel\n")
    for suffix in ("jpg", "webp"):
        picture(tmp_path / "pics" / f"0.{suffix}", 0)
    assert read(tmp_path, tmp_path / "own.yaml").masks == {}


# Layouts of one's own

OWN = """\
source: x
metadata: [t.csv]
columns: {image_id: file, lesion_id: lesion, dx: dx}
constants: {dataset: mine}
images: {places: [pics], names: ["*.jpg"]}
"""


@pytest.fixture
def own(tmp_path) -> Path:
    """Pictures a/0.jpg, a/1.jpg, b/1.jpg in pics, named by their paths."""
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "t.csv").write_text("file,lesion,dx\na/0.jpg,0,mel\na/1.JPG,1,nv\nb\\1.jpg,2,nv\n")
    for k, name in enumerate(("a/0.jpg", "a/1.jpg", "b/1.jpg")):
        picture(tmp_path / "pics" / name, k)
    return tmp_path


def test_a_table_that_names_pictures_by_their_paths_finds_them(own):
    raw = read(own, own / "own.yaml")
    assert {name: file.path.relative_to(own / "pics").as_posix() for name, file in raw.images.items()} == {
        "a_0": "a/0.jpg", "a_1": "a/1.jpg", "b_1": "b/1.jpg"}  # fmt: skip


def test_paths_whose_last_parts_differ_give_these_as_names_and_another_folder_is_not_taken(own):
    (own / "pics" / "b" / "1.jpg").unlink()
    (own / "t.csv").write_text("file,lesion,dx\na/0.jpg,0,mel\na/1.jpg,1,nv\n")
    assert set(read(own, own / "own.yaml").images) == {"0", "1"}
    (own / "t.csv").write_text("file,lesion,dx\nc/0.jpg,0,mel\na/1.jpg,1,nv\n")
    with pytest.raises(DataError, match=r"c/0\.jpg is in no pics"):
        read(own, own / "own.yaml")


def test_absolute_paths_of_another_machine_say_which_of_several_is_meant(own):
    (own / "t.csv").write_text("file,lesion,dx\n/kaggle/pics/a/0.jpg,0,mel\nC:\\set\\a\\1.jpg,1,nv\n/x/b/1.jpg,2,nv\n")
    files = {
        file.path.relative_to(own / "pics").as_posix(): name
        for name, file in read(own, own / "own.yaml").images.items()
    }
    assert set(files) == {"a/0.jpg", "a/1.jpg", "b/1.jpg"} and files["b/1.jpg"] == "x_b_1"


@pytest.mark.parametrize("place", ["{}/pics", "~/pics", "./pics", "pics/", "PICS", "..\\{name}\\pics"])
def test_a_place_may_be_absolute_at_home_or_in_other_letters(own, monkeypatch, place):
    monkeypatch.setenv("HOME", str(own))
    place = place.format(own, name=own.name)
    (own / "own.yaml").write_text(OWN.replace("[pics]", f"['{place}']"))
    assert len(read(own, own / "own.yaml").images) == 3


def test_pictures_outside_the_sets_folder_are_listed_by_their_whole_path(own, tmp_path):
    (own / "pics").rename(tmp_path / "elsewhere")
    (own / "set").mkdir()
    (own / "t.csv").rename(own / "set" / "t.csv")
    picture(tmp_path / "elsewhere" / "c" / "9.jpg", 0)
    (own / "own.yaml").write_text(OWN.replace("[pics]", f"['{tmp_path}/elsewhere']"))
    bad = read(own / "set", own / "own.yaml", "quarantine").bad
    assert bad["file"].tolist() == [f"{tmp_path}/elsewhere/c/9.jpg"]


@pytest.mark.parametrize("place", [".", "", "./"])
def test_pictures_and_masks_may_lie_beside_the_table(tmp_path, place):
    layout = OWN.replace("[pics]", f"['{place}']").replace(".jpg", ".png")
    masks = f"masks: {{places: ['{place}'], names: ['*.png'], ending: _mask}}\n"
    (tmp_path / "own.yaml").write_text(layout + masks)
    (tmp_path / "t.csv").write_text("file,lesion,dx\n0,0,mel\n1,1,nv\n")
    for k in range(2):
        picture(tmp_path / f"{k}.png", k)
        mask(tmp_path / f"{k}_MASK.png")
    raw = read(tmp_path, tmp_path / "own.yaml")
    assert set(raw.images) == set(raw.masks) == {"0", "1"}
    assert raw.masks["1"].path.name == "1_MASK.png" and raw.images["1"].path.name == "1.png"


@pytest.mark.parametrize(
    "words", ["{1: mel, 0: nv}", "{Yes: mel, No: nv}", "{2020-01-01: mel, ~: nv}", "{1e3: mel, 0x1: nv}"]
)
def test_words_of_a_set_need_no_quotes(tmp_path, words):
    (tmp_path / "own.yaml").write_text(OWN + f"values: {{dx: {words}}}\n")
    first, second = words.strip("{}").split(", ")
    assert load(tmp_path / "own.yaml").values.dx == dict([first.split(": "), second.split(": ")])


def test_a_null_is_still_a_dx_that_is_not_used(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN + "values: {dx: {a: null, b: ~, '': mel, null: nv}}\n")
    assert load(tmp_path / "own.yaml").values.dx == {"a": None, "b": None, "": "mel", "null": "nv"}
