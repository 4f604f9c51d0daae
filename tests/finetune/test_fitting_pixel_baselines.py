"""Claims about fitting the baselines: prompts decide, runs resume to the same bits, a cascade's stages agree."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from tiny_run import GUIDANCE, WORDS
from torch.nn import functional as F

from p2d_lib.finetune import pixel_baselines as fitting
from p2d_lib.finetune.loop import Monitoring, Recipe
from p2d_lib.finetune.pixel_rows import PixelRows, reduced_on_disk
from p2d_lib.models import pixel_baselines
from p2d_lib.models.pixel_unets import SCHEDULES


@pytest.mark.parametrize("name", pixel_baselines.SCRATCH)
def test_the_prompt_decides_the_colour(blots, name, tmp_path):
    baseline = pixel_baselines.build(name, side=32, imagenet=False)
    recipe = Recipe(steps=30, batch_size=8, learning_rate=5e-3, seed=0)
    logs = fitting.fit_baseline(baseline, fitting.encode(baseline, *blots, tmp_path), recipe)
    assert list(logs) == {"cascade": ["cascade-base", "cascade-upsampler"]}.get(name, [name])
    for log in logs.values():
        assert log.loss.tail(10).mean() < 0.6 * log.loss.head(10).mean()
    images = baseline.sample(WORDS * 4, range(8), **GUIDANCE, num_inference_steps=8)
    centre = images[:, 13:19, 13:19].mean((1, 2))  # RGB
    redness = centre[:, 0] - centre[:, 1:].mean(1)
    assert redness[::2].min() > redness[1::2].max() + 50


def test_the_upsampler_keeps_what_the_low_resolution_image_shows(blots, tmp_path):
    images, prompts = blots
    baseline = pixel_baselines.build("cascade", side=32)
    recipe = Recipe(steps=40, batch_size=8, learning_rate=1e-2, seed=0)
    fitting.fit_stage(baseline, "upsampler", fitting.encode(baseline, images, prompts, tmp_path), recipe)
    low = torch.from_numpy(images[:2]).permute(0, 3, 1, 2) / 127.5 - 1
    low = F.interpolate(low, (8, 8), mode="bilinear", antialias=True).flip(0)  # black where red is asked for

    class Base:
        schedule, dtype = SCHEDULES["epsilon"], torch.float32

        def __call__(self, noisy, step, words, added_cond_kwargs):
            alpha = self.schedule.alphas_cumprod[step.long()]
            noise = (noisy - alpha.sqrt() * low.repeat(len(noisy) // 2, 1, 1, 1)) / (1 - alpha).sqrt()
            return UNet2DConditionOutput(sample=noise)

    baseline.networks["base"] = Base()
    sampled = torch.from_numpy(baseline.sample(WORDS, [0, 1], **GUIDANCE, num_inference_steps=15))
    sampled = sampled.permute(0, 3, 1, 2) / 127.5 - 1
    again = F.interpolate(sampled, (8, 8), mode="bilinear", antialias=True)
    off = (again - low).abs().mean()
    assert off < 0.15  # of 2
    assert off < 0.6 * (again - low.flip(0)).abs().mean()


def test_stages_are_fitted_apart(blots, tmp_path):
    baseline = pixel_baselines.build("cascade", side=32)
    before = [p.clone() for p in baseline.networks["base"].parameters()]
    recipe = Recipe(steps=1, batch_size=4, learning_rate=1e-2, seed=0)
    fitting.fit_stage(baseline, "upsampler", fitting.encode(baseline, *blots, tmp_path), recipe)
    assert all(torch.equal(a, b) for a, b in zip(before, baseline.networks["base"].parameters(), strict=True))


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(blots, tmp_path, monkeypatch, at_every_step):
    recipe = Recipe(steps=4, batch_size=4, learning_rate=1e-3, seed=1)
    honest, calls = fitting.denoising_loss, []

    def upsampler(checkpoints=None):
        baseline = pixel_baselines.build("cascade", side=32)
        encoded = fitting.encode(baseline, *blots, tmp_path / "cache")
        log = fitting.fit_stage(baseline, "upsampler", encoded, recipe, None, checkpoints)
        return list(baseline.networks["upsampler"].parameters()), log

    def pulls_the_plug(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(*args)

    through, log = upsampler()
    monkeypatch.setattr(fitting, "denoising_loss", pulls_the_plug)
    with pytest.raises(KeyboardInterrupt):
        upsampler(at_every_step(tmp_path))
    resumed, resumed_log = upsampler(at_every_step(tmp_path))
    assert len(calls) == 4 + 2  # steps 2 and 3 again, from the checkpoint after step 1
    assert all(torch.equal(a, b) for a, b in zip(through, resumed, strict=True))
    pd.testing.assert_series_equal(log.loss, resumed_log.loss)


def test_a_baseline_sees_images_by_their_weights_and_without_words_as_often_as_asked(blots, tmp_path, monkeypatch):
    batches, honest = [], fitting.denoising_loss
    monkeypatch.setattr(
        fitting, "denoising_loss", lambda pipe, batch, *rest: batches.append(batch) or honest(pipe, batch, *rest)
    )
    baseline = pixel_baselines.build("scratch-unet", side=32)
    recipe = Recipe(steps=8, batch_size=4, learning_rate=1e-3, seed=0, caption_dropout=0.5)
    encoded = fitting.encode(baseline, *blots, tmp_path)
    fitting.fit_baseline(baseline, encoded, recipe, weights=np.where(np.arange(16) % 2 == 0, 1.0, 1e-12))
    centres = torch.cat([batch["latents"][:, :, 16, 16] for batch in batches])
    assert (centres[:, 0] > 0.5).all()  # red, none black
    empty = encoded.embeddings[torch.tensor([2])].float()
    without = torch.cat([(batch["embeddings"] == empty).all((1, 2)) for batch in batches])
    assert 7 <= int(without.sum()) <= 25  # of 32


def test_a_batch_computed_in_parts_gives_the_same_network(blots, tmp_path):
    def fitted(accumulate):
        baseline = pixel_baselines.build("cascade", side=32)
        recipe = Recipe(steps=2, batch_size=4, learning_rate=1e-3, seed=0, accumulate=accumulate)
        log = fitting.fit_stage(baseline, "upsampler", fitting.encode(baseline, *blots, tmp_path), recipe)
        return log.loss, baseline.networks["upsampler"]

    (whole, network), (parts, other) = fitted(1), fitted(2)
    assert parts.to_numpy() == pytest.approx(whole.to_numpy(), rel=1e-4)
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    difference = torch.cat([(a - b).abs().flatten() for a, b in pairs])
    assert (difference > 1e-4).float().mean() < 1e-4  # Adam turns the rounding of a gradient near 0 into a step


@pytest.mark.parametrize("name", ["scratch-unet", "cascade"])
def test_the_loss_on_held_out_images_is_logged_and_changes_nothing(blots, name, tmp_path):
    def fitted(monitored):
        baseline = pixel_baselines.build(name, side=32)
        encoded = fitting.encode(baseline, *blots, tmp_path)
        recipe = Recipe(steps=4, batch_size=4, learning_rate=1e-3, seed=0)
        held_out = replace(encoded, latents=PixelRows(blots[0][:6]))
        monitoring = Monitoring(every=2, held_out=held_out, preview=shown.append) if monitored else Monitoring()
        logs = fitting.fit_baseline(baseline, encoded, recipe, monitoring=monitoring)
        return logs, [p for network in baseline.networks.values() for p in network.parameters()]

    shown = []
    (logs, weights), (_, unwatched) = fitted(True), fitted(False)
    assert all(torch.equal(a, b) for a, b in zip(weights, unwatched, strict=True))
    assert shown == [2, 4] * len(logs)
    for log in logs.values():
        assert log.val_loss.notna().tolist() == [False, True, False, True]


def test_larger_images_are_reduced_once_and_read_from_disk(blots, tmp_path):
    images, prompts = blots
    large = images.repeat(3, 1).repeat(3, 2)
    baseline = pixel_baselines.build("scratch-unet", side=32)
    of_small = fitting.encode(baseline, images, prompts, tmp_path / "small")
    of_large = fitting.encode(baseline, large, prompts, tmp_path / "large")
    small, reduced = (encoded.latents[torch.arange(16)] for encoded in (of_small, of_large))
    assert (small - reduced).abs().mean() < 0.03  # of 2: edges are smoothed
    assert torch.equal(small[:, 1], small[:, 0].flip(-1))
    assert of_small.index.tolist() == [0, 1] * 8
    assert of_small.key != of_large.key
    assert isinstance(of_large.latents.images, np.memmap)
    (file,) = (tmp_path / "large").glob("*.npy")
    before = file.stat().st_mtime_ns
    assert fitting.encode(baseline, large, prompts, tmp_path / "large").key == of_large.key
    assert file.stat().st_mtime_ns == before


def test_images_are_reduced_as_a_library_reduces_them(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (70, 48, 48, 3), dtype=np.uint8)
    small = reduced_on_disk(images, 16, tmp_path)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    expected = F.interpolate(tensor, (16, 16), mode="bilinear", antialias=True).permute(0, 2, 3, 1).numpy()
    assert small.shape == (70, 16, 16, 3) and small.dtype == np.uint8
    assert np.abs(small - expected).max() <= 0.5 + 1e-3
    assert reduced_on_disk(images, 48, tmp_path) is images
