import hashlib
import os
import shutil
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from p2d_lib.images import ImageError
from p2d_lib.params import check, profile
from p2d_lib.prep import cohort, ham10000, phantom
from p2d_lib.prep.source import raw_folder
from p2d_lib.run import ArtefactError, Run
from p2d_lib.vocabulary import DX

PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
LESIONS = 3  # of each dx, each with two images


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("P2D_THREADS", "1")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A raw set of 42 images in the authors' layout; lesion k is two images of the same brown square."""
    folder = tmp_path / "raw"
    for place in (*PARTS, MASKS):
        (folder / place).mkdir(parents=True)
    rows = []
    for k in range(2 * LESIONS * len(DX)):
        name, dx = f"ISIC_{k:07d}", DX[k // 2 % len(DX)]
        image, mask = np.full((30, 40, 3), (214, 170, 148), np.uint8), np.zeros((30, 40), np.uint8)
        image[10:20, 15:25], mask[10:20, 15:25] = (100, 60 + k // 2, 40), 255
        Image.fromarray(image).save(folder / PARTS[k % 2] / f"{name}.jpg", quality=95)
        Image.fromarray(mask).save(folder / MASKS / f"{name}_segmentation.png")
        rows.append((f"HAM_{k // 2:07d}", name, dx, "histo", "45.0", "female", "back", "rosendahl"))
    pd.DataFrame(rows, columns=ham10000.COLUMNS).to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


def edit(folder: Path, change) -> None:
    path = folder / "HAM10000_metadata.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table).to_csv(path, index=False)


def put(folder: Path, row: int, column: str, value: str) -> None:
    def change(table):
        table.loc[row, column] = value
        return table

    edit(folder, change)


def prepare(folder: Path, run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """01 as its notebook does it, with a split that is made up."""
    raw = ham10000.read(folder)
    split = pd.Series(np.resize(["train", "train", "val", "val", "test", "test"], len(raw.metadata)))
    with run.writing("images") as images:
        cases, measurements = ham10000.prepare(raw, split, 32, images)
    return run.write("cases", cases), run.write("measurements", measurements)


def left(run: Run) -> list[str]:
    return sorted(path.name for path in run.folder.rglob("*")) if run.folder.exists() else []


@pytest.fixture(scope="module")
def ham() -> pd.DataFrame:
    if not os.environ.get("P2D_HAM10000"):
        pytest.skip("P2D_HAM10000 is not set: the real HAM10000 is not at hand")
    return ham10000.read(ham10000.find()).metadata


def test_the_published_split_of_ham10000_is_reproduced(ham):
    p = profile("mini")["01_prep"]
    split = ham10000.split(ham, p["test_size"], p["val_size"], p["split_seed"])
    assert split.value_counts().to_dict() == {"train": 7130, "val": 890, "test": 1995}
    lesions = split.groupby(ham["lesion_id"]).first()
    assert lesions.value_counts().to_dict() == {"train": 5312, "val": 664, "test": 1494}
    assert cohort.shared_lesions(ham.assign(split=split)) == 0


def test_an_image_level_split_of_ham10000_leaks_what_is_known_of_it(ham):
    leaks = cohort.leak_of_image_split(ham, 0.2)
    assert leaks["all"] == pytest.approx(0.388, abs=0.005)
    assert leaks["mel"] == pytest.approx(0.685, abs=0.005)


def test_ham10000_holds_57_unknown_ages_and_no_other_gap(ham):
    assert ham.isna().sum().to_dict() == dict.fromkeys(ham10000.COLUMNS, 0) | {"age": 57}


def test_what_is_written_is_what_the_set_says(folder):
    run = Run("t", "01_prep")
    cases, measurements = prepare(folder, run)
    first = folder / PARTS[0] / "ISIC_0000000.jpg"
    assert list(cases["image_id"]) == [f"ISIC_{k:07d}" for k in range(42)]
    assert cases["sha256"][0] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert (cases["width"] == 40).all()
    assert (cases["height"] == 30).all()
    assert run.images(cases).shape == (42, 32, 32, 3)
    assert (measurements["area"] == 100 / 1200).all()
    assert np.abs(run.images(cases)[0, 16, 16].astype(int) - (100, 60, 40)).max() < 8  # its centre is the lesion's


def test_entropy_is_in_bits(folder):
    grey = np.full((30, 40, 3), 128, np.uint8)
    Image.fromarray(grey).save(folder / PARTS[0] / "ISIC_0000000.jpg", quality=100)
    grey[:, :16] = 40  # along the blocks of JPEG, which so keeps two exact values
    Image.fromarray(grey).save(folder / PARTS[1] / "ISIC_0000001.jpg", quality=100)
    cases, _ = prepare(folder, Run("t", "01_prep"))
    assert cases["entropy"][0] == 0
    assert cases["entropy"][1] == pytest.approx(-0.4 * np.log2(0.4) - 0.6 * np.log2(0.6), abs=0.01)


def test_zips_and_a_tab_separated_table_are_read_as_folders_and_csv_are(folder, tmp_path):
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    for place, inside in zip((*PARTS, MASKS), ("", "", f"{MASKS}/"), strict=True):
        with ZipFile(zipped / f"{place}.zip", "w") as archive:
            for file in sorted((folder / place).iterdir()):
                archive.write(file, inside + file.name)
                archive.writestr(f"__MACOSX/._{file.name}", b"a shadow")
    pd.read_csv(folder / "HAM10000_metadata.csv").to_csv(zipped / "HAM10000_metadata.tab", sep="\t", index=False)
    for ours, theirs in zip(prepare(folder, Run("a", "01_prep")), prepare(zipped, Run("b", "01_prep")), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def test_the_number_of_processes_changes_nothing(folder, monkeypatch):
    one = prepare(folder, Run("a", "01_prep"))
    monkeypatch.setenv("P2D_THREADS", "2")
    two = prepare(folder, Run("b", "01_prep"))
    for ours, theirs in zip(one, two, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def test_a_missing_mask_leaves_its_image_unmeasured_and_the_others_not(folder):
    (folder / MASKS / "ISIC_0000003_segmentation.png").unlink()
    cases, measurements = prepare(folder, Run("t", "01_prep"))
    assert measurements["area"].isna().to_numpy().nonzero()[0].tolist() == [3]
    assert np.isnan(cases["ita"][3])


def test_a_removed_image_is_one_sentence_and_leaves_nothing(folder):
    (folder / PARTS[1] / "ISIC_0000005.jpg").unlink()
    run = Run("t", "01_prep")
    with pytest.raises(
        ham10000.DataError, match=r"ISIC_0000005\.jpg .*HAM10000_metadata\.csv, line 7.*1 of 42.*put it"
    ):
        prepare(folder, run)
    assert left(run) == []


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_truncated_image_is_one_sentence_and_leaves_nothing(folder, monkeypatch, threads):
    monkeypatch.setenv("P2D_THREADS", threads)
    path = folder / PARTS[0] / "ISIC_0000040.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    run = Run("t", "01_prep")
    with pytest.raises(ImageError, match=r"ISIC_0000040\.jpg: not a readable image .*truncated.*replace the file"):
        prepare(folder, run)
    assert left(run) == []
    with pytest.raises(ArtefactError, match="01_prep"):
        run.read("cases")


def test_a_truncated_image_leaves_an_earlier_run_as_it_was(folder):
    run = Run("t", "01_prep")
    before, _ = prepare(folder, run)
    files = left(run)
    path = folder / PARTS[0] / "ISIC_0000040.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError):
        prepare(folder, run)
    assert left(run) == files
    pd.testing.assert_frame_equal(run.read("cases"), before)


@pytest.mark.parametrize("column", ham10000.COLUMNS)
def test_a_removed_column_is_named(folder, column):
    edit(folder, lambda table: table.drop(columns=column))
    with pytest.raises(ham10000.DataError, match=rf"HAM10000_metadata\.csv: column '{column}' is missing"):
        ham10000.read(folder)


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
    with pytest.raises(ham10000.DataError, match=rf"line 5 \(.*\): {column} is '{value}', expected {expected}"):
        ham10000.read(folder)


def test_unknown_ages_sexes_and_sites_are_unknown(folder):
    for row, age in enumerate(["", "unknown", "0.0"]):
        put(folder, row, "age", age)
    put(folder, 0, "sex", "")
    put(folder, 0, "localization", "")
    metadata = ham10000.read(folder).metadata
    assert metadata["age"][:2].isna().all()
    assert metadata["age"][2] == 0
    assert metadata.loc[0, ["sex", "localization"]].tolist() == ["unknown", "unknown"]


def test_a_folder_that_is_none_or_holds_none_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("P2D_HAM10000", raising=False)
    with pytest.raises(ham10000.DataError, match=r"01_prep\.data .*P2D_HAM10000"):
        ham10000.find()
    with pytest.raises(ham10000.DataError, match="nowhere: no such folder"):
        ham10000.find("nowhere")
    with pytest.raises(ham10000.DataError, match=r"there is no HAM10000_metadata\.csv"):
        ham10000.read(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ham10000.DataError, match="not a table"):
        ham10000.read(tmp_path)


def test_a_broken_zip_is_named(folder):
    shutil.rmtree(folder / PARTS[1])
    (folder / f"{PARTS[1]}.zip").write_bytes(b"PK half a zip")
    with pytest.raises(ham10000.DataError, match=rf"{PARTS[1]}\.zip: not a readable zip .*download it again"):
        ham10000.read(folder)


def metadata(lesions: dict[str, int], views: int = 2) -> pd.DataFrame:
    rows = [(f"{dx}{k}", f"{dx}{k}_{v}", dx) for dx, n in lesions.items() for k in range(n) for v in range(views)]
    return pd.DataFrame(rows, columns=["lesion_id", "image_id", "dx"])


def test_no_lesion_is_on_both_sides_and_every_class_on_all():
    table = metadata({"nv": 200, "mel": 60, "df": 15})
    table = table.assign(split=ham10000.split(table, 0.2, 1 / 9, 42))
    assert cohort.shared_lesions(table) == 0
    assert (table.groupby(["dx", "split"]).size().unstack() > 0).all(axis=None)
    assert (table["split"] == "test").mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("lesions", [1, 2, 4])
def test_a_class_with_too_few_lesions_to_split_is_named(lesions):
    with pytest.raises(ham10000.DataError, match=rf"dx 'df' has {lesions} lesions.*n_images"):
        ham10000.split(metadata({"nv": 200, "mel": 60, "df": lesions}), 0.2, 1 / 9, 42)


def test_the_leak_of_an_image_level_split_is_what_drawing_many_of_them_gives():
    table = pd.concat([metadata({"nv": 30}, 1), metadata({"mel": 10}, 3), metadata({"bkl": 10}, 2)], ignore_index=True)
    rng, n_test, hits = np.random.default_rng(0), 16, np.zeros(len(table))
    for _ in range(4000):
        test = np.isin(np.arange(len(table)), rng.permutation(len(table))[:n_test])
        in_train = set(table["lesion_id"][~test])
        hits += test & table["lesion_id"].isin(in_train)
    drawn = hits / (4000 * n_test / len(table))
    leaks = cohort.leak_of_image_split(table, 0.2)
    assert leaks["nv"] == 0
    assert leaks["mel"] == pytest.approx(drawn[table["dx"] == "mel"].mean(), abs=0.01)
    assert leaks["all"] == pytest.approx(drawn.mean(), abs=0.01)


def test_the_cohort_counts_lesions_images_and_people():
    table = metadata({"nv": 3, "mel": 1})
    table["split"] = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    table["age"] = [30.0, 30, 40, 40, np.nan, np.nan, 70, 70]
    table["sex"] = ["female"] * 2 + ["male"] * 2 + ["unknown"] * 2 + ["female"] * 2
    table["dx_type"] = ["follow_up"] * 6 + ["histo"] * 2
    rows = cohort.cohort(table).set_index("diagnosis")
    nevi, both = rows.loc["melanocytic nevus (nv)"], rows.loc["all"]
    assert nevi.tolist() == [3, 6, 4, 2, 0, "35 [32, 38]", 50.0, 0.0]
    assert both[["lesions", "images", "% histology"]].tolist() == [4, 8, 25.0]


def test_the_phantom_is_read_as_ham10000_is_and_brings_its_truth(tmp_path):
    phantom.write(tmp_path / "p", 6, 0, 0.0, "clinic", progress=False)
    raw = ham10000.read(tmp_path / "p")
    assert (raw.metadata["dataset"] == "phantom").all()
    truth = pd.read_csv(tmp_path / "p" / "truth.csv")
    assert raw.metadata["true_asymmetry"].tolist() == truth["true_asymmetry"].tolist()
    assert set(raw.masks) == set(raw.metadata["image_id"])


def test_a_phantom_is_drawn_once_for_the_same_parameters(tmp_path):
    p = check("01_prep", profile("smoke")["01_prep"] | {"n_images": 2})
    run = Run("t", "01_prep")
    drawn = (raw_folder(run, p) / "truth.csv").stat().st_mtime_ns
    assert (raw_folder(run, p) / "truth.csv").stat().st_mtime_ns == drawn
    other = raw_folder(run, p.model_copy(update={"seed": 1}))
    assert (other / "truth.csv").stat().st_mtime_ns != drawn
