"""The arms differ in what they claim to differ in, and in nothing else."""

import numpy as np
import pytest

from p2d_lib.classify import arms

REAL = np.repeat([0, 1, 4, 5], [10, 20, 30, 140])
SYNTHETIC = np.repeat([0, 1, 4, 5], 12)
BUDGET = {"steps": 40, "batch_size": 16, "share": 0.5, "seed": 3}


@pytest.fixture
def drawn():
    return {arm: arms.draws(arm, REAL, SYNTHETIC, **BUDGET) for arm in arms.ARMS}


def test_every_arm_has_the_same_budget(drawn):
    assert {draws.shape for draws in drawn.values()} == {(40, 16)}


def test_arms_share_their_real_draws_place_for_place(drawn):
    for arm in ("real+replay", "mixed"):
        np.testing.assert_array_equal(drawn[arm][:, :8], drawn["real"][:, :8])


def test_replay_draws_the_very_classes_that_mixed_draws_but_real_images_of_them(drawn):
    dx = np.concatenate([REAL, SYNTHETIC])
    replay, mixed = drawn["real+replay"][:, 8:], drawn["mixed"][:, 8:]
    np.testing.assert_array_equal(dx[replay], dx[mixed])
    assert replay.max() < len(REAL) <= mixed.min()
    assert np.unique(dx[mixed], return_counts=True)[1].tolist() == [80, 80, 80, 80]


def test_no_real_image_enters_synthetic_and_no_synthetic_one_real(drawn):
    assert drawn["synthetic"].min() >= len(REAL) > drawn["real"].max()


def test_synthetic_images_of_a_class_are_used_equally_often(drawn):
    times = np.bincount(drawn["synthetic"].ravel() - len(REAL), minlength=len(SYNTHETIC))
    assert times.max() - times.min() <= 1


def test_another_seed_draws_otherwise(drawn):
    other = arms.draws("mixed", REAL, SYNTHETIC, **{**BUDGET, "seed": 4})
    assert not np.array_equal(other, drawn["mixed"])


def test_what_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(ValueError, match="no arm 'fake'"):
        arms.draws("fake", REAL, SYNTHETIC, **BUDGET)
    with pytest.raises(ValueError, match="no synthetic image is accepted"):
        arms.draws("mixed", REAL, SYNTHETIC[:0], **BUDGET)
    with pytest.raises(ValueError, match="images of class df"):
        arms.draws("real+replay", REAL, np.append(SYNTHETIC, 3), **BUDGET)
