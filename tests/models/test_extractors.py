"""Features: the scout's own, once computed kept, and Inception's through clean-fid's preprocessing."""

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


def test_the_scouts_features_are_its_embedding(scout):
    embedding = classifiers.predict(classifiers.load(scout, CPU), IMAGES, CPU)["embedding"]
    np.testing.assert_array_equal(extractors.extract(scout, IMAGES, CPU), embedding)


def test_known_features_are_not_computed_again_and_a_refitted_scout_is_another_extractor(scout, tmp_path, monkeypatch):
    hashes, cache, computed = list("abcdef"), tmp_path / "features", []
    compute = extractors._compute
    monkeypatch.setattr(extractors, "_compute", lambda e, x, d: computed.append(len(x)) or compute(e, x, d))
    first = extractors.extract(scout, IMAGES[:4], CPU, hashes[:4], cache)
    both = extractors.extract(scout, IMAGES, CPU, hashes, cache)
    np.testing.assert_array_equal(both[:4], first)
    extractors.extract(scout, IMAGES[[3, 3]], CPU, ["d", "d"], cache)
    assert computed == [4, 2]
    classifiers.save(classifiers.build("tiny_resnet", seed=1), scout)
    assert not np.allclose(extractors.extract(scout, IMAGES, CPU, hashes, cache), both)


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
    found = extractors.extract(tmp_path, flat, CPU)
    assert found.shape == (2, 2048)
    np.testing.assert_allclose(found[0, :3], [-1, 0, 127 / 128], atol=1e-5)
    assert extractors.identity(tmp_path) == "inception-2015-12-05"


def test_a_folder_without_an_extractor_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no feature extractor"):
        extractors.extract(tmp_path, IMAGES, CPU)
