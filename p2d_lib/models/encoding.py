"""Images and prompts -> the inputs of a denoiser, and back: latents, token ids, embeddings."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from p2d_lib.models.pipelines import encoders, is_xl
from p2d_lib.models.tiny_base import to_pixels
from p2d_lib.words.render import PromptError

PROMPTS_AT_ONCE = 128  # that the text encoder reads in one call


@torch.no_grad()
def encode_moments(
    pipe: DiffusionPipeline, images: np.ndarray, batch_size: int = 32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, uint8 (n, h, w, 3) -> mean and standard deviation of their latents, each float32 (n, c, h / f, w / f).

    Both are multiplied by the autoencoder's scaling factor, and on the CPU. batch_size: images of 256 px in one call;
    of larger images fewer, so that memory does not grow.
    """
    scale, shift = pipe.vae.config.scaling_factor, getattr(pipe.vae.config, "shift_factor", None) or 0.0
    batch_size = max(1, batch_size * 256**2 // max(images.shape[1] * images.shape[2], 256**2))
    means, deviations = [], []
    for start in range(0, len(images), batch_size):
        posterior = pipe.vae.encode(to_pixels(images[start : start + batch_size], pipe.vae)).latent_dist
        means.append((posterior.mean.float().cpu() - shift) * scale)
        deviations.append(posterior.std.float().cpu() * scale)
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


def count_tokens(pipe: DiffusionPipeline, text: str) -> int:
    """Tokens that the pipeline's own tokenizer makes of a text, without those that mark start and end; of SDXL's two,
    the larger number. A tokenizer of few words makes more of a text than CLIP's does."""
    tokenizers = (pipe.tokenizer, pipe.tokenizer_2) if is_xl(pipe) else (pipe.tokenizer,)
    return max(len(tokenizer.tokenize(text)) for tokenizer in tokenizers)


def tokens(pipe: DiffusionPipeline, prompts: Sequence[str]) -> torch.Tensor:
    """Token ids, int64 (n, length), padded to the length of the text encoder; (n, 2, length) for SDXL's two.

    Raises PromptError for a prompt that is longer than the text encoder.
    """
    ids_of_encoders = []
    for tokenizer in (pipe.tokenizer, pipe.tokenizer_2) if is_xl(pipe) else (pipe.tokenizer,):
        length = tokenizer.model_max_length
        ids = tokenizer(list(prompts), padding="max_length", max_length=length)["input_ids"]
        longest = max(range(len(ids)), key=lambda k, ids=ids: len(ids[k]))
        if len(ids[longest]) > length:
            raise PromptError(
                f"the text encoder takes {length - 2} tokens and would cut one of {len(ids[longest]) - 2}: "
                f"{prompts[longest]!r}; lower 02_describe.max_tokens or max_features"
            )
        ids_of_encoders.append(torch.tensor(ids))
    return torch.stack(ids_of_encoders, dim=1) if is_xl(pipe) else ids_of_encoders[0]


def encode_tokens(pipe: DiffusionPipeline, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Token ids of `tokens` -> "embeddings", float (n, length, width), to which the denoiser attends.

    Of SDXL also "pooled", float (n, width), which its denoiser adds to the embedding of time. With gradients.
    """
    if not is_xl(pipe):
        return {"embeddings": pipe.text_encoder(ids)[0]}
    outputs = [part(ids[:, k], output_hidden_states=True) for k, part in enumerate(encoders(pipe))]
    return {"embeddings": torch.cat([each.hidden_states[-2] for each in outputs], dim=-1), "pooled": outputs[1][0]}


@torch.no_grad()
def encode_prompts(pipe: DiffusionPipeline, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
    """`encode_tokens` of prompts, on the pipeline's device; "" is encoded as the pipeline was trained with it.

    Raises PromptError for a prompt that is longer than the text encoder.
    """
    parts = [encode_tokens(pipe, ids.to(pipe.device)) for ids in tokens(pipe, prompts).split(PROMPTS_AT_ONCE)]
    encoded = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return zero_empty_prompts(pipe, encoded, torch.tensor([not prompt for prompt in prompts], device=pipe.device))


def zero_empty_prompts(
    pipe: DiffusionPipeline, encoded: dict[str, torch.Tensor], is_empty: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The output of `encode_tokens` with zeros where the prompt is empty, for a pipeline that was trained so (SDXL).

    is_empty: bool (n,). Other pipelines encode "" as any prompt: they get `encoded` back as it is.
    """
    if not getattr(pipe.config, "force_zeros_for_empty_prompt", False):
        return encoded
    return {
        name: tensor.masked_fill(is_empty.view(-1, *[1] * (tensor.ndim - 1)), 0) for name, tensor in encoded.items()
    }
