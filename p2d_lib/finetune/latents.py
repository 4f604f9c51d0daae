"""Encoded images and prompts: computed once, kept on disk in shards named by their content, read row by row."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from p2d_lib.files import atomic
from p2d_lib.models import encoding, pipelines
from p2d_lib.models.processes import processes

SHARD = 1024  # images, or prompts, in a file
BATCH = 32  # images encoded at once


class Stored:
    """The rows of a tensor that lies in shards on disk: stored[rows] reads these and keeps none."""

    def __init__(self, paths: Sequence[Path], name: str):
        self.paths, self.size = list(paths), SHARD
        self._shards = [safe_open(path, "pt").__enter__().get_tensor(name) for path in self.paths]  # mapped, not read
        self.shape = torch.Size([sum(map(len, self._shards)), *self._shards[0].shape[1:]])
        self.key = f"{name} {[path.stem for path in self.paths]}"  # the files' names are digests of their content

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """rows: int64 (b,) -> (b, ...)."""
        return torch.stack([self._shards[row // self.size][row % self.size] for row in rows.tolist()])


@dataclass(frozen=True)
class Encoded:
    """Images and prompts as the denoiser reads them: on disk (`Stored`, `pixel_rows.PixelRows`) or in memory."""

    latents: torch.Tensor | Stored  # (n, 2, c, h, w): posterior means, scaled, of each image and its mirror image
    embeddings: torch.Tensor | Stored | None  # float16 (distinct prompts + 1, length, width); the last is that of ""
    index: torch.Tensor | None  # int64 (n,): which embedding belongs to which image
    std: torch.Tensor | Stored | None = None  # like latents: the posterior's standard deviations; None: all zero
    pooled: torch.Tensor | Stored | None = None  # float16 (distinct prompts + 1, width), which SDXL reads besides
    ids: torch.Tensor | None = None  # int32 (n + 1, length): tokens instead, where the text encoder is trained; "" last

    @property
    def key(self) -> str:
        """A hex digest that differs between sets that differ."""
        return digest(*vars(self).values())

    def sample_latents(self, rows: torch.Tensor, mirrored: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Latents, float32 (b, c, h, w), from the posteriors of images `rows` or, where mirrored is 1, of their mirror
        images. noise: standard normal (b, c, h, w).
        """
        view = torch.arange(len(rows)), mirrored
        mean = self.latents[rows][view].float()
        return mean if self.std is None else mean + self.std[rows][view].float() * noise


def encode(
    pipe,
    images: np.ndarray,
    prompts: Sequence[str],
    cache: Path,
    words: Literal["embeddings", "tokens"] = "embeddings",
) -> Encoded:
    """The moments of images under the autoencoder and the embeddings of their prompts.

    images: uint8 (n, h, w, 3), in memory or mapped; a shard at a time is read. prompts: one per image. cache: a folder;
    a shard whose content it holds is not computed again. words: "tokens" where the text encoder is trained, since
    embeddings would change. Several processes share the work.

    Images are also trained on mirrored. Both views are encoded, since the latent of a mirror image is not the mirrored
    latent.
    """
    kinds = ("latents", "std") if getattr(pipe.vae, "spread", True) else ("latents",)
    of_images = digest(*_state(pipe.vae))
    of_words = digest(*(p for part in pipelines.encoders(pipe) for p in _state(part)))
    distinct, index = distinct_prompts(prompts)
    paths = shards(
        pipe.device, "images", len(prompts), lambda part: digest(of_images, ", ".join(kinds), images[part]),
        lambda part: _moments(pipe, images[part], kinds), cache,
    )  # fmt: skip
    stored = {kind: Stored(paths, kind) for kind in kinds}
    if words == "tokens":
        return Encoded(**stored, embeddings=None, index=None, ids=encoding.tokens(pipe, [*prompts, ""]).int())
    paths = shards(
        pipe.device, "prompts", len(distinct), lambda part: digest(of_words, *distinct[part]),
        lambda part: encoding.encode_prompts(pipe, distinct[part]), cache,
    )  # fmt: skip
    of_prompts = ("embeddings", "pooled") if pipelines.is_xl(pipe) else ("embeddings",)
    return Encoded(**stored, **{kind: Stored(paths, kind) for kind in of_prompts}, index=index)


def _moments(pipe, images: np.ndarray, kinds: Sequence[str]) -> dict[str, torch.Tensor]:
    """Means and, where kinds has them, deviations of images and of their mirror images, float16 (n, 2, c, h, w)."""
    stored = {kind: [] for kind in kinds}
    for start in range(0, len(images), BATCH):
        pixels = images[start : start + BATCH]
        views = [encoding.encode_moments(pipe, view) for view in (pixels, pixels[:, :, ::-1])]
        for kind, pair in zip(kinds, zip(*views, strict=True), strict=False):
            stored[kind].append(torch.stack(pair, dim=1).half())  # at once: a shard in float32 is four times as much
    return {kind: torch.cat(batches) for kind, batches in stored.items()}


def distinct_prompts(prompts: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """The different prompts and, last, "": what is embedded; and which of them each prompt is, int64 (n,)."""
    distinct = [*dict.fromkeys(prompts), ""]
    place = {prompt: i for i, prompt in enumerate(distinct)}
    return distinct, torch.tensor([place[prompt] for prompt in prompts])


def shards(device: torch.device, name: str, n: int, key: Callable, compute: Callable, cache: Path) -> list[Path]:
    """The files in `cache` that hold compute(part), tensors by name, for every part (slice) of 0..n.

    key(part): a digest of what the part's content depends on, which names its file. Of w processes, process r computes
    parts r, r + w ...; each waits for all.
    """
    parts = [slice(start, min(start + SHARD, n)) for start in range(0, n, SHARD)]
    paths = [cache / f"{key(part)[:24]}.safetensors" for part in parts]
    state = processes(device)
    mine = range(state.process_index, len(parts), state.num_processes)
    for k in tqdm(mine, desc=f"encode {name}", unit="shard", disable=len(mine) < 2):
        if not paths[k].exists():
            with atomic(paths[k]) as partial:
                save_file({kind: t.half().cpu().contiguous() for kind, t in compute(parts[k]).items()}, partial)
    state.wait_for_everyone()
    return paths


def _state(part: torch.nn.Module) -> list:
    """What the output of a part depends on: its weights and their names, its settings (not its origin)."""
    settings = part.config.to_dict() if hasattr(part.config, "to_dict") else part.config
    settings = sorted((name, str(value)) for name, value in settings.items() if not name.startswith("_"))
    return [repr(settings), *(value for item in part.state_dict().items() for value in item)]


def digest(*parts: torch.Tensor | np.ndarray | str | None) -> str:
    """SHA-256, in hex, of tensors, arrays and texts; what lies on disk counts by its `key`."""
    total = hashlib.sha256()
    for part in parts:
        part = getattr(part, "key", part)
        if isinstance(part, torch.Tensor):
            part = part.detach().float().cpu().numpy()
        total.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else f"{part}\n".encode())
    return total.hexdigest()
