"""Claims about the sweep of guidance and denoising steps."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib.instruments import distances
from p2d_lib.instruments.multiplicity import LEVEL, holm
from p2d_lib.models import class_batches, classifiers, clip, sampling
from p2d_lib.sample import sweep

SETTINGS = {"size": 32, "guidance_interval": (0, math.inf)}


def test_a_sweep_visits_each_point_once_with_the_same_noise(pipe):
    points = list(sweep.sweep(pipe, ["melanoma", "nevus"], [1, 2], [1, 3], [2, 4], **SETTINGS))
    table = pd.DataFrame([point for point, _ in points])
    assert table[["guidance", "steps"]].to_numpy().tolist() == [[1, 2], [1, 4], [3, 2], [3, 4]]
    alone = sampling.sample(pipe, ["nevus"], [2], guidance_scale=3, num_inference_steps=4, **SETTINGS)[0]
    assert np.abs(points[-1][1][1].astype(int) - alone).max() <= 1


def test_seconds_are_the_time_of_sampling_alone_shared_by_the_images(monkeypatch):
    clock = [0.0]

    def sample(pipe, prompts, seeds, *, num_inference_steps, **settings):
        clock[0] += num_inference_steps * len(prompts)  # a second per step and image
        return np.zeros((len(prompts), 8, 8, 3), np.uint8)

    monkeypatch.setattr(sampling, "sample", sample)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    points = sweep.sweep(None, ["a", "b", "c"], [1, 2, 3], [1.0], [2, 8], guidance_interval=(0, 1))
    for point, _ in points:
        clock[0] += 100  # what is done between points does not count
        assert point["seconds"] == point["steps"]


def test_a_sweep_without_prompts_is_an_error():
    with pytest.raises(ValueError, match="needs prompts"):
        list(sweep.sweep(None, [], [], [1.0], [2]))


def test_uniform_noise_stands_at_the_bad_end_of_each_scale_beside_real_images():
    """Two classes that anyone can tell apart, a scout fitted on them, and "sampled" images of the same law."""
    device, rng = torch.device("cpu"), np.random.default_rng(0)

    def flat(level, n):
        return np.clip(level + rng.normal(0, 8, (n, 1, 1, 3)) + rng.normal(0, 4, (n, 32, 32, 3)), 0, 255).astype(
            np.uint8
        )

    train = np.concatenate([flat(60, 24), flat(190, 24)])
    labels, words = np.repeat([4, 5], 24), ["melanoma"] * 24 + ["nevus"] * 24
    scout = classifiers.build("tiny_resnet")
    classifiers.fit(scout, train, labels, steps=40, batch_size=16, learning_rate=2e-3, seed=0, device=device,
                    batches=class_batches.balanced(labels, 40, 16, 0), progress=False)  # fmt: skip
    aligner, _ = clip.fit(train, words, steps=20, batch_size=16, seed=0, device=device)
    rows = pd.DataFrame({"dx": ["mel"] * 12 + ["nv"] * 12, "prompt": ["melanoma"] * 12 + ["nevus"] * 12})
    reference, floor, good = (np.concatenate([flat(60, 12), flat(190, 12)]) for _ in range(3))
    point = {"guidance": 1.0, "steps": 2, "seconds": 0.1}
    real = [(pixels, rows["dx"].to_numpy()) for pixels in (reference, floor)]
    table = sweep.points(iter([(point, good)]), rows, *real, means, scout, aligner, device, 0)
    table = table.set_index("images")
    same_law, real, noise = (table.loc[name] for name in ("adapter", sweep.FLOOR, sweep.NOISE))
    assert same_law["class_read"] > 0.9 and noise["class_read"] < 0.8
    for each in (same_law, real):
        assert each["kid_low"] <= 0.02 and each["kid_low"] <= each["kid"] <= each["kid_high"] < noise["kid_low"]
    assert same_law["kid_scout"] < noise["kid_scout"]
    assert same_law["alignment"] > noise["alignment"]
    assert np.isnan(real[["kid_scout", "class_read", "alignment"]].astype(float)).all(), "the scout has seen them"
    assert noise["p"] <= 0.05 < same_law["p"] and np.isnan(real["p"]), "noise is further than real images"


def means(images):
    """Features of no network: mean and spread of each channel."""
    pixels = images.astype(np.float32) / 255
    return np.hstack([pixels.mean((1, 2)), pixels.std((1, 2))])


def test_kid_of_few_images_orders_planted_doses_and_has_no_bias():
    rng, law = np.random.default_rng(0), np.linspace(0.2, 0.8, 7)

    def images(shift=0.0, n=4):
        pixels = law.repeat(n)[:, None, None, None] + shift + rng.normal(0, 0.05, (7 * n, 1, 1, 3))
        return (255 * (pixels + rng.normal(0, 0.02, (7 * n, 16, 16, 3)))).clip(0, 255).astype(np.uint8)

    dx = [np.repeat(np.arange(7), n) for n in (5, 4)]

    def kid(dose: float) -> float:
        return distances.kid_interval(means(images(n=5)), means(images(dose)), dx).estimate

    values = np.array([[kid(dose) for dose in (0, 0.1, 0.2)] for _ in range(60)])
    assert abs(values[:, 0].mean()) < 3 * values[:, 0].std() / 60**0.5
    assert (values[:, 1] < values[:, 2]).mean() > 0.95 and (values[:, 0] < values[:, 1]).mean() > 0.95


def announced(trials, shift, n_points=8, alike=0.5):
    """In which share of sweeps any of n_points of 28 images, and that with the smallest KID, are shown to be further.

    alike: the part of each image's variance that all points share, since they have the same noise and prompts.
    """
    rng, dx = np.random.default_rng(0), [np.repeat(np.arange(7), n) for n in (8, 4)]
    centres, verdicts = rng.normal(size=(7, 8)), []
    for _ in range(trials):
        reference, floor, shared = (centres[of] + rng.normal(size=(len(of), 8)) for of in (dx[0], dx[1], dx[1]))
        mixed = np.sqrt(1 - alike) * rng.normal(size=(n_points, 28, 8)) + np.sqrt(alike) * (shared - centres[dx[1]])
        points = centres[dx[1]] + mixed + shift
        tests = [sweep.further(reference, floor, point, (dx[0], dx[1], dx[1])) for point in points]
        is_further = (holm([test.p for test in tests]) <= LEVEL) & (np.array([test.difference for test in tests]) > 0)
        verdicts.append((is_further.any(), is_further[np.argmin([test.difference for test in tests])]))
    return np.mean(verdicts, axis=0)


def test_points_of_the_law_of_real_images_are_rarely_called_further_and_a_planted_shift_of_all_is_found():
    assert (announced(60, 0.0) <= 0.05).all()
    assert (announced(20, 1.2) >= 0.9).all()


def test_the_difference_to_real_images_has_no_bias_and_a_class_of_two_images_has_none():
    rng, dx = np.random.default_rng(0), np.repeat(np.arange(7), 4)
    sets = [rng.normal(size=(3, 28, 8)) for _ in range(60)]
    values = np.array([sweep.further(*each, (dx, dx, dx)).difference for each in sets])
    assert abs(values.mean()) < 3 * values.std() / 60**0.5
    of_two = np.repeat(np.arange(7), 2)
    assert np.isnan(sweep.further(sets[0][0], sets[0][1][:14], sets[0][2], (dx, of_two, dx)).p)


def test_real_images_of_a_sweep_are_balanced_and_of_different_lesions():
    cases = pd.DataFrame({"dx": ["mel"] * 9 + ["nv"] * 30, "lesion_id": [*range(3)] * 3 + [*range(10, 40)]})
    chosen = sweep.balanced(cases, 20, 0)
    assert chosen["dx"].tolist() == ["mel"] * 3 + ["nv"] * 3 and chosen["lesion_id"].is_unique
    assert len(sweep.balanced(cases, 2, 0)) == 4
