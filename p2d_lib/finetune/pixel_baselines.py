"""Fits the baselines, stage by stage, with the loop, batches and loss that the adapter is fitted with."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from p2d_lib.device import generator, half
from p2d_lib.finetune.batches import TrainingBatches
from p2d_lib.finetune.inversion import fit_token
from p2d_lib.finetune.latents import Encoded, Stored, digest, distinct_prompts, shards
from p2d_lib.finetune.loop import NO_MONITORING, Monitoring, Recipe, fit, mean_loss
from p2d_lib.finetune.loss import check_schedule, denoising_loss
from p2d_lib.finetune.pixel_rows import PixelRows, reduced, reduced_on_disk
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.pixel_baselines import INVERSION, MAX_TRAINING_NOISE_STEP, Baseline
from p2d_lib.models.textual_inversion import LearnedToken
from p2d_lib.seeds import derive


def encode(baseline: Baseline, images: np.ndarray, prompts: Sequence[str], cache: Path) -> Encoded:
    """Images, reduced to the baseline's side, with their mirror images, and its embeddings of their prompts.

    images: uint8 (n, h, w, 3), in memory or mapped. prompts: one per image. cache: a folder that holds both afterwards;
    batches are read from there.
    """
    distinct, index = distinct_prompts(prompts)
    length = max(map(len, baseline.text.tokenizer(distinct)["input_ids"]))
    text = baseline.text.sha256()

    def embeddings(part: slice) -> dict[str, torch.Tensor]:
        embedded = baseline.text(distinct[part])  # as long as the longest prompt of the part; zero is no word
        return {"embeddings": F.pad(embedded, (0, 0, 0, length - embedded.shape[1]))}

    paths = shards(
        baseline.device, "prompts", len(distinct), lambda part: digest(text, str(length), *distinct[part]), embeddings,
        cache,
    )  # fmt: skip
    pixels = PixelRows(reduced_on_disk(images, baseline.side, cache))
    return Encoded(latents=pixels, embeddings=Stored(paths, "embeddings"), index=index)


def fit_baseline(
    baseline: Baseline,
    encoded: Encoded,
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Checkpoints | None = None,
    monitoring: Monitoring = NO_MONITORING,
) -> dict[str, pd.DataFrame]:
    """Fits all stages, one after the other; returns their logs by name. Arguments as of `fit_stage`."""
    return {
        baseline.stage_name(stage): fit_stage(baseline, stage, encoded, recipe, weights, checkpoints, monitoring)
        for stage in baseline.networks
    }


def fit_inversion(
    model: LearnedToken,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Checkpoints | None = None,
    monitoring: Monitoring = NO_MONITORING,
) -> dict[str, pd.DataFrame]:
    """Textual inversion, as `fit_baseline`. encoded: as for the adapter; prompts: of its images, without the token."""
    with_token = [model.insert(prompt) for prompt in prompts]
    log = fit_token(model.pipe, encoded, with_token, recipe, model.token, "image", weights, checkpoints, monitoring)
    return {INVERSION: log}


def fit_stage(
    baseline: Baseline,
    stage: str,
    encoded: Encoded,
    recipe: Recipe,
    weights: np.ndarray | None = None,
    checkpoints: Checkpoints | None = None,
    monitoring: Monitoring = NO_MONITORING,
) -> pd.DataFrame:
    """Fits one network of a baseline; returns the log. The two of a cascade are fitted independently.

    encoded, monitoring.held_out: as `encode` gives them. weights: float (n,), how often each image enters a batch
    relative to the others; default equally often. The recipe's compile and gradient_checkpointing are for Stable
    Diffusion's size and not used. An upsampler also reads the reduced image, noised up to a random step, and that step
    (Ho et al., arXiv:2106.15282, sec. 4.2).
    """
    device, network, name = baseline.device, baseline.networks[stage], baseline.stage_name(stage)
    check_schedule(network.schedule)
    pipe = SimpleNamespace(unet=network, scheduler=network.schedule)

    def batches(encoded: Encoded, dropout: float = 0.0, weights: np.ndarray | None = None) -> TrainingBatches:
        pixels = PixelRows(encoded.latents.images, baseline.side_of(stage))
        reduced_set = Encoded(pixels, encoded.embeddings, encoded.index)
        return TrainingBatches(pipe, reduced_set, recipe.seed, name, dropout, weights)

    def summed(batch: dict[str, torch.Tensor], addresses: Sequence[tuple]) -> torch.Tensor:
        more = _low_resolution(baseline, batch["latents"], recipe.seed, addresses) if stage == "upsampler" else {}
        batch = {kind: tensor.to(device) for kind, tensor in batch.items()}
        with half(device, recipe.precision):
            return denoising_loss(pipe, batch, recipe.snr_gamma, partial(network, added_cond_kwargs=more)).sum()

    def loss(step: int, places: range) -> torch.Tensor:
        return summed(train.at(step, places, recipe.batch_size), [(step, k) for k in places])

    def validation_loss(rows: range) -> torch.Tensor:
        return summed(held_out.validation(rows), [("held", k) for k in rows])

    def evaluate(done: int) -> float:
        if monitoring.preview:
            monitoring.preview(done)
        return mean_loss(validation_loss, len(held_out.encoded.latents), recipe.batch_size) if held_out else math.nan

    train = batches(encoded, recipe.caption_dropout, weights)
    held_out = monitoring.held_out and batches(monitoring.held_out)
    parameters = list(network.requires_grad_(True).parameters())
    key = digest(*parameters, train)
    log = fit(parameters, loss, recipe, name, checkpoints, key, monitoring, evaluate)
    network.requires_grad_(False)
    return log


def _low_resolution(
    baseline: Baseline, pixels: torch.Tensor, seed: int, addresses: Sequence[tuple]
) -> dict[str, torch.Tensor]:
    """What an upsampler reads of images, float32 (b, 3, h, w): "low", the noised small images, and "level" (b,), the
    step up to which each is noised."""
    schedule, name = baseline.networks["upsampler"].schedule, baseline.stage_name("upsampler")
    sources = [generator(derive(seed, name, "low", *address)) for address in addresses]
    low = reduced(pixels, baseline.side_of("base"))
    level = torch.cat([torch.randint(MAX_TRAINING_NOISE_STEP + 1, (1,), generator=source) for source in sources])
    noise = torch.stack([torch.randn(low.shape[1:], generator=source) for source in sources])
    return {
        "low": schedule.add_noise(low, noise, level).to(baseline.device),
        "level": level.to(baseline.device),
    }
