"""The arms differ in what they claim to differ in, and in nothing else."""

import numpy as np
import pytest

from p2d_lib.classify import arms
from p2d_lib.parameters.classify import ARMS, arm_parts, share_of

REAL = np.repeat([0, 1, 4, 5], [10, 20, 30, 140])
SYNTHETIC = np.repeat([0, 1, 4, 5], 12)
BUDGET = {"steps": 40, "batch_size": 16, "share": 0.5, "seed": 3}


@pytest.fixture
def batches():
    return {arm: arms.batches(arm, REAL, SYNTHETIC, **BUDGET) for arm in ARMS}


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


@pytest.mark.parametrize(("ratio", "share"), [("0.25", 0.2), ("1", 0.5), ("4", 0.8)])
def test_a_ratio_is_that_of_synthetic_to_real_images_and_each_real_image_is_shown_as_often(ratio, share):
    shown = arms.batches(f"mixed@{ratio}x", REAL, SYNTHETIC, steps=100, batch_size=20, share=0.1, seed=0)
    is_real = shown < len(REAL)
    assert (is_real.sum(1) == round((1 - share) * 20)).all()
    assert (~is_real).sum() / is_real.sum() == pytest.approx(float(ratio))
    times = np.bincount(shown[is_real], minlength=len(REAL))
    assert times.min() >= 1 and times.max() - times.min() <= 1


def test_classical_shows_the_images_of_real(batches):
    np.testing.assert_array_equal(batches["real+classical"], batches["real"])


def test_pretrain_shows_what_mixed_shows_as_often_and_all_synthetic_images_first(batches):
    pretrain = batches["pretrain"]
    np.testing.assert_array_equal(np.sort(pretrain, axis=None), np.sort(batches["mixed"], axis=None))
    is_real = pretrain.ravel() < len(REAL)
    assert (np.diff(is_real.astype(int)) >= 0).all(), "real images come last"
    assert is_real.mean() == 0.5


def test_the_published_split_is_random_and_tests_on_a_fifth_of_the_pool():
    train, test = arms.published_split(1000, seed=1)
    assert len(test) == 200
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(1000))
    assert 70 < (test < 500).sum() < 130, "not the first images, nor the last"
    assert not np.array_equal(test, arms.published_split(1000, seed=2)[1])


def test_a_ratio_that_a_batch_cannot_hold_is_refused():
    with pytest.raises(
        ValueError, match=r"arm 'mixed@0\.01x': a batch of 16 images is too small for a share of 0\.010"
    ):
        arms.batches("mixed@0.01x", REAL, SYNTHETIC, **BUDGET)
    with pytest.raises(ValueError, match=r"a batch of 16 images is too small for a share of 1\.000"):
        arms.batches(f"mixed@{10**20}x", REAL, SYNTHETIC, **BUDGET)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mixes", "no arm 'mixes'; there are real, real"),
        ("mixed@2", "no arm 'mixed@2'"),
        ("mixed@0x", "a ratio above 0"),
        ("real@2x", "a ratio above 0 of synthetic to real images have real"),
        ("real:captioner", "other synthetic images can be named for synthetic, mixed, pretrain only"),
        ("real@2x:base", "no arm 'real@2x:base'"),
        ("real+replay:captioner", "and what is replayed as real.replay:skin-tones only"),
        ("real:skin-tones", "other synthetic images can be named for"),
    ],
)
def test_a_name_of_no_arm_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        arm_parts(name)


def test_the_name_of_an_arm_says_kind_selection_and_ratio():
    assert arm_parts("mixed:guidance-3.5@1x") == ("mixed", "guidance-3.5", 1.0)
    assert arm_parts("mixed:captioner") == ("mixed", "captioner", None)
    assert arm_parts("real+replay@0.5x") == ("real+replay", "", 0.5)
    assert arm_parts("real+replay:skin-tones@2x") == ("real+replay", "skin-tones", 2.0)


def test_the_ratio_of_a_name_counts_before_the_share_that_is_given():
    assert share_of("mixed@1x", 0.1) == 0.5 and share_of("mixed:captioner@3x", 0.5) == 0.75
    assert share_of("real+replay", 0.3) == 0.3 and share_of("synthetic", 0.3) == 1


def test_replay_has_the_very_classes_that_mixed_has_but_real_images_of_them(batches):
    dx = np.concatenate([REAL, SYNTHETIC])
    replay, mixed = batches["real+replay"][:, 8:], batches["mixed"][:, 8:]
    np.testing.assert_array_equal(dx[replay], dx[mixed])
    assert replay.max() < len(REAL) <= mixed.min()
    assert np.unique(dx[mixed], return_counts=True)[1].tolist() == [80, 80, 80, 80]


# Dark skin (5) is rare in class 1 and absent from class 4, which has two tones; of class 0 half the tones are unknown.
TONES = np.concatenate([[0, np.nan] * 5, [0] * 12 + [2] * 7 + [5], [1] * 29 + [2], np.arange(140) % 6])


def test_replay_by_skin_tone_evens_the_tones_of_each_class_and_differs_from_replay_in_nothing_else(batches):
    by_tone = arms.batches("real+replay:skin-tones", REAL, SYNTHETIC, tones=TONES, **BUDGET)
    replay = batches["real+replay"]
    assert by_tone.shape == replay.shape
    np.testing.assert_array_equal(by_tone[:, :8], replay[:, :8])
    np.testing.assert_array_equal(REAL[by_tone], REAL[replay])
    extra = by_tone[:, 8:].ravel()
    for k, tones in ((0, [0]), (1, [0, 2, 5]), (4, [1, 2]), (5, range(6))):
        times = [np.bincount(extra, minlength=len(REAL))[(k == REAL) & (tone == TONES)] for tone in tones]
        shown = [of_tone.sum() for of_tone in times]
        assert sum(shown) == 80 and max(shown) - min(shown) <= 1, "all tones of the class, an unknown one never"
        assert all(of_tone.max() - of_tone.min() <= 1 for of_tone in times)
    dark = (REAL == 1) & (TONES == 5)
    assert dark[replay[:, 8:]].sum() < 8, "plain replay shows that image as often as any other of its class"


def test_replay_by_skin_tone_is_refused_where_no_description_says_a_tone_of_a_class():
    silent = np.where(REAL == 4, np.nan, TONES)
    with pytest.raises(ValueError, match=r"no description says the skin tone of a train image of mel; let"):
        arms.batches("real+replay:skin-tones", REAL, SYNTHETIC, tones=silent, **BUDGET)


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
