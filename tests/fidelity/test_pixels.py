"""Sets compared in their pixels: blocks and lost detail are measured where they were planted, and nowhere else."""

import numpy as np
import pytest
from small_sets import lesion

from p2d_lib.fidelity import controls, pixels
from p2d_lib.fidelity.sets import Sets

BLOCK = 4


def blocks_added(images, seed):
    """Each block of 4 px a little lighter or darker, as an autoencoder with one latent a block does."""
    n, side = len(images), images.shape[1] // BLOCK
    offsets = np.random.default_rng(seed).normal(0, 12, (n, side, side, 1)).repeat(BLOCK, 1).repeat(BLOCK, 2)
    return (images + offsets).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def table(run):
    chosen = Sets({split: run.table[run.table["split"] == split].reset_index(drop=True) for split in ("test", "train")})
    made = {**controls.CONTROLS, "blocks": blocks_added}
    return pixels.measured(pixels.of_sets(run, chosen, 64, BLOCK, 0, made), chosen.dx, 10)


def test_real_images_have_no_blocks_and_the_power_of_real_images(table):
    real = table.xs(("train", "all"), level=("set", "dx"))
    assert real.at["borders", "estimate"] == pytest.approx(1, abs=0.1)
    assert ((real["low"] < 1.02) & (real["high"] > 0.98)).loc[[pixels.DETAIL, *pixels.POWERS]].all()
    assert (table.xs(("test", "all"), level=("set", "dx"))["estimate"][1:] == 1).all(), "the reference itself"


def test_planted_blocks_are_measured_and_a_blur_loses_the_fine_detail_alone(table):
    of_all = table.xs("all", level="dx")
    assert of_all.at[("blocks", "borders"), "low"] > 1.5 > of_all.at[("blurred", "borders"), "high"]
    powers = of_all.loc["blurred", "estimate"]
    assert powers[pixels.DETAIL] < 0.05 and powers[pixels.POWERS[0]] > 0.8
    assert powers.loc[list(pixels.POWERS)[:4]].is_monotonic_decreasing


def test_noise_has_more_fine_detail_than_real_images_and_a_flat_colour_has_neither_steps_nor_power(table):
    of_all = table.xs("all", level="dx")
    assert of_all.at[("noise", pixels.DETAIL), "low"] > 1
    assert np.isnan(of_all.at[("flat colour", "borders"), "estimate"])
    assert of_all.loc["flat colour"]["estimate"][1:].max() < 1e-20
    assert np.isinf(of_all.at[("blocky", "borders"), "estimate"]), "no step lies inside a block"


def test_a_class_below_min_n_has_no_number(run):
    statistics = {"test": np.ones((12, 9)), "adapter": np.ones((12, 9))}
    table = pixels.measured(statistics, np.repeat(["mel", "nv"], [9, 3]), 10)
    assert table.xs("mel", level="dx")["estimate"].isna().all()
    assert (table.xs("all", level="dx")["estimate"] == 1).all()


def test_the_images_of_a_class_keep_their_own_reference():
    """A class with little detail is compared with real images of that class, not with the others."""
    statistics = {"test": np.repeat([[1.0], [9.0]], 10, axis=0) * np.ones((20, 9))}
    statistics["adapter"] = statistics["test"] / 3
    table = pixels.measured(statistics, np.repeat(["mel", "nv"], 10), 10)
    assert table.xs("adapter", level="set").xs(pixels.DETAIL, level="metric")["estimate"].tolist() == pytest.approx(
        [1 / 3] * 3
    )


def test_lesions_of_the_tests_have_fine_detail_to_lose():
    assert np.abs(np.diff(lesion("nv", 0).astype(float), axis=0)).mean() > 3
