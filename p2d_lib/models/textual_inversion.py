"""Textual inversion: Stable Diffusion learns one new token for "dermoscopic image" (Gal et al., arXiv:2208.01618)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from p2d_lib.models import pipelines
from p2d_lib.models.sampling import samples
from p2d_lib.words.render import TRIGGER

WEIGHTS = "learned_embeds.safetensors"  # the file name that diffusers looks for


@dataclass
class LearnedToken:
    """Stable Diffusion with its own weights, and one token whose embedding is learnt."""

    pipe: StableDiffusionPipeline
    token: str = "<dermoscopy>"

    def insert(self, prompt: str) -> str:
        """The prompt with the token in place of "dermoscopic image", or before a prompt without these words."""
        return prompt.replace(TRIGGER, self.token, 1) if TRIGGER in prompt else f"{self.token} {prompt}"

    @property
    def vector(self) -> torch.Tensor:
        """The token's embedding (width,)."""
        place = self.pipe.tokenizer.convert_tokens_to_ids(self.token)
        return self.pipe.text_encoder.get_input_embeddings().weight[place].detach()

    def samples(self, requests: Iterable[tuple[str, int]], **settings) -> Iterator[np.ndarray]:
        """As `sampling.samples`; the prompts are without the token."""
        return samples(self.pipe, ((self.insert(prompt), seed) for prompt, seed in requests), **settings)

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], **settings) -> np.ndarray:
        """As `sampling.sample`; the prompts are without the token."""
        return np.concatenate(list(self.samples(zip(prompts, seeds, strict=True), **settings)))

    def save(self, folder: Path) -> None:
        """Writes the token for `pipe.load_textual_inversion(folder)` into a folder (made where missing)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({self.token: self.vector.cpu().contiguous()}, folder / WEIGHTS, metadata={"format": "pt"})


def load(
    folder: Path, device: torch.device | str, base: str | Path, dtype: torch.dtype = torch.float32
) -> LearnedToken:
    """The token that was saved in a folder, added to the base that it was learnt for (named as in `pipelines.load`)."""
    pipe = pipelines.load(base, device, dtype)
    pipe.load_textual_inversion(folder)
    (token,) = load_file(folder / WEIGHTS)
    return LearnedToken(pipe, token)
