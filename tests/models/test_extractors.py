"""The cache and the captions of extractors: features are kept under the pixels that were embedded."""

import numpy as np
import pytest
import torch

from p2d_lib import parameters
from p2d_lib.models import classifiers, extractors
from p2d_lib.models.extractors.kind import Kind, Loaded
from p2d_lib.parameters.fidelity import EXTRACTORS

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


@pytest.fixture
def means(monkeypatch):
    """An extractor "means" in the registry, whose features are the mean colours."""
    load = lambda device: Loaded(lambda images: images.mean((1, 2), "f4"))  # noqa: E731
    kind = Kind("Means", "means see no shapes", "0123456789abcdef", 8, "bicubic", 3, load)
    monkeypatch.setitem(extractors.REGISTRY, "means", lambda name, folder: kind)


def test_what_is_registered_is_recognised_by_its_weights_and_cached(means, tmp_path):
    extractor = extractors.Extractor("means", CPU, tmp_path)
    np.testing.assert_allclose(extractor(IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)
    assert extractor.name == "means-0123456789ab"
    assert list((tmp_path / "means-0123456789ab").glob("*.npz"))


@pytest.mark.parametrize("fault", ["cut", "empty", "other length", "not finite"])
def test_a_broken_file_of_the_cache_is_no_feature_and_is_computed_again(fault, means, tmp_path):
    extractors.Extractor("means", CPU, tmp_path)(IMAGES)
    (part,) = (tmp_path / "means-0123456789ab").glob("*.npz")
    keys = np.load(part)["sha256"]
    if fault in ("cut", "empty"):
        part.write_bytes(part.read_bytes()[: {"cut": 100, "empty": 0}[fault]])
    else:
        values = {"other length": np.zeros((len(keys), 5)), "not finite": np.full((len(keys), 3), np.nan)}[fault]
        np.savez(part, sha256=keys, features=values)
    np.testing.assert_allclose(extractors.Extractor("means", CPU, tmp_path)(IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)
    assert np.load(part)["features"].shape == (len(keys), 3)  # in its place


def test_a_caption_says_which_weights_and_what_the_network_sees(means, scout):
    assert extractors.Extractor("means", CPU).caption == (
        "Features: Means (means-0123456789ab, d = 3), images resized to 8 px (bicubic); means see no shapes."
    )
    extractor = extractors.Extractor("scout", CPU, None, scout)
    assert extractor.title == "domain (scout)" and not extractor.independent
    assert "d = 128), images as they are; the scout was fitted on this run's train images" in extractor.caption


def test_the_scouts_probabilities_come_from_its_features_without_the_images(scout):
    extractor = extractors.Extractor("scout", CPU, None, scout)
    expected = classifiers.predict(classifiers.load(scout, CPU), IMAGES, CPU)["p"]
    np.testing.assert_allclose(extractor.probabilities(extractor(IMAGES)), expected, atol=1e-6)


def test_a_network_without_classes_has_no_probabilities(means):
    assert extractors.Extractor("means", CPU).probabilities(np.zeros((2, 3))) is None


def test_the_parameter_takes_every_extractor_of_the_registry_and_no_other():
    assert set(EXTRACTORS) == set(extractors.REGISTRY)
    for names in ([*EXTRACTORS], ["clip:org/model@v1"]):
        assert parameters.check("05_fidelity", {"extractors": names}).extractors == names
    for wrong, message in (
        (["inceptoin"], "did you mean 'inception'"),
        ([], "at least 1"),
        (["clip:"], "clip:ID"),
        (["clip:/a/model", "clip:/b/model"], "clip:/a/model and clip:/b/model would have one name in tables"),
    ):
        with pytest.raises(parameters.ParameterError, match=message):
            parameters.check("05_fidelity", {"extractors": wrong})
    with pytest.raises(ValueError, match="no extractor 'inceptoin': did you mean 'inception'"):
        extractors.Extractor("inceptoin", CPU)


def test_a_feature_that_is_no_number_names_its_image_and_is_not_kept(means, tmp_path, monkeypatch):
    def embed(images):
        return np.where((images.mean((1, 2, 3)) > 200)[:, None], np.inf, images.mean((1, 2), "f4"))

    monkeypatch.setattr(extractors.Extractor, "_loaded", lambda self: Loaded(embed))
    extractor = extractors.Extractor("means", CPU, tmp_path / "features")
    images = np.stack([IMAGES[0], np.full_like(IMAGES[0], 250)])
    with pytest.raises(ValueError, match=r"one of 2 images \(mean grey level 250, SHA-256 .* [0-9a-f]{64}\)"):
        extractor(images)
    assert not list((tmp_path / "features").rglob("*.npz"))
