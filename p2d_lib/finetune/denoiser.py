"""Fits parameters of a diffusion pipeline to the denoising loss."""

import math
from collections.abc import Sequence
from contextlib import nullcontext

import pandas as pd
import torch

from p2d_lib.device import half
from p2d_lib.finetune.batches import Batch, TrainingBatches, ahead
from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.loop import Monitoring, Recipe, fit, mean_loss
from p2d_lib.finetune.loss import check_schedule, denoising_loss
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.processes import processes


def fit_denoiser(
    pipe,
    modules: Sequence[torch.nn.Module],
    parameters: Sequence[torch.nn.Parameter],
    batches: Sequence[tuple[TrainingBatches, float]],
    recipe: Recipe,
    name: str,
    checkpoints: Checkpoints | None,
    key: str,
    monitoring: Monitoring,
) -> pd.DataFrame:
    """`loop.fit` of the weighted sum of denoising losses on `batches`; returns the log.

    modules: put in training mode for the fit. batches: sets of training batches, each with the weight of its loss.
    Raises ValueError for a base on whose noise schedule the loss is not defined.
    """
    check_schedule(pipe.scheduler)
    device, unet = pipe.device, pipe.unet
    if recipe.compile or (recipe.compile is None and device.type == "cuda"):
        unet = torch.compile(pipe.unet)

    def make(step: int, places: range) -> list[Batch]:
        made = [of.at(step, places, recipe.batch_size) for of, _ in batches]
        return [_pinned(batch) for batch in made] if device.type == "cuda" else made

    def summed(batch: Batch, unet) -> torch.Tensor:
        batch = {kind: tensor.to(device, non_blocking=True) for kind, tensor in batch.items()}
        with half(device, recipe.precision):
            return denoising_loss(pipe, batch, recipe.snr_gamma, unet).sum()

    def loss(step: int, places: range) -> torch.Tensor:
        weights = [weight for _, weight in batches]
        return sum(w * summed(batch, unet) for w, batch in zip(weights, batches_at(step, places), strict=True))

    def validation_loss() -> float:
        held_out = TrainingBatches(pipe, monitoring.held_out, recipe.seed, "held")
        size = max(1, recipe.batch_size // recipe.accumulate)
        return mean_loss(lambda rows: summed(held_out.validation(rows), pipe.unet), len(held_out.encoded.latents), size)

    def evaluate(done: int) -> float:
        for module in modules:
            module.eval()
        value = validation_loss() if monitoring.held_out else math.nan
        if monitoring.preview and processes(device).is_main_process:
            monitoring.preview(done)
        for module in modules:
            module.train()
        return value

    for module in modules:
        module.train()
    if recipe.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    key = digest(key, *(of for of, _ in batches), str([weight for _, weight in batches]))
    prepared = ahead(make, recipe.steps) if device.type == "cuda" else nullcontext(make)
    try:
        with prepared as batches_at:
            return fit(parameters, loss, recipe, name, checkpoints, key, monitoring, evaluate)
    finally:
        pipe.unet.disable_gradient_checkpointing()
        for module in modules:
            module.eval()


def _pinned(batch: Batch) -> Batch:
    """In memory from which a GPU copies while it computes."""
    return {kind: tensor.pin_memory() for kind, tensor in batch.items()}
