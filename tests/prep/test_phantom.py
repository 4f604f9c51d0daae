"""What the phantom promises: the same again for the same seed, HAM10000's layout, and a truth that the pixels show."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats
from skimage.color import rgb2lab
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.files import sha256
from p2d_lib.images import read
from p2d_lib.prep import phantom
from p2d_lib.prep.phantom import dataset, lesions, patients
from p2d_lib.prep.phantom.camera import CAMERAS, View
from p2d_lib.vocabulary import DX, FEATURES, HAM10000_LESIONS, SITES

SMALL = (64, 48)


def lesion(dx: str, seed: int = 0, fitzpatrick: int = 2) -> lesions.Lesion:
    return phantom.make_lesion(np.random.default_rng(seed), dx, fitzpatrick)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    """420 images, every class as likely: (folder, metadata, truth, images (n, 48, 64, 3), masks (n, 48, 64))."""
    folder = tmp_path_factory.mktemp("phantom") / "set"
    phantom.write(folder, 420, seed=1, tail=0.0, camera="clinic", size=SMALL, progress=False)
    metadata, truth = pd.read_csv(folder / "HAM10000_metadata.csv"), pd.read_csv(folder / "truth.csv")
    paths = {path.stem: path for path in folder.glob("HAM10000_images_part_*/*.jpg")}
    images = np.stack([read(paths[image_id]) for image_id in metadata["image_id"]])
    places = folder / "HAM10000_segmentations_lesion_tschandl"
    masks = np.stack([read(places / f"{image_id}_segmentation.png")[..., 0] for image_id in metadata["image_id"]])
    return folder, metadata, truth, images, masks


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        phantom.write(tmp_path / name, 8, seed, tail=0.5, camera="clinic", size=SMALL, progress=False)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b") != sha256(tmp_path / "c")


def test_image_k_does_not_depend_on_how_many_images_there_are(tmp_path):
    for n in (9, 16):
        phantom.write(tmp_path / str(n), n, seed=0, tail=0.5, camera="atlas", size=SMALL, progress=False)
    few, many = (pd.read_csv(tmp_path / n / "truth.csv") for n in ("9", "16"))
    pd.testing.assert_frame_equal(few, many.head(9))
    for image_id in few["image_id"]:
        one, other = (next((tmp_path / n).glob(f"HAM*/{image_id}.jpg")).read_bytes() for n in ("9", "16"))
        assert one == other


def test_processes_that_share_the_work_write_the_same_files(tmp_path, monkeypatch):
    for name, processes, lesions_at_once in (("alone", "1", 100), ("shared", "2", 3)):
        monkeypatch.setenv("P2D_THREADS", processes)
        monkeypatch.setattr(dataset, "JOB", lesions_at_once)
        phantom.write(tmp_path / name, 9, seed=0, tail=0.5, camera="both", size=SMALL, progress=False)
    assert sha256(tmp_path / "alone") == sha256(tmp_path / "shared")


def test_the_layout_is_that_of_ham10000(balanced):
    folder, metadata, truth, _, masks = balanced
    assert sorted(path.name for path in folder.iterdir()) == [
        "HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_metadata.csv",
        "HAM10000_segmentations_lesion_tschandl", "truth.csv",
    ]  # fmt: skip
    assert list(metadata) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    assert metadata["image_id"].is_unique and metadata["image_id"].str.fullmatch(r"ISIC_00\d{5}").all()
    assert (metadata.groupby("lesion_id")["dx"].nunique() == 1).all()
    assert metadata["localization"].isin(SITES).all() and set(metadata["dataset"]) == {"phantom"}
    assert set(np.unique(masks)) == {0, 255}
    assert list(truth["image_id"]) == list(metadata["image_id"])
    scores = truth[[f"true_{name}" for name in (*FEATURES, *lesions.STRUCTURES)]]
    assert scores.min().min() >= 0 and scores.max().max() <= 1
    assert truth["true_fitzpatrick"].between(1, 6).all()


def test_class_frequencies_are_those_of_ham10000_tempered(balanced):
    lesions = balanced[1].drop_duplicates("lesion_id")["dx"].value_counts()
    expected = lesions.sum() / len(DX)
    assert (abs(lesions.reindex(DX) - expected) < 4 * np.sqrt(expected)).all()
    for tail in (0.5, 1.0):
        shares = patients.class_shares(tail)
        ratio = (HAM10000_LESIONS["nv"] / HAM10000_LESIONS["df"]) ** tail
        assert shares["nv"] / shares["df"] == pytest.approx(ratio) and sum(shares.values()) == pytest.approx(1)


def test_melanomas_are_photographed_more_often_than_nevi():
    mean = {dx: np.dot(p, np.arange(1, 7)) for dx, p in patients.VIEWS.items()}
    assert mean["mel"] > mean["bkl"] > mean["nv"]
    overall = sum(share * mean[dx] for dx, share in patients.class_shares(1.0).items())
    assert overall == pytest.approx(10015 / 7470, abs=0.05)


def test_inside_the_mask_the_image_differs_from_the_skin_around(balanced):
    *_, images, masks = balanced
    distances = []
    for image, mask in zip(images, masks > 127, strict=True):
        lab, around = rgb2lab(image), ndimage.binary_dilation(mask, iterations=7) & ~ndimage.binary_dilation(mask)
        distances.append(np.linalg.norm(np.median(lab[mask], 0) - np.median(lab[around], 0)))
    assert np.median(distances) > 10 and np.mean(np.array(distances) > 3) > 0.9


def test_the_mean_colour_does_not_give_the_class_away(balanced):
    _, metadata, _, images, _ = balanced
    colour = images.reshape(len(images), -1, 3).mean(1)
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    labels, groups = metadata["dx"].to_numpy(str), metadata["lesion_id"].to_numpy(str)
    read_as = cross_val_predict(model, colour, labels, groups=groups, cv=GroupKFold(5))
    assert balanced_accuracy_score(labels, read_as) < 0.45


def test_black_in_the_truth_is_black_in_the_image(balanced):
    _, _, truth, images, masks = balanced
    fair = (truth["true_fitzpatrick"] <= 3) & (truth["true_hair_amount"] == 0)
    dark = [np.mean(image[mask > 127].mean(-1) < 60) for image, mask in zip(images, masks, strict=True)]
    assert stats.spearmanr(truth["true_black"][fair], np.array(dark)[fair]).statistic > 0.6


def test_redness_in_the_truth_is_redness_in_the_image(balanced):
    _, _, truth, images, masks = balanced
    pixels = (rgb2lab(image)[mask > 127] for image, mask in zip(images, masks, strict=True))
    hue = [np.mean(np.arctan2(lab[:, 2], lab[:, 1])) for lab in pixels]
    assert stats.spearmanr(truth["true_red"], hue).statistic < -0.5


def test_more_hair_means_more_dark_thin_pixels():
    view, thin = View("clinic", seed=5), []
    for hairs in (0, 4, 16):
        image, _ = phantom.render(lesion("nv"), replace(view, hairs=hairs))
        grey = image.mean(-1)
        thin.append(np.sum(ndimage.grey_closing(grey, 5) - grey > 40))
    few, many = np.subtract(thin[1:], thin[0])
    assert many > 2 * few > 100


@pytest.mark.parametrize("mark", [{"ruler": True}, {"ink": True}])
def test_ruler_and_ink_of_the_truth_are_visible_in_the_central_square(mark):
    one, square = lesion("nv"), np.s_[:, 16:-16]
    for seed in range(8):
        view = View("atlas", seed=seed)
        (plain, _), (marked, _) = phantom.render(one, view), phantom.render(one, replace(view, **mark))
        darker = plain[square].astype(int).mean(-1) - marked[square].mean(-1)
        assert 0.004 < np.mean(darker > 25) < 0.2


def test_a_darker_skin_type_is_a_darker_skin():
    lightness = []
    for fitzpatrick in range(1, 7):
        skins = [phantom.render(lesion("nv", seed, fitzpatrick), View("clinic")) for seed in range(4)]
        lightness.append(np.mean([np.median(rgb2lab(image)[~mask][:, 0]) for image, mask in skins]))
    assert (np.diff(lightness) < 0).all() and lightness[0] - lightness[-1] > 25


def test_asymmetry_is_nought_for_an_oval_and_large_for_a_half_moon():
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    oval = x**2 / 0.5 + y**2 / 0.2 < 1
    moon = (np.hypot(x, y) < 0.7) & (np.hypot(x - 0.35, y) > 0.55)
    measured = [lesions.shape_truth(mask) for mask in (oval, moon)]
    assert measured[0]["true_asymmetry"] < 0.1 < 0.5 < measured[1]["true_asymmetry"]
    assert measured[0]["true_border_irregularity"] < measured[1]["true_border_irregularity"]


def test_melanomas_are_more_asymmetric_and_more_ragged_than_nevi(balanced):
    _, metadata, truth, _, _ = balanced
    for name in ("true_asymmetry", "true_border_irregularity", "true_color_variation"):
        assert truth[name][metadata["dx"] == "mel"].median() > 1.5 * truth[name][metadata["dx"] == "nv"].median()


def test_views_of_one_lesion_show_the_same_lesion():
    one = lesion("mel", seed=4)
    areas = []
    for angle in (0.0, 1.0, 2.5):
        _, mask = phantom.render(one, View("clinic", angle=angle), (160, 160))
        areas.append(mask.sum())
    assert np.ptp(areas) < 0.03 * np.mean(areas)


def test_the_two_cameras_see_the_same_lesion_through_different_optics():
    one = lesion("bkl", seed=1)
    (clinic, near), (atlas, far) = (phantom.render(one, View(camera, corner=0.5)) for camera in CAMERAS)
    assert near.sum() > 1.4 * far.sum()  # magnification
    warmth = [np.mean(image[..., 0].astype(float) - image[..., 2]) for image in (clinic, atlas)]
    assert warmth[0] > warmth[1] + 15
    even = [phantom.render(one, View(camera))[0] for camera in CAMERAS]
    corners = [image[:8, :8].mean() / full[:8, :8].mean() for image, full in zip((clinic, atlas), even, strict=True)]
    assert corners[0] < 0.85 and corners[1] == 1  # one has a vignette


def test_two_cameras_take_turns_and_each_image_is_the_one_that_its_camera_alone_would_take(tmp_path):
    pictures, lesions = {}, None
    for camera in ("clinic", "atlas", "both"):
        phantom.write(tmp_path / camera, 40, 5, tail=0.5, camera=camera, size=SMALL, progress=False)
        metadata = pd.read_csv(tmp_path / camera / "HAM10000_metadata.csv")
        paths = {path.stem: path for path in (tmp_path / camera).glob("HAM*/*.jpg")}
        pictures[camera] = [paths[image_id].read_bytes() for image_id in metadata["image_id"]]
        lesions = metadata["lesion_id"]
    by_clinic = np.array([one == other for one, other in zip(pictures["both"], pictures["clinic"], strict=True)])
    by_atlas = np.array([one == other for one, other in zip(pictures["both"], pictures["atlas"], strict=True)])
    assert (by_clinic != by_atlas).all()
    assert 0.4 <= by_clinic.mean() <= 0.6
    several = [lesion for lesion, n in lesions.value_counts().items() if n > 1]
    assert several, "no lesion of these has two views"
    for lesion_id in several:
        assert (np.diff(by_clinic[lesions == lesion_id]) == 1).all()  # of bool: each differs from the one before


@pytest.mark.parametrize(("camera", "n_images", "word"), [("phone", 5, "phone"), ("clinic", 0, "at least 1")])
def test_an_impossible_phantom_is_refused_and_leaves_no_files(tmp_path, camera, n_images, word):
    with pytest.raises(ValueError, match=word):
        phantom.write(tmp_path / "set", n_images, 0, 0.5, camera, progress=False)
    assert not any(tmp_path.iterdir())
