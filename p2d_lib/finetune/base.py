"""Fits a whole base: a tiny base's autoencoder, any base's denoiser and text encoder, a tiny base's decoder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from p2d_lib.finetune.batches import TrainingBatches
from p2d_lib.finetune.denoiser import fit_denoiser
from p2d_lib.finetune.latents import Encoded, Stored, digest, shards
from p2d_lib.finetune.loop import NO_MONITORING, Monitoring, Recipe
from p2d_lib.models import encoding, pipelines, sampling
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.seeds import derive

AUTOENCODER_PIXELS = 1000 * 64**2  # enough for the principal components of patches, and little memory
SAMPLED = 1024  # latents that a decoder is fitted on: more take longer to sample than they help


def fit_autoencoder(pipe, images: np.ndarray, seed: int) -> None:
    """Fits the tiny base's autoencoder to a sample of images, uint8 (n, s, s, 3)."""
    rows = np.random.default_rng(derive(seed, "autoencoder")).permutation(len(images))
    pipe.vae.fit(np.asarray(images[rows[: max(1, AUTOENCODER_PIXELS // images.shape[1] ** 2)]]))


def fit_base(
    pipe,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    checkpoints: Checkpoints | None = None,
    monitoring: Monitoring = NO_MONITORING,
    weights: np.ndarray | None = None,
    times: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Fits the whole denoiser and the text encoder; returns the log.

    prompts: one per image of `encoded`. weights, times: as of `TrainingBatches`.
    """
    modules = [pipe.unet, *pipelines.encoders(pipe)]
    parameters = [p for module in modules for p in module.requires_grad_(True).parameters()]
    encoded = replace(encoded, ids=encoding.tokens(pipe, [*prompts, ""]).int())
    batches = [(TrainingBatches(pipe, encoded, recipe.seed, "base", recipe.caption_dropout, weights, times), 1.0)]
    key = digest(*parameters)
    log = fit_denoiser(pipe, modules, parameters, batches, recipe, "base", checkpoints, key, monitoring)
    for module in modules:
        module.requires_grad_(False)
    return log


def sampled_latents(pipe, prompts: Sequence[str], seed: int, cache: Path, **settings) -> torch.Tensor:
    """SAMPLED latents that the denoiser samples from prompts chosen at random: float32 (SAMPLED, c, h, w).

    cache: a folder; latents of the same weights, prompts and settings that it holds are not sampled again. settings:
    of `sampling.sample_latents`.
    """
    rows = np.random.default_rng(derive(seed, "decoder", "prompts")).integers(0, len(prompts), SAMPLED)
    requests = [(prompts[row], derive(seed, "decoder", "sampled", k)) for k, row in enumerate(rows)]
    weights = (value for part in (pipe.unet, *pipelines.encoders(pipe)) for value in part.state_dict().values())
    key = digest(*weights, repr(sorted(settings.items())))

    def compute(part: slice) -> dict[str, torch.Tensor]:
        return {"latents": torch.cat(list(sampling.sample_latents(pipe, requests[part], **settings)))}

    paths = shards(pipe.device, "samples", SAMPLED, lambda part: digest(key, repr(requests[part])), compute, cache)
    return Stored(paths, "latents")[torch.arange(SAMPLED)].float()
