"""Images and prompts -> what a denoiser reads, and back: latents, token ids, embeddings."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from p2d_lib.models.pipelines import encoders, is_xl
from p2d_lib.models.tiny_base import to_pixels
from p2d_lib.words.render import PromptError


@torch.no_grad()
def encode_moments(
    pipe: DiffusionPipeline, images: np.ndarray, batch_size: int = 32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, uint8 (n, h, w, 3) -> mean and standard deviation of their latents, each float32 (n, c, h / f, w / f).

    Both are scaled as the denoiser reads them, and on the CPU. batch_size: at 256 px; fewer of larger images.
    """
    scale, shift = pipe.vae.config.scaling_factor, getattr(pipe.vae.config, "shift_factor", None) or 0.0
    batch_size = max(1, batch_size * 256**2 // max(images.shape[1] * images.shape[2], 256**2))
    means, deviations = [], []
    for start in range(0, len(images), batch_size):
        found = pipe.vae.encode(to_pixels(images[start : start + batch_size], pipe.vae)).latent_dist
        means.append((found.mean.float().cpu() - shift) * scale)
        deviations.append(found.std.float().cpu() * scale)
    return torch.cat(means), torch.cat(deviations)


@torch.no_grad()
def decode_latents(pipe: StableDiffusionPipeline, latents: torch.Tensor, batch_size: int = 32) -> np.ndarray:
    """Scaled latents (n, c, h, w) -> images, uint8 (n, h * f, w * f, 3)."""
    if is_xl(pipe) and pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast:
        pipe.vae.float()  # SDXL's own overflows in float16
    images, shift = [], getattr(pipe.vae.config, "shift_factor", None) or 0.0
    for batch in latents.split(batch_size):
        batch = batch.to(pipe.vae.device, pipe.vae.dtype) / pipe.vae.config.scaling_factor + shift
        pixels = pipe.vae.decode(batch).sample.float().add(1).mul(127.5).clamp(0, 255)
        images.append(pixels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(images)


def tokens(pipe: DiffusionPipeline, prompts: Sequence[str]) -> torch.Tensor:
    """Token ids, int64 (n, length), padded to what the text encoder reads; (n, 2, length) for SDXL's two.

    Raises PromptError for a prompt that it would cut.
    """
    both = []
    for tokenizer in (pipe.tokenizer, pipe.tokenizer_2) if is_xl(pipe) else (pipe.tokenizer,):
        length = tokenizer.model_max_length
        read = tokenizer(list(prompts), padding="max_length", max_length=length)["input_ids"]
        longest = max(range(len(read)), key=lambda k, read=read: len(read[k]))
        if len(read[longest]) > length:
            raise PromptError(
                f"the text encoder reads {length - 2} tokens and would cut one of {len(read[longest]) - 2}: "
                f"{prompts[longest]!r}; lower 02_describe.max_tokens or max_features"
            )
        both.append(torch.tensor(read))
    return torch.stack(both, dim=1) if is_xl(pipe) else both[0]


def read_tokens(pipe: DiffusionPipeline, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the denoiser reads of token ids: "embeddings" (n, length, width) and, of SDXL, "pooled" (n, width)."""
    if not is_xl(pipe):
        return {"embeddings": pipe.text_encoder(ids)[0]}
    read = [part(ids[:, k], output_hidden_states=True) for k, part in enumerate(encoders(pipe))]
    return {"embeddings": torch.cat([each.hidden_states[-2] for each in read], dim=-1), "pooled": read[1][0]}


@torch.no_grad()
def conditions(pipe: DiffusionPipeline, prompts: Sequence[str], batch_size: int = 128) -> dict[str, torch.Tensor]:
    """`read_tokens` of prompts, on the pipeline's device; of "" all zero where the pipeline wants it so (SDXL)."""
    read = [read_tokens(pipe, ids.to(pipe.device)) for ids in tokens(pipe, prompts).split(batch_size)]
    found = {name: torch.cat([each[name] for each in read]) for name in read[0]}
    return silence(pipe, found, torch.tensor([not prompt for prompt in prompts], device=pipe.device))


def silence(pipe: DiffusionPipeline, words: dict[str, torch.Tensor], silent: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is read of no words, where `silent` (n,) is true, as the pipeline wants it: all zero or (most) as it is."""
    if not getattr(pipe.config, "force_zeros_for_empty_prompt", False):
        return words
    return {name: kept.masked_fill(silent.view(-1, *[1] * (kept.ndim - 1)), 0) for name, kept in words.items()}


def embed_prompts(pipe: DiffusionPipeline, prompts: Sequence[str], batch_size: int = 128) -> torch.Tensor:
    """What the denoiser attends to of each prompt: (n, length, width) on the pipeline's device."""
    return conditions(pipe, prompts, batch_size)["embeddings"]
