"""The planted faults are what they say, and as many: what is said of the audits rests on this."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from p2d_lib.files import sha256
from p2d_lib.prep import measure, phantom, plants
from p2d_lib.prep.raw import read

COUNTS = {"duplicated_lesions": 5, "near_duplicates": 8, "mislabelled": 6, "blurred": 4, "empty": 3}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "set"
    phantom.write(folder, 60, seed=2, tail=0.3, camera="clinic", progress=False)
    return folder


@pytest.fixture(scope="module")
def planted(sound, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("planted") / "set"
    shutil.copytree(sound, folder)
    return folder, plants.plant(folder, 0, **COUNTS)


def rows(planted, kind: str) -> pd.DataFrame:
    return planted[1][planted[1]["plant"] == kind]


def picture_file(folder: Path, image_id: str) -> Path:
    return next(folder.glob(f"HAM10000_images_part_*/{image_id}.jpg"))


def picture(folder: Path, image_id: str) -> Image.Image:
    return Image.open(picture_file(folder, image_id)).convert("RGB")


def mask_file(folder: Path, image_id: str) -> Path:
    return folder / "HAM10000_segmentations_lesion_tschandl" / f"{image_id}_segmentation.png"


def mask(folder: Path, image_id: str) -> np.ndarray:
    return np.asarray(Image.open(mask_file(folder, image_id))) > 0


def test_there_are_as_many_plants_as_asked_for_and_no_lesion_has_two(sound, planted):
    folder, table = planted
    assert table.groupby("plant")["lesion_id"].nunique().to_dict() == COUNTS
    lesion_of = read(sound).metadata.set_index("image_id")["lesion_id"]
    touched = table["source"].where(table["source"].isin(lesion_of.index), table["image_id"]).map(lesion_of)
    assert touched.nunique() == sum(COUNTS.values())
    assert (table.groupby(touched)["plant"].nunique() == 1).all()
    pd.testing.assert_frame_equal(pd.read_csv(folder / "plants.csv", keep_default_na=False), table)


def test_a_planted_set_is_read_as_any_other_and_the_rest_of_it_is_untouched(sound, planted):
    before, after = read(sound), read(planted[0])
    assert len(after.metadata) == 60 + COUNTS["duplicated_lesions"] + COUNTS["near_duplicates"]
    assert after.metadata.filter(like="true_").notna().all(axis=None)
    rest = ~before.metadata["image_id"].isin(planted[1]["image_id"])
    pd.testing.assert_frame_equal(after.metadata.head(60)[rest], before.metadata[rest])
    for image_id in before.metadata.loc[rest, "image_id"]:
        assert after.images[image_id].data() == before.images[image_id].data()


def test_a_duplicated_lesion_is_the_same_file_under_new_names(sound, planted):
    folder = planted[0]
    metadata = read(folder).metadata.set_index("image_id")
    for row in rows(planted, "duplicated_lesions").itertuples():
        assert picture_file(folder, row.image_id).read_bytes() == picture_file(sound, row.source).read_bytes()
        assert mask_file(folder, row.image_id).read_bytes() == mask_file(sound, row.source).read_bytes()
        copy, original = metadata.loc[row.image_id], metadata.loc[row.source]
        assert copy["lesion_id"] == row.lesion_id != original["lesion_id"]
        pd.testing.assert_series_equal(copy.drop("lesion_id"), original.drop("lesion_id"), check_names=False)


def test_a_near_duplicate_is_turned_and_recompressed_and_its_mask_with_it(sound, planted):
    folder, turns = planted[0], set()
    for row in rows(planted, "near_duplicates").itertuples():
        assert picture_file(folder, row.image_id).stat().st_size < picture_file(sound, row.source).stat().st_size
        grey = np.asarray(picture(folder, row.image_id).convert("L"), float)
        inside, agreement = mask(folder, row.image_id), {}
        for turn in Image.Transpose:
            original = np.asarray(picture(sound, row.source).convert("L").transpose(turn), float)
            if original.shape == grey.shape:
                agreement[turn] = np.corrcoef(original.ravel(), grey.ravel())[0, 1]
        turns.add(turn := max(agreement, key=agreement.get))
        original = np.asarray(Image.fromarray(mask(sound, row.source)).transpose(turn))
        assert agreement[turn] > 0.6
        assert (original & inside).sum() / (original | inside).sum() > 0.8
    assert len(turns) > 2


def test_a_mislabelled_lesion_has_another_dx_in_all_its_rows(sound, planted):
    before, after = (read(folder).metadata.set_index("image_id") for folder in (sound, planted[0]))
    wrong = rows(planted, "mislabelled").set_index("image_id")
    assert set(wrong.index) == set(before.index[before["lesion_id"].isin(wrong["lesion_id"])])
    assert (wrong["source"] == before["dx"][wrong.index]).all()
    assert (after["dx"][wrong.index] != wrong["source"]).all()
    assert (after.groupby("lesion_id")["dx"].nunique() == 1).all()
    others = before.index.difference(wrong.index)
    assert (after["dx"][others] == before["dx"][others]).all()


def test_blurred_images_lose_their_sharpness_and_empty_ones_show_nothing(sound, planted):
    folder = planted[0]
    for image_id in rows(planted, "blurred")["image_id"]:
        before, after = (measure.quality(picture(place, image_id))["sharpness"] for place in (sound, folder))
        assert after < before / 5
    for image_id in rows(planted, "empty")["image_id"]:
        assert np.asarray(picture(folder, image_id), float).std(axis=(0, 1)).max() < 3
        assert not mask(folder, image_id).any()
        truth = read(folder).metadata.set_index("image_id").loc[image_id].filter(like="true_")
        assert (truth.drop("true_fitzpatrick") == 0).all()


def test_the_same_seed_plants_the_same_and_another_seed_does_not(sound, planted, tmp_path):
    for name, seed in (("same", 0), ("other", 1)):
        shutil.copytree(sound, tmp_path / name)
        plants.plant(tmp_path / name, seed, **COUNTS)
    assert sha256(tmp_path / "same") == sha256(planted[0]) != sha256(tmp_path / "other")


def test_too_few_lesions_are_refused_by_kind_and_number_and_nothing_is_changed(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "set")
    n = read(sound).metadata["lesion_id"].nunique()
    with pytest.raises(ValueError, match=rf"mislabelled is 6, but 5 of {n} lesions are left"):
        plants.plant(tmp_path / "set", 0, near_duplicates=n - 5, mislabelled=6)
    with pytest.raises(ValueError, match=r"blurred is -1"):
        plants.plant(tmp_path / "set", 0, blurred=-1)
    assert sha256(tmp_path / "set") == sha256(sound)


def test_a_set_is_not_planted_twice(planted):
    with pytest.raises(ValueError, match=r"plants\.csv: this set has plants already; write the set again"):
        plants.plant(planted[0], 0, empty=1)
