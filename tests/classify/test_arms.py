"""The arms differ in what they claim to differ in, and in nothing else."""

import numpy as np
import pytest

from p2d_lib.classify import arms

REAL = np.repeat([0, 1, 4, 5], [10, 20, 30, 140])
SYNTHETIC = np.repeat([0, 1, 4, 5], 12)
BUDGET = {"steps": 40, "batch_size": 16, "share": 0.5, "seed": 3}


@pytest.fixture
def batches():
    return {arm: arms.batches(arm, REAL, SYNTHETIC, **BUDGET) for arm in arms.ARMS}


def test_every_arm_has_the_same_budget(batches):
    assert {of_arm.shape for of_arm in batches.values()} == {(40, 16)}


def test_arms_share_their_natural_part_place_for_place(batches):
    for arm in ("real+replay", "mixed"):
        np.testing.assert_array_equal(batches[arm][:, :8], batches["real"][:, :8])


@pytest.mark.parametrize("steps", [10, 20, 40, 90])
def test_each_real_image_is_seen_before_any_is_seen_twice_in_every_arm(steps):
    """327 images, as smoke had: 20 steps of 32 once left 78 of them unseen in mixed while 71 were seen twice."""
    real = np.arange(327) % 7
    for arm, part in (("real", slice(None)), ("real+replay", slice(16)), ("mixed", slice(16))):
        counts = arms.batches(arm, real, SYNTHETIC, steps=steps, batch_size=32, share=0.5, seed=0)[:, part]
        times = np.bincount(counts.ravel(), minlength=327)
        assert times.max() - times.min() <= 1, arm


def test_replay_has_the_very_classes_that_mixed_has_but_real_images_of_them(batches):
    dx = np.concatenate([REAL, SYNTHETIC])
    replay, mixed = batches["real+replay"][:, 8:], batches["mixed"][:, 8:]
    np.testing.assert_array_equal(dx[replay], dx[mixed])
    assert replay.max() < len(REAL) <= mixed.min()
    assert np.unique(dx[mixed], return_counts=True)[1].tolist() == [80, 80, 80, 80]


def test_no_real_image_enters_synthetic_and_no_synthetic_one_real(batches):
    assert batches["synthetic"].min() >= len(REAL) > batches["real"].max()


def test_synthetic_images_of_a_class_are_used_equally_often(batches):
    times = np.bincount(batches["synthetic"].ravel() - len(REAL), minlength=len(SYNTHETIC))
    assert times.max() - times.min() <= 1


def test_another_seed_gives_other_batches(batches):
    other = arms.batches("mixed", REAL, SYNTHETIC, **{**BUDGET, "seed": 4})
    assert not np.array_equal(other, batches["mixed"])


def test_an_arm_that_cannot_be_filled_is_refused_by_name():
    with pytest.raises(ValueError, match="no arm 'fake'"):
        arms.batches("fake", REAL, SYNTHETIC, **BUDGET)
    with pytest.raises(ValueError, match="no synthetic image is accepted"):
        arms.batches("mixed", REAL, SYNTHETIC[:0], **BUDGET)
    with pytest.raises(ValueError, match="class df"):
        arms.batches("real+replay", REAL, np.append(SYNTHETIC, 3), **BUDGET)
