"""What training reads of images and prompts, computed once, kept in shards under their content, streamed from disk."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from accelerate import PartialState
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from p2d_lib.files import atomic
from p2d_lib.models import encoding, pipelines

SHARD = 1024  # images, or prompts, in a file


class Stored:
    """The rows of a tensor that lies in shards on disk: stored[rows] reads these and keeps none."""

    def __init__(self, paths: Sequence[Path], name: str):
        self.paths, self.name, self.size = list(paths), name, SHARD
        self._shards = [safe_open(path, "pt").__enter__() for path in self.paths]  # mapped, not read
        shapes = [shard.get_slice(name).get_shape() for shard in self._shards]
        self.shape = torch.Size([sum(shape[0] for shape in shapes), *shapes[0][1:]])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """rows: int64 (b,) -> (b, ...)."""
        return torch.stack(
            [self._shards[row // self.size].get_slice(self.name)[row % self.size] for row in rows.tolist()]
        )


@dataclass(frozen=True)
class Encoded:
    """Images and prompts as the denoiser sees them: on disk, or as tensors in memory."""

    latents: (
        torch.Tensor | Stored
    )  # float16 (n, 2, c, h, w): posterior means, scaled, of the image and its mirror image
    embeddings: torch.Tensor | Stored | None  # float16 (distinct prompts + 1, length, width); the last is that of ""
    index: torch.Tensor | None  # int64 (n,): which embedding belongs to which image
    spread: torch.Tensor | Stored | None = None  # like latents: the posterior's standard deviations; None: all zero
    pooled: torch.Tensor | Stored | None = None  # float16 (distinct prompts + 1, width), which SDXL reads besides
    ids: torch.Tensor | None = None  # int32 (n + 1, length): tokens instead, where the text encoder is trained; "" last

    @property
    def key(self) -> str:
        """What tells this set from others, as a hex digest."""
        return digest(*vars(self).values())

    def draw(self, rows: torch.Tensor, mirrored: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Latents, float32 (b, c, h, w), drawn from the posteriors of images or, where mirrored is 1, their mirrors."""
        view = torch.arange(len(rows)), mirrored
        mean = self.latents[rows][view].float()
        return mean if self.spread is None else mean + self.spread[rows][view].float() * noise


def encode(
    pipe,
    images: np.ndarray | Callable[[slice], np.ndarray],
    prompts: Sequence[str],
    cache: Path,
    contents: Sequence[str] | None = None,
    words: Literal["embeddings", "tokens"] = "embeddings",
) -> Encoded:
    """The moments of images under the autoencoder and the embeddings of their prompts.

    images: uint8 (n, h, w, 3), or what gives them for a slice of 0..n: a shard at a time is in memory. prompts: one per
    image. cache: a folder; a shard whose content it holds is not computed again. contents: one text per image that
    changes when its pixels do, such as its file's SHA-256; default the pixels are hashed. words: tokens where
    the text encoder is trained, since embeddings would change. Several processes share the work.

    A mirrored mole is a mole: both views are kept, since the latent of a mirror image is not the mirrored latent.
    """
    read = images if callable(images) else images.__getitem__
    of_images, of_words = (
        digest(*_state(pipe.vae)),
        digest(*(p for part in pipelines.encoders(pipe) for p in _state(part))),
    )
    distinct, index = distinct_prompts(prompts)

    def image_key(part: slice) -> str:
        return digest(of_images, *([read(part)] if contents is None else contents[part]))

    def moments(part: slice) -> dict[str, torch.Tensor]:
        pixels = read(part)
        views = [encoding.encode_moments(pipe, view) for view in (pixels, pixels[:, :, ::-1])]
        return dict(
            zip(("latents", "spread"), (torch.stack(pair, dim=1) for pair in zip(*views, strict=True)), strict=True)
        )

    paths = _shards(pipe, "images", len(prompts), image_key, moments, cache)
    stored = {"latents": Stored(paths, "latents"), "spread": Stored(paths, "spread")}
    if words == "tokens":
        return Encoded(**stored, embeddings=None, index=None, ids=encoding.tokens(pipe, [*prompts, ""]).int())
    paths = _shards(
        pipe, "prompts", len(distinct), lambda part: digest(of_words, *distinct[part]),
        lambda part: encoding.encode_prompts(pipe, distinct[part]), cache,
    )  # fmt: skip
    kinds = ("embeddings", "pooled") if pipelines.is_xl(pipe) else ("embeddings",)
    return Encoded(**stored, **{name: Stored(paths, name) for name in kinds}, index=index)


def distinct_prompts(prompts: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """The different prompts and, last, "": what is embedded; and which of them each prompt is, int64 (n,)."""
    distinct = [*dict.fromkeys(prompts), ""]
    place = {prompt: i for i, prompt in enumerate(distinct)}
    return distinct, torch.tensor([place[prompt] for prompt in prompts])


def _shards(pipe, name: str, n: int, key: Callable, compute: Callable, cache: Path) -> list[Path]:
    """The files that hold compute(part) for every part of 0..n; process r of w computes r, r + w ..."""
    parts = [slice(start, min(start + SHARD, n)) for start in range(0, n, SHARD)]
    paths = [cache / f"{key(part)[:24]}.safetensors" for part in parts]
    state = PartialState(cpu=pipe.device.type == "cpu")
    mine = range(state.process_index, len(parts), state.num_processes)
    for k in tqdm(mine, desc=f"encode {name}", unit="shard", disable=len(mine) < 2):
        if not paths[k].exists():
            with atomic(paths[k]) as partial:
                save_file({kind: t.half().cpu().contiguous() for kind, t in compute(parts[k]).items()}, partial)
    state.wait_for_everyone()
    return paths


def _state(part: torch.nn.Module) -> list:
    """What the output of a part depends on: its weights and their names, its settings (not where it came from)."""
    settings = part.config.to_dict() if hasattr(part.config, "to_dict") else part.config
    settings = sorted((name, str(value)) for name, value in settings.items() if not name.startswith("_"))
    return [repr(settings), *(value for item in part.state_dict().items() for value in item)]


def digest(*parts: torch.Tensor | np.ndarray | Stored | str | None) -> str:
    """SHA-256, in hex, of tensors, arrays and texts; a stored tensor counts by its files' names, which are digests."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Stored):
            part = f"{part.name} {[path.stem for path in part.paths]}"
        if isinstance(part, torch.Tensor):
            part = part.detach().float().cpu().numpy()
        found.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else f"{part}\n".encode())
    return found.hexdigest()
