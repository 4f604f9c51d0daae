"""Claims about classifiers: they learn what the images show, repeat themselves, and are the same after saving."""

import numpy as np
import pytest
import torch

from p2d_lib.models import classifiers
from p2d_lib.vocabulary import DX

CPU = torch.device("cpu")


def coloured(rng, labels, size=32):
    """Noise with a disc whose colour tells the class."""
    hues = np.random.default_rng(7).integers(40, 216, (len(DX), 3))
    y, x = np.mgrid[:size, :size] - size / 2
    disc = (x**2 + y**2 < (size / 3) ** 2)[None, :, :, None]
    images = np.where(disc, hues[labels][:, None, None], 200) + rng.normal(0, 15, (len(labels), size, size, 3))
    return images.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted():
    """A classifier of coloured discs with two features: the disc's redness, and one without any value."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 280)
    features = np.stack([(labels > 2).astype(float), np.full(280, np.nan)], 1)
    features[::2, 0] = np.nan
    model = classifiers.build("tiny_resnet", n_features=2, seed=3)
    log = classifiers.fit(
        model, coloured(rng, labels), labels, steps=60, batch_size=32, learning_rate=3e-3, seed=1, device=CPU,
        features=features,
    )  # fmt: skip
    return model, log


def test_a_class_of_one_colour_is_learnt_and_so_is_a_feature_that_is_labelled_on_half_of_the_images(fitted):
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 7, 140)
    predictions = classifiers.predict(fitted[0], coloured(rng, labels), CPU)
    assert (predictions["p"].argmax(1) == labels).mean() > 0.95
    assert ((predictions["features"][:, 0] > 0.5) == (labels > 2)).mean() > 0.9
    assert predictions["embedding"].shape == (140, 128)
    np.testing.assert_allclose(predictions["p"].sum(1), 1, atol=1e-5)
    assert fitted[1]["loss"].tail(5).mean() < 0.3 * fitted[1]["loss"].iloc[0]


def test_a_saved_classifier_reads_as_before_whatever_the_batch(fitted, tmp_path):
    images = coloured(np.random.default_rng(2), np.arange(14) % 7)
    classifiers.save(fitted[0], tmp_path / "scout")
    loaded = classifiers.load(tmp_path / "scout", CPU)
    before, after = (classifiers.predict(model, images, CPU) for model in (fitted[0], loaded))
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    np.testing.assert_allclose(classifiers.predict(loaded, images, CPU, batch_size=3)["p"], after["p"], atol=1e-5)


def test_equal_seeds_give_equal_weights_and_others_do_not():
    labels = np.arange(28) % 7
    images = coloured(np.random.default_rng(0), labels)

    def weights(seed):
        torch.rand(seed)  # the ambient generator must not matter
        model = classifiers.build("tiny_resnet", seed=seed)
        classifiers.fit(model, images, labels, steps=2, batch_size=8, learning_rate=1e-3, seed=seed, device=CPU)
        return torch.cat([p.detach().ravel() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_batches_hold_all_images_before_any_twice_and_balanced_ones_all_classes_alike():
    assert (np.bincount(classifiers.epochs(10, 6, 5, seed=0).ravel()) == 3).all()
    labels = np.repeat([0, 1, 6], [50, 5, 1])
    classes = labels[classifiers.balanced(labels, 10, 9, seed=0)]
    assert np.unique(classes, return_counts=True)[1].tolist() == [30, 30, 30]
    with pytest.raises(ValueError, match="needs images of class df"):
        classifiers.images_of_classes(labels, np.array([3]), seed=0)


def test_augmentation_only_turns_and_tints():
    pixels = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.7
    turned = classifiers.augment(pixels, seed=5)
    gains = turned.mean((2, 3)) / pixels.mean((2, 3))
    assert gains.min() > (1 - classifiers.JITTER) ** 2 - 1e-3
    assert gains.max() < (1 + classifiers.JITTER) ** 2 + 1e-3
    positions = set()
    for before, after, gain in zip(pixels, turned, gains, strict=True):
        candidates = [torch.rot90(before, k, (1, 2)) for k in range(4)]
        candidates += [candidate.mT for candidate in candidates]
        distances = [(candidate * gain[:, None, None] - after).abs().max().item() for candidate in candidates]
        assert min(distances) < 1e-4
        positions.add(int(np.argmin(distances)))
    assert positions == set(range(8))


def test_torchvision_names_build_and_unknown_names_are_refused():
    model = classifiers.build("resnet18", n_features=22)
    dx, features, embedding = model.eval()(torch.rand(1, 3, 64, 64))
    assert (dx.shape, features.shape, embedding.shape) == ((1, 7), (1, 22), (1, 512))
    with pytest.raises(ValueError, match="no backbone 'resnet19'"):
        classifiers.build("resnet19")
