"""Fitting the baselines, stage by stage, on the same loop and from the same draws as the adapter."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from p2d_lib.device import generator
from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.train import Recipe, denoising_loss, fit
from p2d_lib.models.baselines import FACTOR, NOISED, Baseline
from p2d_lib.models.denoisers import Words
from p2d_lib.run import derive


def fit_stage(
    baseline: Baseline,
    stage: str,
    images: np.ndarray,
    prompts: Sequence[str],
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
) -> pd.DataFrame:
    """Fits one network of a baseline, of a cascade independently of its other one; returns the log.

    images: uint8 (n, h, w, 3), reduced to the baseline's side. prompts: one per image. weights: how often each image is
    drawn, relative to the others; default equally often. recipe.snr_gamma: infinite for the
    plain error of the noise. An upsampler sees the image reduced, noised up to a random step that it is told (Ho et
    al., arXiv:2106.15282, sec. 4.2).
    """
    device, b, network = baseline.device, recipe.batch_size, baseline.networks[stage]
    distinct = list(dict.fromkeys(prompts))
    words = baseline.text([*distinct, ""])
    words = Words(words.hidden.half().cpu(), words.mask.cpu())
    place = {prompt: i for i, prompt in enumerate(distinct)}
    index = torch.tensor([place[prompt] for prompt in prompts])
    chance = torch.ones(len(images)) if weights is None else torch.tensor(weights, dtype=torch.float32)
    half = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()

    def loss(step: int) -> torch.Tensor:
        source = generator(derive(recipe.seed, baseline.name, stage, step))
        chosen = torch.multinomial(chance, b, replacement=b > len(chance), generator=source)
        mirrored = torch.randint(2, (b, 1, 1, 1), generator=source).bool()
        dropped = torch.rand(b, generator=source) < recipe.caption_dropout
        pixels = torch.from_numpy(images[chosen.numpy()]).permute(0, 3, 1, 2).to(device, torch.float32) / 127.5 - 1
        pixels = torch.where(mirrored.to(device), pixels.flip(-1), pixels)
        pixels = _reduced(pixels, baseline.side_of(stage))
        said = words.take(torch.where(dropped, len(distinct), index[chosen]), device)
        told = {}
        if stage == "upsampler":
            low = _reduced(pixels, baseline.side // FACTOR)
            level = torch.randint(NOISED + 1, (b,), generator=source).to(device)
            noise = torch.randn(low.shape, generator=source).to(device)
            told = {"low": network.schedule.add_noise(low, noise, level), "level": level}

        def unet(noisy: torch.Tensor, steps: torch.Tensor, words) -> SimpleNamespace:
            return SimpleNamespace(sample=network(noisy, steps, words, **told))

        with half:
            return denoising_loss(
                SimpleNamespace(unet=unet, scheduler=network.schedule), pixels, said, source, recipe.snr_gamma
            )

    parameters = list(network.requires_grad_(True).parameters())
    key = digest(*parameters, images, words.hidden, index, chance, baseline.name + stage)
    log = fit(parameters, loss, recipe, f"{baseline.name}-{stage}", checkpoints, key)
    network.requires_grad_(False)
    return log


def fit_baseline(
    baseline: Baseline,
    images: np.ndarray,
    prompts: Sequence[str],
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
) -> dict[str, pd.DataFrame]:
    """Fits all stages, one after the other; returns their logs by stage. Arguments as of `fit_stage`."""
    return {
        stage: fit_stage(baseline, stage, images, prompts, recipe, weights, checkpoints) for stage in baseline.networks
    }


def _reduced(pixels: torch.Tensor, side: int) -> torch.Tensor:
    if pixels.shape[-1] == side:
        return pixels
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
