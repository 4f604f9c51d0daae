"""Claims about fitting the baselines: prompts decide, runs resume to the same bits, a cascade's stages agree."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch.nn import functional as F

from p2d_lib.finetune import pixel_baselines as fitting
from p2d_lib.finetune.loop import Recipe, Watch
from p2d_lib.models import pixel_baselines
from p2d_lib.models.pixel_unets import SCHEDULES

WORDS = ["red lesion", "black lesion"]
RED, BLACK = [220, 30, 30], [10, 10, 10]


@pytest.fixture(scope="module")
def blots():
    """A red blot on white for the first prompt, a black one for the second: uint8 (16, 32, 32, 3) and their prompts."""
    y, x = np.mgrid[:32, :32]
    blot = ((y - 16) ** 2 + (x - 16) ** 2 < 100)[..., None]
    red, black = (np.where(blot, colour, [230, 225, 220]).astype(np.uint8) for colour in (RED, BLACK))
    return np.stack([red, black] * 8), WORDS * 8


@pytest.mark.parametrize("name", pixel_baselines.SCRATCH)
def test_the_prompt_decides_the_colour(blots, name):
    baseline = pixel_baselines.build(name, side=32, imagenet=False)
    recipe = Recipe(steps=30, batch_size=8, learning_rate=5e-3, seed=0)
    logs = fitting.fit_baseline(baseline, fitting.encode(baseline, *blots), recipe)
    assert list(logs) == {"cascade": ["cascade-base", "cascade-upsampler"]}.get(name, [name])
    for log in logs.values():
        assert log.loss.tail(10).mean() < 0.6 * log.loss.head(10).mean()
    centre = baseline.sample(WORDS * 4, range(8), guidance_scale=2.0, num_inference_steps=8)[:, 13:19, 13:19].mean(
        (1, 2)
    )  # RGB
    redness = centre[:, 0] - centre[:, 1:].mean(1)
    assert redness[::2].min() > redness[1::2].max() + 50


def test_the_upsampler_keeps_what_the_low_resolution_image_shows(blots):
    images, prompts = blots
    baseline = pixel_baselines.build("cascade", side=32)
    recipe = Recipe(steps=40, batch_size=8, learning_rate=1e-2, seed=0)
    fitting.fit_stage(baseline, "upsampler", fitting.encode(baseline, images, prompts), recipe)
    low = torch.from_numpy(images[:2]).permute(0, 3, 1, 2) / 127.5 - 1
    low = F.interpolate(low, (8, 8), mode="bilinear", antialias=True).flip(0)  # black where red is asked for

    class Base:
        schedule, dtype = SCHEDULES["epsilon"], torch.float32

        def __call__(self, noisy, step, words, added_cond_kwargs):
            alpha = self.schedule.alphas_cumprod[step.long()]
            noise = (noisy - alpha.sqrt() * low.repeat(len(noisy) // 2, 1, 1, 1)) / (1 - alpha).sqrt()
            return UNet2DConditionOutput(sample=noise)

    baseline.networks["base"] = Base()
    drawn = torch.from_numpy(baseline.sample(WORDS, [0, 1], guidance_scale=2.0)).permute(0, 3, 1, 2) / 127.5 - 1
    again = F.interpolate(drawn, (8, 8), mode="bilinear", antialias=True)
    off = (again - low).abs().mean()
    assert off < 0.15  # of 2
    assert off < 0.6 * (again - low.flip(0)).abs().mean()


def test_stages_are_fitted_apart(blots):
    baseline = pixel_baselines.build("cascade", side=32)
    before = [p.clone() for p in baseline.networks["base"].parameters()]
    recipe = Recipe(steps=1, batch_size=4, learning_rate=1e-2, seed=0)
    fitting.fit_stage(baseline, "upsampler", fitting.encode(baseline, *blots), recipe)
    assert all(torch.equal(a, b) for a, b in zip(before, baseline.networks["base"].parameters(), strict=True))


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(blots, tmp_path, monkeypatch):
    recipe = Recipe(steps=4, batch_size=4, learning_rate=1e-3, seed=1, checkpoint_every=2)
    honest, calls = fitting.denoising_loss, []

    def upsampler(checkpoints=None):
        baseline = pixel_baselines.build("cascade", side=32)
        log = fitting.fit_stage(baseline, "upsampler", fitting.encode(baseline, *blots), recipe, None, checkpoints)
        return list(baseline.networks["upsampler"].parameters()), log

    def pulls_the_plug(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(*args)

    through, log = upsampler()
    monkeypatch.setattr(fitting, "denoising_loss", pulls_the_plug)
    with pytest.raises(KeyboardInterrupt):
        upsampler(tmp_path)
    resumed, resumed_log = upsampler(tmp_path)
    assert len(calls) == 4 + 2  # steps 2 and 3 again, from the checkpoint after step 1
    assert all(torch.equal(a, b) for a, b in zip(through, resumed, strict=True))
    pd.testing.assert_series_equal(log.loss, resumed_log.loss)


def test_a_batch_computed_in_parts_gives_the_same_network(blots):
    def fitted(accumulate):
        baseline = pixel_baselines.build("cascade", side=32)
        recipe = Recipe(steps=2, batch_size=4, learning_rate=1e-3, seed=0, accumulate=accumulate)
        log = fitting.fit_stage(baseline, "upsampler", fitting.encode(baseline, *blots), recipe)
        return log.loss, baseline.networks["upsampler"]

    (whole, network), (parts, other) = fitted(1), fitted(2)
    assert parts.to_numpy() == pytest.approx(whole.to_numpy(), rel=1e-4)
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("name", ["scratch-unet", "cascade"])
def test_the_loss_on_held_images_is_logged_and_changes_nothing(blots, name):
    def fitted(watch):
        baseline = pixel_baselines.build(name, side=32)
        encoded = fitting.encode(baseline, *blots)
        recipe = Recipe(steps=4, batch_size=4, learning_rate=1e-3, seed=0)
        watch = (
            Watch(every=2, held=replace(encoded, latents=encoded.latents[:6]), show=shown.append) if watch else Watch()
        )
        logs = fitting.fit_baseline(baseline, encoded, recipe, watch=watch)
        return logs, [p for network in baseline.networks.values() for p in network.parameters()]

    shown = []
    (logs, weights), (_, unwatched) = fitted(True), fitted(False)
    assert all(torch.equal(a, b) for a, b in zip(weights, unwatched, strict=True))
    assert shown == [2, 4] * len(logs)
    for log in logs.values():
        assert log.val_loss.notna().tolist() == [False, True, False, True]


def test_larger_images_are_reduced_to_what_the_baseline_learns_a_part_at_a_time(blots, monkeypatch):
    monkeypatch.setattr(fitting, "PART", 5)
    images, prompts = blots
    large, read = images.repeat(3, 1).repeat(3, 2), []
    baseline = pixel_baselines.build("scratch-unet", side=32)
    of_small = fitting.encode(baseline, images, prompts)
    of_large = fitting.encode(baseline, lambda rows: read.append(rows) or large[rows], prompts)
    assert [rows.stop - rows.start for rows in read] == [5, 5, 5, 1]
    assert (of_small.latents - of_large.latents).abs().mean() < 0.03  # of 2: edges are smoothed
    assert torch.equal(of_small.latents[:, 1], of_small.latents[:, 0].flip(-1))
    assert of_small.index.tolist() == [0, 1] * 8
