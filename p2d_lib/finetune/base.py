"""Fits a whole denoiser and its text encoder, and the autoencoder of a tiny base that starts without weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from p2d_lib.finetune.batches import TrainingBatches
from p2d_lib.finetune.denoiser import fit_denoiser
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.finetune.loop import NO_MONITORING, Monitoring, Recipe
from p2d_lib.models import encoding, pipelines
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.seeds import derive

AUTOENCODER_PIXELS = 1000 * 64**2  # enough for the principal components of patches, and little memory


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
) -> pd.DataFrame:
    """Fits the whole denoiser and the text encoder; returns the log. prompts: one per image of `encoded`."""
    modules = [pipe.unet, *pipelines.encoders(pipe)]
    parameters = [p for module in modules for p in module.requires_grad_(True).parameters()]
    encoded = replace(encoded, ids=encoding.tokens(pipe, [*prompts, ""]).int())
    batches = [(TrainingBatches(pipe, encoded, recipe.seed, "base", recipe.caption_dropout), 1.0)]
    key = digest(*parameters)
    log = fit_denoiser(pipe, modules, parameters, batches, recipe, "base", checkpoints, key, monitoring)
    for module in modules:
        module.requires_grad_(False)
    return log
