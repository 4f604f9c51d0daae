import json
import shutil
import subprocess
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from p2d_lib.generators import BASELINES
from p2d_lib.parameters.classify import ARMS
from p2d_lib.report import figures
from p2d_lib.run import Run


class Phantom(Run):
    """A run whose cases are the phantom's."""

    note = "phantom data"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    yield Phantom("demo", "05_fidelity")
    plt.close("all")


def forest():
    figure, axis = plt.subplots()
    values = np.random.default_rng(0).normal(size=(3, 1)) + np.array([0, -1, 2])
    figures.forest(axis, ["a", "b", "c"], {"base": values, "adapter": values + 1})
    axis.legend()
    axis.set_xlabel("FID")
    return figure


def pixels(run, name):
    return np.asarray(Image.open(run.figures / f"{name}.png").convert("RGB")).astype(float)


def test_the_same_data_give_the_same_files(run):
    for name in ("one", "two"):
        figures.save(run, name, forest())
    for suffix in ("pdf", "png"):
        assert (run.figures / f"one.{suffix}").read_bytes() == (run.figures / f"two.{suffix}").read_bytes()


def test_saving_again_changes_nothing(run):
    figure = figures.save(run, "once", forest())
    figures.save(run, "twice", figure)
    assert (pixels(run, "once") == pixels(run, "twice")).all()
    assert [text.get_text() for text in figure.texts] == ["phantom data"]


def test_the_note_stands_alone_in_its_strip(run):
    figure = figures.save(run, "f", forest())
    figure.draw_without_rendering()
    note = figure.texts[0].get_window_extent()
    assert note.y0 >= 0 and note.x1 <= figure.bbox.x1
    assert figure.axes[0].get_tightbbox().y0 >= note.y1


def test_real_data_carry_no_note(run, monkeypatch):
    monkeypatch.setattr(Phantom, "note", "")
    assert figures.save(run, "f", forest()).texts == []


@pytest.mark.skipif(not shutil.which("pdffonts"), reason="pdffonts (poppler-utils) is not installed: fonts not checked")
def test_every_font_of_a_pdf_is_embedded(run):
    figures.save(run, "f", forest())
    listed = subprocess.run(["pdffonts", run.figures / "f.pdf"], capture_output=True, text=True, check=True).stdout
    fonts = [line.split() for line in listed.splitlines()[2:]]
    assert fonts and all(font[-5] == "yes" and "TrueType" in font for font in fonts), listed


def test_colours_stay_apart_for_colour_blind_readers():
    # Machado, Oliveira, Fernandes, IEEE TVCG 2009, severity 1; on linear RGB
    deuteranopia = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    protanopia = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    linear = np.array([mpl.colors.to_rgb(colour) for colour in figures.OKABE_ITO]) ** 2.2
    for sight in (np.eye(3), deuteranopia, protanopia):
        as_seen = rgb2lab(np.clip(linear @ np.transpose(sight), 0, 1) ** (1 / 2.2))
        assert min(deltaE_ciede2000(a, b) for a, b in combinations(as_seen, 2)) > 9


def test_each_colour_is_seen_as_a_line_on_white():
    assert min(1.05 / (figures.luminance(colour) + 0.05) for colour in figures.OKABE_ITO) > 2.2
    assert 1.05 / (figures.luminance("#F0E442") + 0.05) < 1.4  # the yellow that was left out


def test_a_grid_puts_each_image_in_its_row_and_block():
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    red, green, blue = (np.tile(colour, (4, 32, 32, 1)) for colour in colours)
    figure = figures.grid(
        [np.concatenate([red[:2], green[:2]]), blue[:3]], ["one", "two"], ["real", "synthetic"], blocks=2
    )
    page = figure.axes[0].images[0].get_array()
    assert [tuple(page[16, x]) for x in (16, 49, 86, 119)] == [tuple(colours[i]) for i in (0, 0, 1, 1)]
    assert tuple(page[48, 16]) == tuple(colours[2]) and tuple(page[48, 119]) == (255, 255, 255)  # three of four
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["real", "synthetic"]
    assert list(figure.axes[0].get_xticks()) == [32.5, 102.5] and list(figure.axes[0].get_yticks()) == [16, 49]
    within, between = page[16, 32:33], page[16, 65:70]
    assert (within == 255).all() and (between == 255).all()
    plt.close(figure)


def test_rows_of_a_grid_may_have_blocks_of_their_own():
    images = np.zeros((4, 32, 32, 3), np.uint8)
    axis = figures.grid([images] * 3, titles=["left", "right"], blocks=[1, 2, 4]).axes[0]
    assert axis.get_xticks().tolist() == [32.5, 98.5], "above the first row, without a gap of blocks"
    page = axis.images[0].get_array()
    white = [np.flatnonzero((page[top] == 255).all(1)) for top in (0, 33, 66)]
    gaps = [[len(gap) for gap in np.split(row, np.flatnonzero(np.diff(row) > 1) + 1)] for row in white]
    assert gaps == [[1, 1, 1, 12], [1, 5, 1, 8], [5, 5, 5]], "the last one is what the longest row has more"
    plt.close("all")


def test_a_grid_is_as_wide_as_the_text_and_nothing_is_clipped(run):
    images = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), np.uint8)
    figure = figures.grid([images] * 7, ["melanocytic nevus"] * 7, ["real", "synthetic"], blocks=2)
    figures.save(run, "g", figure)
    figure.draw_without_rendering()
    box = figure.axes[0].get_tightbbox()
    assert figure.get_figwidth() == figures.TEXT_WIDTH
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert box.width > 0.93 * figure.bbox.width


def test_long_labels_of_a_tall_grid_are_whole_at_the_first_drawing():
    figure = figures.grid([np.zeros((6, 8, 8, 3), np.uint8)] * 21, ["irregular dots and globules"] * 21)
    figure.draw_without_rendering()
    assert figure.axes[0].get_tightbbox().x0 >= 0
    plt.close(figure)


def test_a_forest_shows_the_first_label_on_top_and_each_interval_where_it_is():
    figure, axis = plt.subplots()
    figures.forest(axis, ["first", "second"], {"x": [[1, 0, 3], [np.nan] * 3]})
    assert axis.yaxis_inverted() and [tick.get_text() for tick in axis.get_yticklabels()] == ["first", "second"]
    (whisker,) = axis.containers[0][2]
    assert whisker.get_segments()[0][:, 0].tolist() == [0, 3]
    plt.close(figure)


def test_a_generator_real_images_and_an_arm_look_the_same_in_every_figure_and_unlike_the_others_in_it():
    for known in (("adapter", "base", "real", *BASELINES), (*ARMS, "real+replay:skin-tones", "mixed:skin-tones")):
        looks = dict(zip(known, figures.looks(known), strict=True))
        assert figures.looks(known[::-1]) == list(looks.values())[::-1]
        assert [figures.looks(["mine", name])[1] for name in known] == list(looks.values())
        assert figures.looks(["real (val)"]) == [looks["real"]]
        other, again = figures.looks(["mine", *known[:4], "yours"])[:: len(known[:4]) + 1]
        assert other != again and not {other["color"], again["color"]} & {looks[name]["color"] for name in known[:4]}
    assert len({look["color"] for look in figures.looks(ARMS)}) == len(ARMS)
    assert len(figures.looks([str(k) for k in range(20)])) == 20


def test_a_forest_draws_each_series_as_it_looks_everywhere():
    figure, axis = plt.subplots()
    figures.forest(axis, ["a"], {name: [[1, 0, 2]] for name in ("base", "adapter")})
    points = [container[0] for container in axis.containers]
    drawn = [{"color": point.get_color(), "marker": point.get_marker()} for point in points]
    assert drawn == figures.looks(["base", "adapter"]) and drawn[0]["color"] == figures.OKABE_ITO[1]
    plt.close(figure)


def test_a_caption_is_kept_beside_both_files(run):
    figures.save(run, "f", forest(), caption="FID of three classes.")
    for suffix in ("pdf", "png"):
        sidecar = run.folder / "figures" / f"f.{suffix}.provenance.json"
        assert json.loads(sidecar.read_text())["caption"] == "FID of three classes."


def test_boxes_are_quartiles_and_whiskers_the_outer_twentieths():
    table = pd.DataFrame({"dx": ["mel"] * 101 + ["nv"] * 101, "area": [*range(101), *range(1000, 1101)]})
    figure, axis = plt.subplots()
    figures.boxes(axis, table, "dx", "area")
    box, other = (patch.get_path().get_extents() for patch in axis.patches)
    assert (box.y0, box.y1) == (25, 75) and (other.y0, other.y1) == (1025, 1075)
    heights = {float(y) for line in axis.lines for y in line.get_ydata()}
    assert {5.0, 50.0, 95.0} <= heights and not {0.0, 100.0} & heights
    plt.close(figure)


def test_boxes_of_ordered_classes_are_as_wide_as_those_of_names_and_stand_above_their_labels():
    names = pd.DataFrame({"dx": ["mel", "mel", "nv", "nv"], "area": [1.0, 2.0, 3.0, 4.0]})
    ordered = names.assign(dx=pd.Categorical(names["dx"], ["nv", "mel"], ordered=True))
    for table in (names, ordered):
        figure, axis = plt.subplots()
        figures.boxes(axis, table, "dx", "area")
        extents = [patch.get_path().get_extents() for patch in axis.patches]
        assert [round(float(box.width), 6) for box in extents] == [0.7, 0.7]
        assert [round(float(box.x0 + box.x1) / 2, 6) for box in extents] == [0, 1]
        plt.close(figure)


def test_dots_are_spread_about_their_line_in_the_same_way_each_time():
    values = pd.DataFrame({"value": [0.5] * 20 + [0.7] * 20, "arm": ["real"] * 20 + ["mixed"] * 20})
    places = []
    for _ in range(2):
        _, axis = plt.subplots()
        figures.strip(axis, values, x="value", y="arm", spread=0.25, hue="arm")
        places.append(np.concatenate([np.array(dots.get_offsets()) for dots in axis.collections]))
        plt.close("all")
    assert np.array_equal(*places)
    x, y = places[0].T
    assert set(x[np.round(y) == 0]) == {0.5} and set(x[np.round(y) == 1]) == {0.7}
    assert len(np.unique(y)) == 40 and 0.2 < np.abs(y - np.round(y)).max() <= 0.25


def test_a_heat_map_shades_by_value_in_the_order_of_the_table_and_leaves_nothing_white():
    figure, axis = plt.subplots()
    figures.heat_map(axis, pd.DataFrame([[0.0, 1.0], [np.nan, 0.5]], ["first", "second"], ["a", "b"]))
    (mesh,) = axis.collections
    mesh.update_scalarmappable()
    low, high, missing, middle = mesh.get_facecolors()
    cividis = mpl.colormaps["cividis"]
    assert np.allclose(low, cividis(0.0)) and np.allclose(high, cividis(1.0)) and np.allclose(middle, cividis(0.5))
    assert missing[3] == 0
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["first", "second"] and axis.yaxis_inverted()
    plt.close(figure)


def test_a_confusion_is_in_percent_of_the_true_class_rows_true_columns_read():
    figure, axis = plt.subplots()
    figures.confusion(axis, np.array([[3, 1, 0], [0, 0, 0], [0, 5, 5]]), ["x", "y", "z"])
    shown = np.array([text.get_text() for text in axis.texts]).reshape(3, 3).tolist()
    assert shown == [["75", "25", "0"], ["0", "0", "0"], ["0", "50", "50"]]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("read as", "true class")
    plt.close(figure)


def test_numbers_on_a_heat_map_can_be_read_on_every_shade():
    for low, high in ((0, 1), (-1, 1)):
        figure, axis = plt.subplots()
        values = np.append(np.linspace(low, high, 11), np.nan).reshape(1, -1)
        figures.heat_map(axis, pd.DataFrame(values), low, high, numbers=".1f")
        shades = axis.collections[0].get_facecolors()
        assert len(axis.texts) == 11
        for text, shade in zip(axis.texts, shades, strict=False):
            lighter, darker = sorted(map(figures.luminance, (text.get_color(), shade)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) > 4.5, text.get_text()  # AA of WCAG 2.1
        assert axis.texts[0].get_text() == ("−1.0" if low < 0 else "0.0")
        plt.close(figure)


def test_confusions_have_their_labels_outside_and_an_odd_one_stands_alone_on_top():
    figure = figures.confusions({title: np.eye(2, dtype=int) for title in "abc"}, ["x", "y"])
    figure.draw_without_rendering()
    assert [axis.get_visible() for axis in figure.axes] == [True, False, True, True]
    shown = [axis for axis in figure.axes if axis.get_visible()]
    named = [[label.get_text() for label in axis.get_xticklabels() if label.get_visible()] for axis in shown]
    assert named == [[], ["x", "y"], ["x", "y"]]
    assert [axis.get_title()[0] for axis in shown] == ["a", "b", "c"]
    assert [axis.get_xlabel() for axis in shown] == ["", "read as", "read as"]
    assert [axis.get_ylabel() for axis in shown] == ["true class", "true class", ""]
    plt.close(figure)


def test_losses_show_the_running_mean_and_vals_loss_where_it_was_measured():
    log = pd.DataFrame({"step": range(100), "loss": [1.0, 3.0] * 50, "val_loss": [np.nan] * 99 + [2.5]})
    figure, axis = plt.subplots()
    figures.losses(axis, log)
    _, mean, val = axis.lines
    assert np.ptp(mean.get_ydata()[10:]) <= 0.5 and abs(mean.get_ydata()[-1] - 2) <= 0.25
    assert val.get_xydata().tolist() == [[99, 2.5]]
    figures.losses(axis, log.drop(columns="val_loss"))
    assert len(axis.lines) == 5
    early = pd.DataFrame({"step": range(300), "loss": [9.0, *[1.0] * 299]})
    figures.losses(axis, early)
    assert axis.lines[-1].get_ydata().max() <= axis.get_ylim()[1], "the beginning of the running mean is in the frame"
    plt.close(figure)
