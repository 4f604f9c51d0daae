"""Training batches of latents, noise, times and words.

The random numbers of a step depend on (seed, step) alone, and each process takes those of its places in the batch: they
are the same for any number of processes, for any parts that a batch is computed in, and after a restart.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from p2d_lib.device import generator
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.seeds import derive

Batch = dict[str, torch.Tensor]
Made = TypeVar("Made")  # a batch, or the batches of a step


@dataclass(frozen=True)
class TrainingBatches:
    """Batches of an encoded set, and its images as validation reads them.

    pipe: gives the noise schedule. name: addresses the random numbers beside `seed`. caption_dropout: the share of
    images whose prompt is replaced by "" (0..1). weights: float (n,), how often an image enters a batch relative to the
    others; default equally often. times: mean and spread of the logit of the noise times, which are then most frequent
    where an image takes shape (Esser et al., arXiv:2403.03206, eq. 19); default evenly from 0 to the last.
    """

    pipe: object
    encoded: Encoded
    seed: int
    name: str
    caption_dropout: float = 0.0
    weights: np.ndarray | None = None
    times: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        return digest(self.encoded.key, None if self.weights is None else np.asarray(self.weights), repr(self.times))

    def at(self, step: int, places: range, size: int) -> Batch:
        """The `places` of the batch of `size` images at a step, on the CPU.

        Returns float32 "latents" and "noise" (b, c, h, w), int64 "times" (b,), float32 "alpha" (b,), the cumulative
        alpha of each time, and the words: "embeddings" (b, length, width) and, for SDXL, "pooled" (b, width); or int64
        "ids" (b, length) with the bool "without_words" (b,) where the set holds tokens.

        Times are spread evenly over the batch from one random offset (Kingma et al., arXiv:2107.00630, app. I.1), which
        lowers the variance of the loss.
        """
        source = generator(derive(self.seed, self.name, step))
        n = len(self.encoded.latents)
        chance = torch.ones(n) if self.weights is None else torch.tensor(self.weights, dtype=torch.float32)
        rows = torch.multinomial(chance, size, replacement=size > n, generator=source)
        mirrored = torch.randint(2, (size,), generator=source)
        without_words = torch.rand(size, generator=source) < self.caption_dropout
        fractions = (torch.rand(1, generator=source) + torch.arange(size) / size) % 1
        if self.times:
            mean, spread = self.times
            fractions = torch.sigmoid(mean + spread * torch.special.ndtri(fractions))
        part = slice(places.start, places.stop)
        noise = torch.randn((size, *self._noise_shape), generator=source)
        return self._batch(rows[part], mirrored[part], without_words[part], fractions[part], noise[part])

    def validation(self, rows: range) -> Batch:
        """Images `rows` without mirroring or caption dropout, each at a time and with noise that never change.

        Returns what `at` returns.
        """
        chosen = torch.tensor(rows)
        fractions = (chosen * 0.6180339887) % 1  # the golden ratio: even over any stretch of rows
        zeros = torch.zeros_like(chosen)
        sources = (generator(derive(self.seed, self.name, "noise", k)) for k in rows)
        noise = torch.stack([torch.randn(self._noise_shape, generator=source) for source in sources])
        return self._batch(chosen, zeros, zeros.bool(), fractions, noise)

    @property
    def _noise_shape(self) -> tuple[int, ...]:
        """Of an image: the noise of the diffusion and, where the autoencoder gives a distribution, of the posterior."""
        return (1 + (self.encoded.std is not None), *self.encoded.latents.shape[2:])

    def _batch(self, rows, mirrored, without_words, fractions, noise: torch.Tensor) -> Batch:
        total = self.pipe.scheduler.config.num_train_timesteps
        times = (fractions * total).long().clamp(max=total - 1)
        latents = self.encoded.sample_latents(rows, mirrored, noise[:, -1])
        batch = {
            "latents": latents.contiguous(memory_format=torch.channels_last),
            "noise": noise[:, 0].contiguous(memory_format=torch.channels_last),
            "times": times,
            "alpha": self.pipe.scheduler.alphas_cumprod[times],
        }
        if (ids := self.encoded.ids) is not None:
            chosen = torch.where(without_words, len(ids) - 1, rows)
            return {**batch, "ids": ids[chosen].long(), "without_words": without_words}
        chosen = torch.where(without_words, len(self.encoded.embeddings) - 1, self.encoded.index[rows])
        kinds = {"embeddings": self.encoded.embeddings, "pooled": self.encoded.pooled}
        return {**batch, **{kind: stored[chosen].float() for kind, stored in kinds.items() if stored is not None}}


@contextmanager
def ahead(make: Callable[..., Made], steps: int, threads: int = 3) -> Iterator[Callable[..., Made]]:
    """make(step, ...) of the coming steps, made by threads while a GPU computes, which would wait for it otherwise.

    Gives a function that is called as `make` is, with the same other arguments at every step, and returns the same.
    """
    pool, waiting = ThreadPoolExecutor(threads), {}

    def made(step: int, *more) -> Made:
        for later in range(step, min(step + 2 * threads, steps)):
            if (later, *more) not in waiting:
                waiting[later, *more] = pool.submit(make, later, *more)
        return waiting.pop((step, *more)).result()

    try:
        yield made
    finally:
        pool.shutdown(cancel_futures=True)
