"""The negative controls are what their names say, at any size, and the same for the same seed."""

import numpy as np
import pytest
from small_sets import lesion

from p2d_lib.fidelity import controls

IMAGES = np.stack([lesion("mel", k) for k in range(3)])


@pytest.mark.parametrize("name", controls.CONTROLS)
@pytest.mark.parametrize("side", [32, 64, 100])
def test_a_control_has_the_shape_of_its_images_and_depends_on_the_seed_alone(name, side):
    images = np.stack([lesion("nv", k, side) for k in range(2)])
    before = images.copy()
    made, again = (controls.CONTROLS[name](images, 3) for _ in range(2))
    assert made.shape == images.shape and made.dtype == np.uint8
    assert (made == again).all() and (images == before).all() and not (made == images).all()


def test_blur_and_blocks_keep_the_mean_and_lose_detail():
    for control in controls.WORSENED.values():
        made = control(IMAGES, 0)
        np.testing.assert_allclose(made.mean((1, 2)), IMAGES.mean((1, 2)), atol=1)
        assert (
            np.abs(np.diff(made.astype(int), axis=1)).mean() < 0.5 * np.abs(np.diff(IMAGES.astype(int), axis=1)).mean()
        )
    blocks = controls.blocky(IMAGES, 0).reshape(3, 16, 4, 16, 4, 3)
    assert (blocks == blocks[:, :, :1, :, :1]).all(), "blocks of 4 px at 64 px"


def test_flat_is_one_colour_and_noise_is_uniform():
    assert len(np.unique(controls.flat(IMAGES, 0).reshape(-1, 3), axis=0)) == 1
    counts = np.bincount(controls.noise(IMAGES, 0).ravel(), minlength=256)
    assert counts.min() > 0.5 * counts.mean() and counts.max() < 1.5 * counts.mean()
    assert controls.blobs(IMAGES, 0).std() > 20
