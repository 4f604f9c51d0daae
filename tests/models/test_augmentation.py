"""Augmentation changes what it names, and nothing else."""

import numpy as np
import pytest
import torch

from p2d_lib.models import augmentation


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.7


@pytest.fixture(scope="module")
def spots():
    """A bright spot of 3 x 3 px right of the centre of each of 200 dark images of 33 px."""
    images = torch.zeros(200, 3, 33, 33)
    images[:, :, 15:18, 23:26] = 1
    return images


def places(images):
    """Column and row of the centre of the brightness, in px from the image's centre, (n, 2)."""
    brightness, axis = images.mean(1), torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    total = brightness.sum((1, 2))
    across, down = (brightness.sum(1) * axis).sum(1) / total, (brightness.sum(2) * axis).sum(1) / total
    return torch.stack([across, down], 1).numpy(), total.numpy()


def test_the_basic_augmentation_only_turns_and_tints(pixels):
    turned = augmentation.augment(pixels, seed=5)
    gains = turned.mean((2, 3)) / pixels.mean((2, 3))
    assert gains.min() > (1 - augmentation.JITTER) ** 2 - 1e-3
    assert gains.max() < (1 + augmentation.JITTER) ** 2 + 1e-3
    positions = set()
    for before, after, gain in zip(pixels, turned, gains, strict=True):
        candidates = [torch.rot90(before, k, (1, 2)) for k in range(4)]
        candidates += [candidate.mT for candidate in candidates]
        distances = [(candidate * gain[:, None, None] - after).abs().max().item() for candidate in candidates]
        assert min(distances) < 1e-4
        positions.add(int(np.argmin(distances)))
    assert positions == set(range(8))


def test_a_turn_keeps_the_distance_from_the_centre_and_takes_any_angle(spots):
    at, _ = places(augmentation.augment(spots, 3, ["turn"]))
    assert np.abs(np.hypot(*at.T) - 8).max() < 0.5
    angles = np.degrees(np.arctan2(*at.T))
    assert (np.histogram(angles, 8, (-180, 180))[0] > 10).all()


def test_a_shift_moves_by_a_tenth_of_the_side_at_most(spots):
    moves = places(augmentation.augment(spots, 3, ["shift"]))[0] - [8, 0]
    assert 0.9 * 3.3 < np.abs(moves).max() <= 3.3 + 0.1
    assert np.abs(moves.mean(0)).max() < 0.5


def test_a_zoom_enlarges_as_often_as_it_reduces(spots):
    at, area = places(augmentation.augment(spots, 3, ["zoom"]))
    ratio = at[:, 0] / 8
    assert 1 / augmentation.ZOOM - 0.02 <= ratio.min() < 0.85
    assert 1.2 < ratio.max() <= augmentation.ZOOM + 0.02
    assert 0.35 < (ratio > 1).mean() < 0.65
    assert np.corrcoef(ratio, area)[0, 1] > 0.9


def test_what_is_not_named_does_not_happen_and_what_is_repeats_itself(pixels):
    assert torch.equal(augmentation.augment(pixels, 5, []), pixels)
    everything = [augmentation.augment(pixels, seed, augmentation.TRANSFORMS) for seed in (5, 5, 6)]
    assert torch.equal(everything[0], everything[1])
    assert not torch.equal(everything[0], everything[2])
    with pytest.raises(ValueError, match="no transform 'blur'"):
        augmentation.augment(pixels, 5, ["blur"])
