"""Features are kept under the pixels that were embedded; Inception sees what clean-fid shows it."""

import numpy as np
import pytest
import torch

from p2d_lib.models import classifiers, extractors

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


@pytest.fixture
def scout(tmp_path):
    classifiers.save(classifiers.build("tiny_resnet"), tmp_path / "scout")
    return tmp_path / "scout"


@pytest.fixture
def computed(monkeypatch):
    """The number of images that were embedded, call by call."""
    counts, compute = [], extractors.Extractor._compute
    monkeypatch.setattr(
        extractors.Extractor, "_compute", lambda self, images: counts.append(len(images)) or compute(self, images)
    )
    return counts


def test_the_scouts_features_are_its_embedding(scout):
    embedding = classifiers.predict(classifiers.load(scout, CPU), IMAGES, CPU)["embedding"]
    np.testing.assert_array_equal(extractors.Extractor("scout", CPU, None, scout)(IMAGES), embedding)


def test_known_pixels_are_not_embedded_again_in_this_process_or_the_next(scout, tmp_path, computed):
    extractor = extractors.Extractor("scout", CPU, tmp_path / "features", scout)
    first = extractor(IMAGES[:4])
    np.testing.assert_array_equal(extractor(IMAGES)[:4], first)
    again = extractors.Extractor("scout", CPU, tmp_path / "features", scout)
    np.testing.assert_array_equal(again(IMAGES[[3, 3, 5]])[:2], first[[3, 3]])
    assert computed == [4, 2]


def test_the_negatives_of_two_images_get_features_of_their_own(scout, tmp_path):
    """Once they were cached under the hash of the published file, and got those of the originals."""
    extractor = extractors.Extractor("scout", CPU, tmp_path / "features", scout)
    originals, negatives = extractor(IMAGES[:2]), extractor(255 - IMAGES[:2])
    expected = classifiers.predict(classifiers.load(scout, CPU), 255 - IMAGES[:2], CPU)["embedding"]
    np.testing.assert_array_equal(negatives, expected)
    assert not np.allclose(negatives, originals)


def test_the_same_bytes_in_another_shape_are_another_image(scout, tmp_path, computed):
    extractor = extractors.Extractor("scout", CPU, tmp_path / "features", scout)
    extractor(IMAGES[:1])
    extractor(IMAGES[:1].reshape(1, 64, 16, 3))
    assert computed == [1, 1]


def test_new_features_are_added_and_files_that_are_there_are_not_rewritten(scout, tmp_path):
    extractor = extractors.Extractor("scout", CPU, tmp_path / "features", scout)
    extractor(IMAGES[:4])
    (first,) = tmp_path.rglob("features/**/*.npz")
    before = first.read_bytes(), first.stat().st_mtime_ns
    extractor(IMAGES)
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    with np.load(*(path for path in tmp_path.rglob("features/**/*.npz") if path != first)) as added:
        assert len(added["features"]) == 2


def test_a_refitted_scout_is_another_extractor(scout, tmp_path):
    before = extractors.Extractor("scout", CPU, tmp_path / "features", scout)
    features = before(IMAGES)
    classifiers.save(classifiers.build("tiny_resnet", seed=1), scout)
    after = extractors.Extractor("scout", CPU, tmp_path / "features", scout)
    assert after.name != before.name and not np.allclose(after(IMAGES), features)


def test_what_is_registered_is_recognised_by_its_file_named_and_cached(tmp_path, monkeypatch):
    def load(folder, device):
        return lambda images: images.mean((1, 2), "f4")

    means = extractors.Kind("means see no shapes", lambda folder: folder / "means.txt", load)
    monkeypatch.setitem(extractors.REGISTRY, "means", means)
    (tmp_path / "means.txt").write_text("weights")
    extractor = extractors.Extractor("means", CPU, tmp_path / "features", tmp_path)
    np.testing.assert_allclose(extractor(IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)
    assert extractor.name.startswith("means-") and extractor.note == "means see no shapes"
    assert list((tmp_path / "features" / extractor.name).glob("*.npz"))


class _Pooled(torch.nn.Module):
    """Stands for Inception: a scripted module with `layers` whose first three features are the channels' means."""

    class Layers(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).repeat(1, 683)[:, :2048]

    def __init__(self):
        super().__init__()
        self.layers = self.Layers()

    def forward(self, x):
        return self.layers(x)


def test_inception_sees_299_px_scaled_to_plus_minus_one(tmp_path):
    torch.jit.script(_Pooled()).save(tmp_path / extractors.INCEPTION)
    flat = np.full((2, 64, 64, 3), (0, 128, 255), np.uint8)
    extractor = extractors.Extractor("inception", CPU, None, tmp_path)
    features = extractor(flat)
    assert features.shape == (2, 2048)
    np.testing.assert_allclose(features[0, :3], [-1, 0, 127 / 128], atol=1e-5)
    assert extractor.name.startswith("inception-")


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"extractor inception needs its weights in .*inception-2015-12-05.pt"):
        extractors.Extractor("inception", CPU, None, tmp_path)
