"""Masks that mark something else than the lesion are refused or named; lesions of any size and place are not."""

import numpy as np
import pytest
from PIL import Image
from raw_set import MASKS, prepare

from p2d_lib.images import ImageError
from p2d_lib.prep import masks
from p2d_lib.run import Run

ROWS, COLUMNS = np.mgrid[:30, :40]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 < radius**2


def check(inside: np.ndarray, dtype=np.uint8) -> None:
    levels = Image.fromarray((255 * inside).astype(dtype))
    masks.refuse_unfit(levels, "m.png", Image.new("RGB", (40, 30)), "p.jpg")


def test_a_mask_that_marks_the_skin_is_refused():
    with pytest.raises(ImageError, match=r"m\.png: is bright along its whole border and dark within.*invert it"):
        check(~disc(15, 20, 8))


@pytest.mark.parametrize(
    "inside",
    [disc(15, 20, 8), disc(15, 20, 24), disc(0, 0, 30), np.ones((30, 40)), np.zeros((30, 40)), disc(15, 20, 3)],
    ids=["usual", "large", "at a corner", "all", "empty", "small"],
)
def test_a_lesion_of_any_size_and_place_is_none(inside):
    check(inside)


def test_a_picture_in_place_of_a_mask_is_refused_and_a_soft_edge_is_not():
    rng = np.random.default_rng(0)
    with pytest.raises(ImageError, match=r"m\.png: \d+% of its pixels are grey, as in a picture"):
        check(rng.normal(0.6, 0.1, (30, 40)).clip(0, 1))
    check((8.5 - np.hypot(ROWS - 15, COLUMNS - 20)).clip(0, 1))


@pytest.fixture
def draw(folder):
    """Writes the mask of every image of the set."""

    def write(inside: np.ndarray) -> None:
        for path in sorted((folder / MASKS).iterdir()):
            Image.fromarray(np.uint8(255 * inside)).save(path)

    return write


def test_a_set_whose_masks_are_all_inverted_is_refused_though_each_alone_may_be_a_large_lesion(folder, draw):
    draw(~disc(15, 0, 14))  # the lesion reaches the border, so that the border is not all bright
    with pytest.raises(ImageError, match=r"42 of 42 masks mark three or four corners .*invert them"):
        prepare(folder, Run("t", "01_prep"), "quarantine")


def test_masks_of_lesions_that_reach_a_corner_are_not_taken_for_inverted_ones(folder, draw):
    draw(disc(0, 0, 14))
    _, measurements = prepare(folder, Run("t", "01_prep"))
    assert measurements["area"].between(0.1, 0.2).all()


def test_masks_of_nearly_the_whole_image_are_counted_in_a_sentence(folder, draw):
    draw(np.ones((30, 40)))
    for k in range(30):  # most are as they should be
        Image.fromarray(np.uint8(255 * disc(15, 20, 8))).save(folder / MASKS / f"ISIC_{k:07d}_segmentation.png")
    _, measurements = prepare(folder, Run("t", "01_prep"))
    assert masks.sentence(measurements["area"]).startswith("12 masks cover more than 90% of the image")
    assert masks.sentence(measurements["area"][:30]) == ""


def test_a_mask_in_the_alpha_channel_is_refused(folder):
    levels = np.full((30, 40, 4), 255, np.uint8)
    levels[..., 3] = 255 * disc(15, 20, 8)
    Image.fromarray(levels).save(folder / MASKS / "ISIC_0000007_segmentation.png")
    with pytest.raises(ImageError, match=r"ISIC_0000007_segmentation\.png: has transparent pixels"):
        prepare(folder, Run("t", "01_prep"))
