"""The Vendi score counts: k kinds of image are k, one repeated image is 1, and nothing lies outside 1..n."""

import numpy as np
import pytest

from p2d_lib.instruments.vendi import vendi


@pytest.mark.parametrize("d", [16, 200])  # fewer features than images, and more
def test_k_kinds_of_image_in_many_copies_score_k(d):
    for k in (1, 3, 12):
        assert vendi(np.eye(d)[np.arange(60) % k] * 5) == pytest.approx(k, rel=1e-6)


def test_it_is_the_exponential_of_the_entropy_of_unequal_shares():
    shares = np.array([0.5, 0.25, 0.25])
    assert vendi(np.eye(3)[[0, 0, 1, 2]]) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_variety_is_lost_with_every_mode_and_by_copies_of_one_image():
    rng = np.random.default_rng(0)
    centres, n = rng.normal(size=(7, 64)) * 3, 84
    modes = [vendi(centres[np.arange(n) % kept] + rng.normal(size=(n, 64))) for kept in (7, 4, 2, 1)]
    images = rng.normal(size=(n, 64)) + 1
    copied = [vendi(images[np.arange(n) % distinct]) for distinct in (84, 42, 12, 1)]
    assert modes == sorted(modes, reverse=True) and copied == sorted(copied, reverse=True)
    assert copied[-1] == pytest.approx(1)


def test_two_samples_of_one_law_score_alike_and_noise_scores_high():
    rng = np.random.default_rng(1)
    first, second = (vendi(rng.normal(size=(100, 32)) + 1) for _ in range(2))
    assert first == pytest.approx(second, rel=0.05) and 1 < first < 100
    assert vendi(rng.normal(size=(100, 5000))) > 95  # why it stands beside measures that look at real images


def test_a_set_without_images_or_an_image_without_features_is_refused():
    with pytest.raises(ValueError, match="there is none"):
        vendi(np.zeros((0, 4)))
    with pytest.raises(ValueError, match="row 1 have length 0"):
        vendi(np.array([[1.0, 0.0], [0.0, 0.0]]))
