"""The sheet shows the planted neighbours, picks no image, and finds the most suspicious ones."""

import numpy as np
import pandas as pd
import pytest
from small_sets import CLASSES, eye

from p2d_lib.fidelity import neighbours


@pytest.fixture(scope="module")
def synthetic(run):
    """Copies of real images stand for synthetic ones: of train images for bcc and bkl, of test images for others."""
    parts = []
    for dx in CLASSES:
        split = "train" if dx in ("bcc", "bkl") else "test"
        of_class = run.table[(run.table["dx"] == dx) & (run.table["split"] == split)].head(3)
        ratio = [0.1, 0.5, 0.6] if dx == "bcc" else [0.7, 0.8, 0.9]
        parts.append(of_class.assign(seed=[7, 5, 6], nearest_ratio=ratio, copy_of=of_class["image_id"]))
    table = pd.concat(parts, ignore_index=True).assign(generator="adapter")
    return table.assign(nearest_case=run.table.loc[run.table["split"] == "train", "image_id"].iloc[0])


def test_the_first_of_each_class_in_the_plan_and_the_lowest_ratios_are_shown(synthetic):
    others = synthetic.assign(generator="base", seed=0, nearest_ratio=0.01)
    shown = neighbours.rows(pd.concat([others, synthetic]))
    first, suspicious = (shown[shown["why"] == why] for why in (neighbours.FIRST, neighbours.SUSPICIOUS))
    assert first["seed"].tolist() == [7] * 4 and first["dx"].tolist() == ["bcc", "bkl", "mel", "nv"]
    assert suspicious["nearest_ratio"].tolist() == [0.1, 0.5, 0.6, 0.7]


def test_planted_copies_are_their_own_neighbours_and_new_images_are_about_as_near_as_real_ones(run, synthetic):
    shown = neighbours.nearest(run, neighbours.rows(synthetic), run.table, eye)
    of_train = shown["dx"].isin(["bcc", "bkl"])
    assert (shown["train"] == shown["copy_of"])[of_train].all() and (shown["test"] == shown["copy_of"])[~of_train].all()
    assert shown.loc[of_train, "train_distance"].max() == pytest.approx(0, abs=1e-6)
    assert 0.2 < shown.loc[~of_train, "train_distance"].median() < 5
    figure = neighbours.sheet(run, shown)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert texts.count("0.00") == of_train.sum() + (~of_train).sum()
    images = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert len(images) == 2 * 4 * 4 and np.asarray(images[0]).shape == (64, 64, 3)
