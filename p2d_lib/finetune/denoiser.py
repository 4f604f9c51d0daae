"""Fits parameters of a diffusion pipeline to the denoising loss."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from p2d_lib.device import half
from p2d_lib.finetune.batches import Draws
from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.loop import Recipe, Watch, fit, mean_loss
from p2d_lib.finetune.loss import denoising_loss


def fit_denoiser(
    pipe,
    parts: Sequence[torch.nn.Module],
    parameters: Sequence[torch.nn.Parameter],
    draws: Sequence[tuple[Draws, float]],
    recipe: Recipe,
    name: str,
    checkpoints: Path | None,
    key: str,
    watch: Watch,
) -> pd.DataFrame:
    """`fit` of the denoising loss on batches of `draws`, each with its weight; parts: what is in training mode."""
    device, unet = pipe.device, pipe.unet
    if recipe.compile or (recipe.compile is None and device.type == "cuda"):
        unet = torch.compile(pipe.unet)

    def lost(batch: dict[str, torch.Tensor], unet) -> torch.Tensor:
        if device.type == "cuda":
            batch = {kind: tensor.pin_memory() for kind, tensor in batch.items()}  # or the copy would wait for the step
        batch = {kind: tensor.to(device, non_blocking=True) for kind, tensor in batch.items()}
        with half(device):
            return denoising_loss(pipe, batch, recipe.snr_gamma, unet).sum()

    def loss(step: int, places: range) -> torch.Tensor:
        return sum(weight * lost(source.at(step, places, recipe.batch_size), unet) for source, weight in draws)

    def held() -> float:
        source, n = Draws(pipe, watch.held, recipe.seed, "held"), len(watch.held.latents)
        size = max(1, recipe.batch_size // recipe.accumulate)
        return mean_loss(lambda rows: lost(source.held(rows), pipe.unet), n, size)

    def look(done: int) -> float:
        for part in parts:
            part.eval()
        found = held() if watch.held else math.nan
        if watch.show:
            watch.show(done)
        for part in parts:
            part.train()
        return found

    for part in parts:
        part.train()
    if recipe.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    key = digest(key, *(source.key for source, _ in draws), str([weight for _, weight in draws]))
    try:
        return fit(parameters, loss, recipe, name, checkpoints, key, watch, look)
    finally:
        pipe.unet.disable_gradient_checkpointing()
        for part in parts:
            part.eval()
