"""Claims about classifiers: they learn what the images show, repeat themselves, and are the same after saving."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from p2d_lib.models import class_batches, classifiers
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.early_stopping import EarlyStopping
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


def fit(model, images, labels, **changes):
    options = {"steps": 40, "batch_size": 16, "learning_rate": 3e-3, "seed": 1, "device": CPU, "progress": False}
    return classifiers.fit(model, images, labels, **{**options, **changes})


def test_weighted_classes_are_as_probable_as_others_when_images_show_nothing():
    """From equal images a network learns the frequencies alone: nine in ten are nv; weights make both classes equal."""
    labels = np.where(np.arange(100) % 10 == 0, DX.index("mel"), DX.index("nv"))
    grey = np.full((100, 16, 16, 3), 128, np.uint8)
    p = {}
    for kind in ("none", "uncapped"):
        model = classifiers.build("three_conv", seed=0)
        fit(model, grey, labels, steps=60, weights=class_batches.class_weights(labels, kind))
        p[kind] = classifiers.predict(model, grey, CPU)["p"].mean(0)[DX.index("mel")]
    assert 0.03 < p["none"] < 0.2
    assert 0.3 < p["uncapped"] < 0.7


def test_early_stopping_ends_with_the_weights_that_read_val_best_and_stops_where_nothing_gets_better():
    rng = np.random.default_rng(0)
    labels = np.arange(70) % 7
    images, val = coloured(rng, labels), coloured(rng, labels)
    model, stopping = classifiers.build("tiny_resnet", seed=3), EarlyStopping(val, labels, every=10, patience=2)
    log = fit(model, images, labels, steps=200, optimizer="adam", stopping=stopping)
    scores = log["val_macro_f1"].dropna()
    assert list(scores.index) == list(range(9, 10 * len(scores), 10))
    assert len(log) < 200, "macro-F1 reaches 1 and cannot rise"
    read = classifiers.predict(model, val, CPU)["p"].argmax(1)
    assert f1_score(labels, read, average="macro") == pytest.approx(scores.max())
    assert scores.idxmax() + 1 + 2 * 10 == len(log)


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_an_early_stopped_fit_that_was_interrupted_ends_with_the_same_bits(tmp_path, averaging):
    labels = np.arange(28) % 7
    images = coloured(np.random.default_rng(0), labels)

    def weights(checkpoint=None, fails_at=None):
        def on_step(step, _):
            if step == fails_at:
                raise KeyboardInterrupt

        model = classifiers.build("tiny_resnet", seed=3, dropout=0.5)
        stopping = EarlyStopping(images, labels, every=2, patience=9)
        options = {"stopping": stopping, "checkpoint": checkpoint, "on_step": on_step, "averaging": averaging}
        fit(model, images, labels, steps=8, **options)
        return torch.cat([tensor.ravel().float() for tensor in model.state_dict().values()])

    checkpoints = Checkpoints(tmp_path, every_minutes=0)
    with pytest.raises(KeyboardInterrupt):
        weights(checkpoints.of("fit", "key"), fails_at=5)
    assert torch.equal(weights(checkpoints.of("fit", "key")), weights())


def test_an_averaged_fit_ends_with_the_moving_average_of_its_weights_and_of_the_statistics_of_its_batches():
    labels, expected, weights = np.arange(28) % 7, {}, {}
    images, model = coloured(np.random.default_rng(0), labels), classifiers.build("tiny_resnet", seed=3)

    def on_step(step, _):
        for name, tensor in model.state_dict().items():
            now = tensor.double().clone()
            expected[name] = 0.75 * expected[name] + 0.25 * now if step else now
            weights[name] = now

    fit(model, images, labels, steps=6, averaging=0.75, on_step=on_step)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
    kinds = [name for name, now in weights.items() if not torch.allclose(now, expected[name], rtol=1e-3)]
    assert {"dx.weight", "body.1.running_mean"} <= set(kinds), "the last weights are not their average"


def test_early_stopping_of_an_averaged_fit_judges_and_keeps_the_average():
    labels = np.arange(28) % 7
    images, val = (coloured(np.random.default_rng(seed), labels) for seed in (0, 1))
    model, stopping = classifiers.build("tiny_resnet", seed=3), EarlyStopping(val, labels, every=10, patience=9)
    log = fit(model, images, labels, steps=40, averaging=0.9, stopping=stopping)
    read = classifiers.predict(model, val, CPU)["p"].argmax(1)
    assert f1_score(labels, read, average="macro") == pytest.approx(log["val_macro_f1"].max())


def test_bfloat16_rounds_the_loss_and_learns_the_same():
    labels = np.arange(70) % 7
    images, losses = coloured(np.random.default_rng(0), labels), {}
    for precision in ("float32", "bfloat16"):
        model = classifiers.build("tiny_resnet", seed=3)
        losses[precision] = fit(model, torch.from_numpy(images), labels, steps=40, precision=precision)["loss"]
    first = [of[0] for of in losses.values()]
    assert first[0] != first[1]
    assert first[0] == pytest.approx(first[1], rel=0.02)
    assert losses["bfloat16"].tail(5).mean() < 0.5 * first[1]


def test_early_stopping_without_val_images_is_refused():
    with pytest.raises(ValueError, match="needs images of the val split"):
        EarlyStopping(np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, int), every=1, patience=1)


def test_dropout_acts_in_training_alone_and_repeats_itself():
    labels = np.arange(28) % 7
    images = coloured(np.random.default_rng(0), labels)
    losses = {}
    for name, dropout in (("none", 0.0), ("half", 0.5), ("half again", 0.5)):
        torch.rand(3)  # the ambient generator must not matter
        model = classifiers.build("tiny_resnet", seed=3, dropout=dropout)
        losses[name] = fit(model, images, labels, steps=2)["loss"].tolist()
        np.testing.assert_array_equal(
            classifiers.predict(model, images, CPU)["p"], classifiers.predict(model, images, CPU)["p"]
        )
    assert losses["half"] == losses["half again"]
    assert losses["half"] != losses["none"]


def test_flips_make_a_prediction_blind_to_mirroring():
    rng = np.random.default_rng(0)
    model, images = classifiers.build("tiny_resnet", seed=3), rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    for flips, equal in ((True, True), (False, False)):
        p, mirrored = (
            classifiers.predict(model, of, CPU, flips=flips)["p"] for of in (images, images[:, :, ::-1].copy())
        )
        assert np.allclose(p, mirrored, atol=1e-5) == equal


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="no optimizer 'sgd'; there are adamw, adam"):
        fit(classifiers.build("tiny_resnet"), np.zeros((16, 8, 8, 3), np.uint8), np.zeros(16, int), optimizer="sgd")
