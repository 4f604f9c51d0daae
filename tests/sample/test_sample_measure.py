"""Claims about what is measured in images."""

import numpy as np
import pytest
import torch

from p2d_lib import images
from p2d_lib.files import sha256
from p2d_lib.models import classifiers, clip
from p2d_lib.sample import measure

DEVICE = torch.device("cpu")


@pytest.fixture(scope="module")
def models():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    return classifiers.build("tiny_resnet"), clip.fit(
        pixels, list("abcd"), steps=1, batch_size=4, seed=0, device=DEVICE
    )[0]


def test_each_image_is_measured_with_its_own_prompt_whatever_the_block(models, tmp_path, monkeypatch):
    scout, aligner = models
    pixels = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    paths, prompts = [tmp_path / f"{k}.png" for k in range(5)], ["a", "b", "c", "d", "a"]
    for path, image in zip(paths, pixels, strict=True):
        images.save(path, image)
    monkeypatch.setattr(measure, "BLOCK", 2)
    measured = measure.measure(paths, prompts, scout, aligner, DEVICE)
    assert measured.sha256.tolist() == [sha256(path) for path in paths]
    np.testing.assert_array_equal(measured.thumbnails, pixels)
    np.testing.assert_allclose(measured.alignment, clip.alignment(aligner, pixels, prompts), atol=1e-5)
    np.testing.assert_allclose(measured.p, classifiers.predict(scout, pixels, DEVICE)["p"], atol=1e-5)
    other = measure.alignments(aligner, measured.vectors, prompts[::-1])
    np.testing.assert_allclose(other, clip.alignment(aligner, pixels, prompts[::-1]), atol=1e-5)
