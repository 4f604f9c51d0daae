"""Fits a whole denoiser and its text encoder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from p2d_lib.finetune.batches import Draws
from p2d_lib.finetune.denoiser import fit_denoiser
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.finetune.loop import NO_WATCH, Recipe, Watch
from p2d_lib.models import encoding, pipelines


def fit_base(
    pipe,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    checkpoints: Path | None = None,
    watch: Watch = NO_WATCH,
) -> pd.DataFrame:
    """Fits the whole denoiser and the text encoder; returns the log. prompts: one per image of `encoded`."""
    parts = [pipe.unet, *pipelines.encoders(pipe)]
    parameters = [p for part in parts for p in part.requires_grad_(True).parameters()]
    encoded = replace(encoded, ids=encoding.tokens(pipe, [*prompts, ""]).int())
    draws = [(Draws(pipe, encoded, recipe.seed, "base", recipe.caption_dropout), 1.0)]
    log = fit_denoiser(pipe, parts, parameters, draws, recipe, "base", checkpoints, digest(*parameters), watch)
    for part in parts:
        part.requires_grad_(False)
    return log
