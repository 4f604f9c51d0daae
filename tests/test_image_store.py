"""Images in one file of raw pixels: the same as decoded ones, made once, hardly any memory."""

from pathlib import Path

import numpy as np
import pytest

from p2d_lib import image_store, images


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.png" for k in range(7)]
    for path in paths:
        images.save(path, rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    return paths


def test_stored_images_are_the_decoded_ones_in_their_order(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "PART", 3)
    stored = image_store.store(paths, tmp_path / "store")
    assert isinstance(stored, np.memmap)
    assert np.array_equal(stored, images.load(paths))
    assert np.array_equal(stored[[4, 0]], images.load([paths[4], paths[0]]))


def test_they_are_decoded_once_until_an_image_or_the_order_changes(paths, tmp_path, monkeypatch):
    decoded, honest = [], images.load
    monkeypatch.setattr(images, "load", lambda part: decoded.append(len(part)) or honest(part))
    for _ in range(2):
        image_store.store(paths, tmp_path / "store")
    assert len(decoded) == 1
    assert np.array_equal(image_store.store(paths[::-1], tmp_path / "store"), honest(paths[::-1]))
    images.save(paths[3], np.zeros((16, 16, 3), np.uint8))
    assert image_store.store(paths, tmp_path / "store")[3].max() == 0
    assert len(decoded) == 3


def test_images_of_two_sizes_are_refused_by_name_wherever_they_stand(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "PART", 3)
    images.save(paths[5], np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"5\.png is 8 x 8 px, .*0\.png is 16 x 16 px"):
        image_store.store(paths, tmp_path / "store")
    assert not list((tmp_path / "store").glob("*.npy"))
