"""Textual inversion: fits the embedding of one new token."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from p2d_lib.finetune.batches import TrainingBatches
from p2d_lib.finetune.denoiser import fit_denoiser
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.finetune.loop import NO_MONITORING, Monitoring, Recipe
from p2d_lib.models import encoding, pipelines
from p2d_lib.models.checkpoints import Checkpoints


def fit_token(
    pipe,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    token: str,
    start: str,
    weights: np.ndarray | None = None,
    checkpoints: Checkpoints | None = None,
    monitoring: Monitoring = NO_MONITORING,
) -> pd.DataFrame:
    """Adds a token to the tokenizer and fits its embedding, nothing else; returns the log.

    Textual inversion (Gal et al., arXiv:2208.01618). prompts: one per image, which contain the token. start: words of
    the tokenizer whose mean embedding is the first value. weights: as of `fit_adapter`. Raises ValueError for a token
    that the tokenizer has already, and for SDXL.
    """
    if pipelines.is_xl(pipe):
        raise ValueError("textual inversion is for pipelines with one text encoder; this is SDXL, which has two")
    if not pipe.tokenizer.add_tokens(token):
        raise ValueError(f"{token!r} is a token already: choose a word that no prompt has, such as <{token}>")
    place = pipe.tokenizer.convert_tokens_to_ids(token)
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    table = pipe.text_encoder.get_input_embeddings()
    start_ids = pipe.tokenizer(start, add_special_tokens=False)["input_ids"]
    vector = torch.nn.Parameter(table.weight[start_ids].detach().float().mean(0))
    table.weight.data[place] = vector.detach().to(table.weight.dtype)  # the new row's memory is not initialised
    encoded = replace(encoded, ids=encoding.tokens(pipe, [*prompts, ""]).int())
    batches = [(TrainingBatches(pipe, encoded, recipe.seed, "word", recipe.caption_dropout, weights), 1.0)]
    key = digest(*(value for part in (pipe.unet, pipe.text_encoder) for value in part.state_dict().values()), token)

    def insert(_, inputs: tuple, embeddings: torch.Tensor) -> torch.Tensor:
        return torch.where((inputs[0] == place)[..., None], vector.to(embeddings.dtype), embeddings)

    handle = table.register_forward_hook(insert)
    try:
        log = fit_denoiser(pipe, [], [vector], batches, recipe, "textual-inversion", checkpoints, key, monitoring)
    finally:
        handle.remove()
    table.weight.data[place] = vector.detach().to(table.weight.dtype)
    return log
