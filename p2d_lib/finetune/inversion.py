"""Textual inversion: fits the embedding of one new word."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from p2d_lib.finetune.batches import Draws
from p2d_lib.finetune.denoiser import fit_denoiser
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.finetune.loop import NO_WATCH, Recipe, Watch
from p2d_lib.models import encoding, pipelines


def fit_word(
    pipe,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    word: str,
    like: str,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
    watch: Watch = NO_WATCH,
) -> pd.DataFrame:
    """Adds a word to the tokenizer and fits its embedding, nothing else; returns the log.

    Textual inversion (Gal et al., arXiv:2208.01618). prompts: one per image, with the word in them. like: known words
    whose mean embedding it starts from. weights: as of `fit_adapter`. Raises ValueError for a word that is known
    already, and for SDXL.
    """
    if pipelines.is_xl(pipe):
        raise ValueError("textual inversion is for pipelines with one text encoder; this is SDXL, which has two")
    if not pipe.tokenizer.add_tokens(word):
        raise ValueError(f"{word!r} is a token already: choose a word that no prompt has, such as <{word}>")
    place = pipe.tokenizer.convert_tokens_to_ids(word)
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    table = pipe.text_encoder.get_input_embeddings()
    known = pipe.tokenizer(like, add_special_tokens=False)["input_ids"]
    vector = torch.nn.Parameter(table.weight[known].detach().float().mean(0))
    table.weight.data[place] = vector.detach().to(table.weight.dtype)  # what was there is anything
    encoded = replace(encoded, ids=encoding.tokens(pipe, [*prompts, ""]).int())
    draws = [(Draws(pipe, encoded, recipe.seed, "word", recipe.caption_dropout, weights), 1.0)]
    key = digest(*(value for part in (pipe.unet, pipe.text_encoder) for value in part.state_dict().values()), word)

    def put(_, given: tuple, looked_up: torch.Tensor) -> torch.Tensor:
        return torch.where((given[0] == place)[..., None], vector.to(looked_up.dtype), looked_up)

    handle = table.register_forward_hook(put)
    try:
        log = fit_denoiser(pipe, [], [vector], draws, recipe, "word", checkpoints, key, watch)
    finally:
        handle.remove()
    table.weight.data[place] = vector.detach().to(table.weight.dtype)
    return log
