"""Diffusion pipelines: loaded from what ships, a folder or the Hugging Face hub, and saved."""

import copy
import json
from pathlib import Path

import torch
from diffusers import (
    DiffusionPipeline,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import logging
from transformers.utils import logging as transformers_logging

from p2d_lib.models.tiny_base import TINY, _pipeline, tiny_pipeline

POINTER = "pointer.json"  # stands in a folder for a base that lies elsewhere

logging.set_verbosity_error()  # diffusers warns about the missing safety checker at every load
logging.disable_progress_bar()
transformers_logging.disable_progress_bar()


class BaseError(Exception):
    """A base that cannot be loaded; the message names it."""


def load(
    base: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> StableDiffusionPipeline:
    """A pipeline, in evaluation mode, on `device`: Stable Diffusion 1, 2 or XL.

    base: "tiny" (the weights that ship), "random" (`tiny_pipeline(seed)`), a folder in the diffusers layout or with a
    pointer that `leave` wrote, or a Hugging Face id. Raises BaseError when there is no such thing.
    """
    if (pointer := Path(base) / POINTER).exists():
        return load(device=device, dtype=dtype, **json.loads(pointer.read_text()))
    if str(base) == "random":
        pipe = tiny_pipeline(seed)
    else:
        source = str(TINY if str(base) == "tiny" else base)
        try:
            pipe = DiffusionPipeline.from_pretrained(
                source, dtype=dtype, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BaseError(
                f"base {str(base)!r} cannot be loaded ({reason}): give tiny, random, a folder in the diffusers layout "
                "or a Hugging Face id that this machine can download"
            ) from None
        pipe.set_progress_bar_config(disable=True)
    pipe = pipe.to(device, dtype)
    for part in (pipe.vae, pipe.unet, *encoders(pipe)):
        part.eval().requires_grad_(False)
    for part in (pipe.vae, pipe.unet):
        part.to(memory_format=torch.channels_last)
    return pipe


def is_xl(pipe: DiffusionPipeline) -> bool:
    """Whether it has SDXL's two text encoders (Podell et al., arXiv:2307.01952)."""
    return getattr(pipe, "text_encoder_2", None) is not None


def encoders(pipe: DiffusionPipeline) -> list[torch.nn.Module]:
    """Its text encoders: one, or SDXL's two."""
    return [pipe.text_encoder, pipe.text_encoder_2] if is_xl(pipe) else [pipe.text_encoder]


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type to sample in: half precision where there is a GPU for it."""
    return torch.float16 if device.type == "cuda" else torch.float32


def save(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Writes a pipeline in the diffusers layout, weights in half precision as safetensors; `pipe` stays as it is."""
    halves = {name: copy.deepcopy(getattr(pipe, name)).half() for name in ("vae", "unet", "text_encoder")}
    _pipeline(**halves, tokenizer=pipe.tokenizer, scheduler=pipe.scheduler).save_pretrained(folder)


def leave(pipe: StableDiffusionPipeline, folder: Path, came_from: str | None) -> None:
    """Writes a pipeline trained here (came_from None), else a pointer to what was loaded: weights are kept once."""
    if came_from is None:
        return save(pipe, folder)
    folder.mkdir(parents=True)
    here = Path(came_from)
    base = str(here.resolve()) if here.is_dir() else came_from
    (folder / POINTER).write_text(json.dumps({"base": base}) + "\n")
