import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from p2d_lib.instruments.colour import lab, linear
from p2d_lib.prep import measure
from p2d_lib.schemas import MEASUREMENTS

SKIN = (214, 170, 148)


def shape(draw, size=(200, 150)) -> np.ndarray:
    mask = Image.new("1", size)
    draw(ImageDraw.Draw(mask))
    return np.asarray(mask)


DISC = shape(lambda d: d.ellipse((60, 35, 140, 115), fill=1))
ELLIPSE = shape(lambda d: d.ellipse((30, 55, 170, 105), fill=1))
HALF_DISC = shape(lambda d: d.pieslice((60, 35, 140, 115), -90, 90, fill=1))
STAR = shape(
    lambda d: d.polygon(
        [(100 + r * math.sin(k * math.pi / 5), 75 - r * math.cos(k * math.pi / 5)) for k, r in enumerate([60, 20] * 5)],
        fill=1,
    )
)


def picture(lesion: list[tuple[int, int, int]], skin=SKIN) -> tuple[Image.Image, Image.Image]:
    """A 200 x 100 px image of `skin` whose lesion, 100 x 50 px, is striped in equal shares by the colours given."""
    image, mask = Image.new("RGB", (200, 100), skin), Image.new("L", (200, 100))
    width = 100 // len(lesion)
    for k, colour in enumerate(lesion):
        box = (50 + k * width, 25, 50 + (k + 1) * width - 1, 74)
        ImageDraw.Draw(image).rectangle(box, fill=colour)
        ImageDraw.Draw(mask).rectangle(box, fill=255)
    return image, mask


def test_lab_is_that_of_scikit_image():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.abs(lab(linear(pixels)) - rgb2lab(pixels)).max() < 0.05


def test_what_is_measured_is_what_the_schema_holds():
    assert ["image_id", *measure.NAMES] == list(MEASUREMENTS.columns)


def test_a_disc_has_no_irregular_border_and_a_star_has():
    disc, half, star = map(measure.border_irregularity, (DISC, HALF_DISC, STAR))
    assert disc < 0.03
    assert half == pytest.approx(1 - 2 * math.pi**2 / (math.pi + 2) ** 2, abs=0.05)  # 0.253, by its formula
    assert star > 0.5


@pytest.mark.parametrize("angle", [15, 45, 70])
def test_border_and_asymmetry_do_not_depend_on_how_the_camera_was_held(angle):
    for mask in (ELLIPSE, HALF_DISC, STAR):
        turned = np.asarray(Image.fromarray(mask).rotate(angle, expand=True))
        assert measure.border_irregularity(turned) == pytest.approx(measure.border_irregularity(mask), abs=0.03)
        if mask is not STAR:  # whose principal axes are any axes
            assert measure.asymmetry(turned) == pytest.approx(measure.asymmetry(mask), abs=0.02)


def test_discs_and_ellipses_fold_onto_themselves_and_a_half_disc_only_over_one_axis():
    assert measure.asymmetry(DISC) < 0.03
    assert measure.asymmetry(ELLIPSE) < 0.03
    # folded over the axis through its centroid, 4/(3 pi) of the radius from the straight side
    y, x = np.mgrid[-1:1:1001j, 0:1:501j]
    inside = x**2 + y**2 <= 1
    mirrored = 8 / (3 * math.pi) - x
    single = (inside & ((mirrored < 0) | (mirrored**2 + y**2 > 1))).sum() / inside.sum()
    assert measure.asymmetry(HALF_DISC) == pytest.approx(single / 2, abs=0.02)


def test_the_diameter_is_the_longest_way_across():
    assert measure.diameter(ELLIPSE) == pytest.approx(141, abs=1)
    assert measure.diameter(np.eye(5, dtype=bool)[:1]) == 1


def test_the_diameter_is_that_of_the_published_image_at_any_working_width():
    image, mask = picture([(90, 60, 40)])
    large = measure.measure(image.resize((800, 400)), mask.resize((800, 400), Image.Resampling.NEAREST))
    small = measure.measure(image, mask)
    assert large["area"] == pytest.approx(small["area"]) == pytest.approx(0.25)
    assert large["diameter"] == pytest.approx(4 * small["diameter"])


@pytest.mark.parametrize("colour", measure.COLOURS)
def test_each_reference_colour_is_read_as_itself_on_light_skin(colour):
    hues = measure.COLOURS[colour]
    shares = measure.measure(*picture(list(hues[:4]), skin=measure.LIGHT_SKIN))
    assert shares[colour] == pytest.approx(1)
    assert shares["n_colors"] == 1


def test_planted_shares_of_colours_are_found():
    measured = measure.measure(*picture([(166, 123, 91), (66, 37, 24), (66, 37, 24), (34, 34, 34)], measure.LIGHT_SKIN))
    assert measured["light_brown"] == pytest.approx(0.25, abs=0.01)
    assert measured["dark_brown"] == pytest.approx(0.5, abs=0.01)
    assert measured["black"] == pytest.approx(0.25, abs=0.01)
    assert measured["n_colors"] == 3


def test_skin_inside_the_mask_is_no_colour():
    measured = measure.measure(*picture([SKIN, (66, 37, 24)]))
    assert sum(measured[colour] for colour in measure.COLOURS) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("cast", [(1.0, 0.8, 0.9), (0.85, 0.9, 1.0), (0.8, 0.8, 0.8)])
def test_colours_are_read_against_the_skin_so_a_tinted_lamp_changes_nothing(cast):
    def tinted(colour):
        light = [0.9 * gain * ((v / 255 + 0.055) / 1.055) ** 2.4 for gain, v in zip(cast, colour, strict=True)]
        return tuple(round(255 * (1.055 * v ** (1 / 2.4) - 0.055)) for v in light)

    lesion = [(111, 78, 55), (171, 78, 82)]  # moderate brown, moderate red
    plain = measure.measure(*picture(lesion, measure.LIGHT_SKIN))
    measured = measure.measure(*picture([tinted(colour) for colour in lesion], tinted(measure.LIGHT_SKIN)))
    for colour in measure.COLOURS:
        assert measured[colour] == pytest.approx(plain[colour], abs=0.01)


def test_ita_and_lightness_are_those_of_the_skin_and_black_corners_do_not_count():
    image, mask = picture([(66, 37, 24)])
    lightness, _, b = rgb2lab(np.array([[SKIN]], np.uint8))[0, 0]
    draw = ImageDraw.Draw(image)
    for x in (0, 170):
        draw.rectangle((x, 0, x + 29, 99), fill=(4, 3, 3))
    measured = measure.measure(image, mask)
    assert measured["skin_lightness"] == pytest.approx(lightness, abs=0.1)
    assert measured["ita"] == pytest.approx(math.degrees(math.atan((lightness - 50) / b)), abs=0.2)


def test_contrast_is_the_colour_difference_and_a_single_colour_has_no_spread():
    measured = measure.measure(*picture([(90, 60, 40)]))
    lesion, skin = rgb2lab(np.array([[(90, 60, 40), SKIN]], np.uint8))[0]
    assert measured["skin_contrast"] == pytest.approx(np.linalg.norm(lesion - skin), abs=0.1)
    assert measured["color_spread"] == pytest.approx(0, abs=1e-3)
    two = measure.measure(*picture([(90, 60, 40), SKIN]))
    assert two["color_spread"] == pytest.approx(np.linalg.norm(lesion - skin) / 2, abs=0.1)


@pytest.mark.parametrize("mask", [None, Image.new("L", (200, 100))], ids=["no mask", "an empty one"])
def test_without_a_lesion_nothing_is_measured(mask):
    assert all(math.isnan(value) for value in measure.measure(picture([(90, 60, 40)])[0], mask).values())


def test_without_skin_the_colours_stay_unknown_and_the_shape_does_not():
    image, _ = picture([(90, 60, 40)])
    measured = measure.measure(image, Image.new("L", (200, 100), 255))
    assert measured["area"] == 1
    assert all(math.isnan(measured[name]) for name in (*measure.COLOURS, "n_colors", "skin_contrast", "ita"))


def noise(blur: float, size=(200, 150)) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, 40, (*size[::-1], 1)) * np.ones(3)
    return Image.fromarray(np.clip(150 + gaussian_filter(grain, (blur, blur, 0)) * (1 + blur), 0, 255).astype(np.uint8))


def test_a_blurred_image_is_less_sharp_and_a_flat_one_not_at_all():
    sharpness = [measure.quality(noise(blur))["sharpness"] for blur in (0, 1, 2, 4)]
    assert all(a > 3 * b for a, b in pairwise(sharpness))
    assert measure.quality(Image.new("RGB", (200, 150), SKIN))["sharpness"] == 0


def test_hair_is_the_share_of_the_image_under_long_dark_lines():
    plain, hairy = Image.new("RGB", (200, 150), SKIN), Image.new("RGB", (200, 150), SKIN)
    pen = ImageDraw.Draw(hairy)
    for k in range(4):
        pen.line((10, 20 + 30 * k, 190, 40 + 30 * k), (40, 30, 25), 2)
    under = np.mean(np.asarray(hairy.convert("L")) < 100)
    pen.ellipse((90, 5, 110, 12), (40, 30, 25))  # a globule is no hair
    assert measure.quality(plain)["hair"] == 0
    assert measure.quality(hairy)["hair"] == pytest.approx(under, rel=0.02)


@pytest.mark.parametrize("turn", [0, 20, 90])
def test_a_ruler_is_counted_by_its_ticks_however_it_lies(turn):
    image = Image.new("RGB", (200, 150), SKIN)
    pen = ImageDraw.Draw(image)
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    for k in range(-6, 6):
        x, y = 100 + 11 * k * c, 75 + 11 * k * s
        pen.line((x, y, x - 8 * s, y + 8 * c), (20, 20, 20), 2)
    assert 9 <= measure.quality(image)["ruler"] <= 12
    assert measure.quality(Image.fromarray(np.uint8(np.asarray(image) * 0 + 150)))["ruler"] == 0


def test_the_two_angles_of_skin_tone_agree_on_even_skin_and_part_under_a_shadow():
    image, mask = picture([(90, 60, 40)])
    even = measure.measure(image, mask)
    assert even["ita"] == pytest.approx(even["ita_patches"], abs=0.1)
    shaded = np.asarray(image) * np.linspace(0.5, 1, 200)[:, None]
    dark = measure.measure(Image.fromarray(shaded.astype(np.uint8)), mask)
    assert dark["ita_patches"] > dark["ita"] + 10
