import hashlib
import re
import shutil
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from raw_set import MASKS, PARTS, left, prepare

from p2d_lib.files import sha256
from p2d_lib.images import ImageError
from p2d_lib.prep import pixels
from p2d_lib.prep import prepare as preparing
from p2d_lib.prep.pixels import DataError
from p2d_lib.prep.raw import read
from p2d_lib.run import ArtefactError, Run


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
    runs, results = [Run("a", "01_prep"), Run("b", "01_prep")], []
    monkeypatch.setattr(preparing, "SHARD", 5)
    for processes, run in enumerate(runs, 1):
        monkeypatch.setenv("P2D_THREADS", str(processes))
        results.append(prepare(folder, run))
    for ours, theirs in zip(*results, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
    assert len({sha256(run.path("images")) for run in runs}) == 1


def test_a_missing_mask_leaves_its_image_unmeasured_and_the_others_not(folder):
    (folder / MASKS / "ISIC_0000003_segmentation.png").unlink()
    cases, measurements = prepare(folder, Run("t", "01_prep"))
    assert measurements["area"].isna().to_numpy().nonzero()[0].tolist() == [3]
    assert np.isnan(cases["ita"][3])


def test_a_removed_image_is_one_sentence_and_leaves_nothing(folder):
    (folder / PARTS[1] / "ISIC_0000005.jpg").unlink()
    run = Run("t", "01_prep")
    with pytest.raises(DataError, match=r"ISIC_0000005\.jpg .*HAM10000_metadata\.csv, line 7.*1 of 42.*put it"):
        prepare(folder, run)
    assert left(run) == []


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_truncated_image_is_one_sentence_and_leaves_nothing(folder, monkeypatch, threads):
    monkeypatch.setenv("P2D_THREADS", threads)
    monkeypatch.setattr(preparing, "SHARD", 5)
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


def break_one(folder: Path, k: int, how: str) -> Path:
    path = folder / PARTS[k % 2] / f"ISIC_{k:07d}.jpg"
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "print":
        Image.new("CMYK", (40, 30)).save(path)
    elif how == "text":
        path.write_text("<html>404</html>")
    elif how == "faint":
        Image.new("L", (40, 30), 1).save(folder / MASKS / f"ISIC_{k:07d}_segmentation.png")
    elif how == "mask":
        Image.new("L", (30, 40)).save(folder / MASKS / f"ISIC_{k:07d}_segmentation.png")
    return path


BROKEN = {
    "truncated": "truncated.*replace the file", "empty": "is empty.*replace the file", "print": "CMYK.*convert it",
    "text": "no known format", "faint": "brightest level is 1; a mask is 255 inside",
    "mask": "30 x 40 px do not fit .*ISIC_.*40 x 30 px; replace the mask",
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_an_unfit_image_stops_the_run_or_is_listed_and_left_out(folder, how):
    break_one(folder, 7, how)
    with pytest.raises(ImageError, match=rf"ISIC_0000007.*{BROKEN[how]}"):
        prepare(folder, Run("a", "01_prep"))
    run = Run("b", "01_prep")
    cases, measurements = prepare(folder, run, "quarantine")
    kept = [f"ISIC_{k:07d}" for k in range(42) if k != 7]
    assert list(cases["image_id"]) == list(measurements["image_id"]) == kept
    assert sorted(path.stem for path in run.path("images").iterdir()) == kept
    (bad,) = run.read("quarantine").itertuples()
    assert bad.image_id == "ISIC_0000007"
    assert bad.stage == ("mask" if how in ("mask", "faint") else "image")
    assert bad.file.startswith(MASKS if how in ("mask", "faint") else PARTS[1])
    assert re.search(BROKEN[how], bad.reason)


def test_nothing_is_listed_of_a_sound_set(folder):
    run = Run("t", "01_prep")
    prepare(folder, run, "quarantine")
    assert run.read("quarantine").empty


@pytest.mark.parametrize("stage", ["measure_one", "write_square"])
def test_work_that_was_interrupted_goes_on_where_it_stopped(folder, monkeypatch, stage):
    whole = prepare(folder, Run("whole", "01_prep"))
    monkeypatch.setattr(preparing, "SHARD", 5)
    work, processed = getattr(pixels, stage), []

    def interrupted(*arguments):
        processed.append(arguments[-1][0])
        if len(processed) == 23:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(pixels, stage, interrupted)
    run = Run("t", "01_prep")
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, run)
    assert left(run) == []
    resumed = prepare(folder, run)
    assert processed[23:] == processed[20:22] + [
        f"ISIC_{k:07d}" for k in range(22, 42)
    ]  # the shard it was in, and the rest
    for ours, theirs in zip(resumed, whole, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def test_unfinished_work_on_other_files_is_not_taken_up(folder, monkeypatch):
    monkeypatch.setattr(preparing, "SHARD", 5)
    run, measured = Run("t", "01_prep"), []
    path = folder / PARTS[0] / "ISIC_0000040.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(ImageError):
        prepare(folder, run)
    path.write_bytes(whole)
    work = pixels.measure_one
    monkeypatch.setattr(pixels, "measure_one", lambda job: measured.append(job[0]) or work(job))
    prepare(folder, run)
    assert measured == ["ISIC_0000040", "ISIC_0000041"]  # the shard of the file that was replaced, and no other


def test_a_square_that_a_power_cut_emptied_is_written_again(folder):
    raw, state, squares = read(folder), folder / "state", folder / "squares"
    squares.mkdir()
    jobs = [(name, raw.images[name], None) for name in raw.images]
    resize = partial(pixels.write_square, 32, squares)
    preparing.in_shards(resize, jobs, state, "resized", "fail")
    before = sha256(squares)
    (squares / "ISIC_0000003.png").write_bytes(b"")
    preparing.in_shards(resize, jobs, state, "resized", "fail")
    assert sha256(squares) == before


def test_a_class_that_loses_all_its_images_of_a_part_is_named(folder):
    for k in (6, 7, 20, 21, 34, 35):  # all images of df
        (folder / PARTS[k % 2] / f"ISIC_{k:07d}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"(train|val|test) has no df image left"):
        prepare(folder, Run("t", "01_prep"), "quarantine")


def test_a_damaged_member_of_a_zip_is_named(folder):
    with ZipFile(folder / f"{PARTS[1]}.zip", "w", ZIP_DEFLATED) as archive:
        for file in sorted((folder / PARTS[1]).iterdir()):
            archive.write(file, file.name)
    shutil.rmtree(folder / PARTS[1])
    path = folder / f"{PARTS[1]}.zip"
    data = bytearray(path.read_bytes())
    at = data.find(b"ISIC_0000005.jpg") + 40
    data[at : at + 30] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"{PARTS[1]}\.zip/ISIC_0000005\.jpg: .*replace the file"):
        prepare(folder, Run("t", "01_prep"))


def test_a_set_without_one_image_that_can_be_used_is_refused(folder):
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"not one of 42 images can be used; the first: .*is empty"):
        prepare(folder, Run("t", "01_prep"), "quarantine")
