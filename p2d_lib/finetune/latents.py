"""What training reads of images and prompts, computed once: latents of both views, an embedding per prompt."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from p2d_lib.models import diffusion
from p2d_lib.run import atomic


@dataclass(frozen=True)
class Encoded:
    """Images and prompts as the denoiser sees them, on the CPU."""

    latents: torch.Tensor  # float16 (n, 2, c, h, w): the image and its mirror image
    embeddings: torch.Tensor  # float16 (distinct prompts + 1, length, width); the last is that of ""
    index: torch.Tensor  # int64 (n,): which embedding belongs to which image


def encode(pipe, images: np.ndarray, prompts: Sequence[str], cache: Path) -> Encoded:
    """Latents and embeddings of a training set, kept in `cache` under a key of the weights, pixels and words.

    images: uint8 (n, h, w, 3). prompts: one per image. A mirrored mole is a mole: both views are kept, since the
    latent of a mirror image is not the mirrored latent.
    """
    path = cache / f"{key(pipe, images, prompts)}.safetensors"
    if not path.exists():
        views = [diffusion.encode_images(pipe, view) for view in (images, images[:, :, ::-1])]
        distinct = list(dict.fromkeys(prompts))
        place = {prompt: i for i, prompt in enumerate(distinct)}
        tensors = {
            "latents": torch.stack(views, dim=1).half(),
            "embeddings": diffusion.embed_prompts(pipe, [*distinct, ""]).half().cpu(),
            "index": torch.tensor([place[prompt] for prompt in prompts]),
        }
        with atomic(path) as partial:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    return Encoded(**load_file(path))


def key(pipe, images: np.ndarray, prompts: Sequence[str]) -> str:
    """What the encoding depends on, as a hex digest."""
    weights = [value for part in (pipe.vae, pipe.text_encoder) for item in part.state_dict().items() for value in item]
    return digest(*weights, repr(pipe.vae.config.scaling_factor), images, "\n".join(prompts))[:24]


def digest(*parts: torch.Tensor | np.ndarray | str) -> str:
    """SHA-256, in hex, of tensors, arrays and texts."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.detach().float().cpu().numpy()
        found.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part))
    return found.hexdigest()
