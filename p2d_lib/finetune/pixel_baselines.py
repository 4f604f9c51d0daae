"""Fitting the baselines, stage by stage, with the loop, draws and loss that the adapter is fitted with."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from p2d_lib.device import generator, half
from p2d_lib.finetune.batches import Draws
from p2d_lib.finetune.inversion import fit_word
from p2d_lib.finetune.latents import Encoded, digest, distinct_prompts
from p2d_lib.finetune.loop import Recipe, Watch, fit, mean_loss
from p2d_lib.finetune.loss import denoising_loss
from p2d_lib.models.pixel_baselines import INVERSION, MAX_TRAINING_NOISE_STEP, Baseline
from p2d_lib.models.textual_inversion import LearnedToken
from p2d_lib.models.tiny_base import to_pixels
from p2d_lib.seeds import derive

PART = 256  # images in memory at once as they are
UNWATCHED = Watch()


def encode(baseline: Baseline, images: np.ndarray | Callable[[slice], np.ndarray], prompts: Sequence[str]) -> Encoded:
    """Images, reduced to the baseline's side, and their mirror images; its embeddings of their prompts.

    images: uint8 (n, h, w, 3), or what gives them for a slice of 0..n. prompts: one per image. The result is in memory:
    49 kB an image of 64 px.
    """
    read = images if callable(images) else images.__getitem__
    parts = (read(slice(k, min(k + PART, len(prompts)))) for k in range(0, len(prompts), PART))
    pixels = torch.cat(
        [_reduced(to_pixels(part, baseline.networks["base"]), baseline.side).half().cpu() for part in parts]
    )
    distinct, index = distinct_prompts(prompts)
    return Encoded(
        latents=torch.stack([pixels, pixels.flip(-1)], 1),
        embeddings=baseline.text(distinct).half().cpu(),
        index=index,
    )


def fit_baseline(
    baseline: Baseline,
    encoded: Encoded,
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
    watch: Watch = UNWATCHED,
) -> dict[str, pd.DataFrame]:
    """Fits all stages, one after the other; returns their logs by `Baseline.stage_name`. Arguments: see `fit_stage`."""
    return {
        baseline.stage_name(stage): fit_stage(baseline, stage, encoded, recipe, weights, checkpoints, watch)
        for stage in baseline.networks
    }


def fit_inversion(
    word: LearnedToken,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
    watch: Watch = UNWATCHED,
) -> dict[str, pd.DataFrame]:
    """Textual inversion, as `fit_baseline`. encoded: as for the adapter; prompts: of its images, without the word."""
    asked = [word.insert(prompt) for prompt in prompts]
    log = fit_word(word.pipe, encoded, asked, recipe, word.token, "image", weights, checkpoints, watch)
    return {INVERSION: log}


def fit_stage(
    baseline: Baseline,
    stage: str,
    encoded: Encoded,
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
    watch: Watch = UNWATCHED,
) -> pd.DataFrame:
    """Fits one network of a baseline, of a cascade independently of its other one; returns the log.

    encoded, watch.held: as `encode` gives them. weights: how often each image is drawn, relative to the others; default
    equally often. The recipe's compile and gradient_checkpointing are for Stable Diffusion's size and not used. An
    upsampler sees the image reduced, noised up to a random step that it is told (Ho et al., arXiv:2106.15282, 4.2).
    """
    device, network, name = baseline.device, baseline.networks[stage], baseline.stage_name(stage)
    pipe = SimpleNamespace(unet=network, scheduler=network.schedule)

    def source(encoded: Encoded, weights: np.ndarray | None = None) -> Draws:
        shown = replace(encoded, latents=_reduced(encoded.latents, baseline.side_of(stage)))
        return Draws(pipe, shown, recipe.seed, name, recipe.caption_dropout, weights)

    def lost(batch: dict[str, torch.Tensor], addresses: Sequence[tuple]) -> torch.Tensor:
        told = {}
        if stage == "upsampler":
            sources = [generator(derive(recipe.seed, name, "low", *address)) for address in addresses]
            low = _reduced(batch["latents"], baseline.side_of("base"))
            level = torch.cat([torch.randint(MAX_TRAINING_NOISE_STEP + 1, (1,), generator=each) for each in sources])
            noise = torch.stack([torch.randn(low.shape[1:], generator=each) for each in sources])
            told = {"low": network.schedule.add_noise(low, noise, level).to(device), "level": level.to(device)}
        batch = {kind: tensor.to(device) for kind, tensor in batch.items()}
        with half(device):
            return denoising_loss(pipe, batch, recipe.snr_gamma, partial(network, added_cond_kwargs=told)).sum()

    def loss(step: int, places: range) -> torch.Tensor:
        return lost(fitted.at(step, places, recipe.batch_size), [(step, k) for k in places])

    def held_loss(rows: range) -> torch.Tensor:
        return lost(held.held(rows), [("held", k) for k in rows])

    def look(done: int) -> float:
        if watch.show:
            watch.show(done)
        return mean_loss(held_loss, len(held.encoded.latents), recipe.batch_size) if held else math.nan

    fitted, held = source(encoded, weights), watch.held and source(watch.held)
    parameters = list(network.requires_grad_(True).parameters())
    log = fit(parameters, loss, recipe, name, checkpoints, digest(*parameters, fitted.key), watch, look)
    network.requires_grad_(False)
    return log


def _reduced(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Pixels (..., h, w) -> (..., side, side)."""
    if pixels.shape[-1] == side:
        return pixels
    flat = F.interpolate(pixels.flatten(0, -4).float(), (side, side), mode="bilinear", antialias=True)
    return flat.reshape(*pixels.shape[:-2], side, side).to(pixels.dtype)
