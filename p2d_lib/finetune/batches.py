"""Training batches of latents, noise, times and words.

Every number drawn is addressed by (seed, step) or, per image, (seed, step, place in the batch): the same for any number
of processes, for any parts that a batch is computed in, and after a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from p2d_lib.device import generator
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.seeds import derive


@dataclass(frozen=True)
class Draws:
    """Batches of an encoded set.

    pipe: whose noise schedule is learnt. dropout: the share of images that lose their words. weights: how often each
    image is drawn, relative to the others; default equally often.
    """

    pipe: object
    encoded: Encoded
    seed: int
    name: str
    dropout: float = 0.0
    weights: np.ndarray | None = None

    @property
    def key(self) -> str:
        return digest(self.encoded.key, None if self.weights is None else np.asarray(self.weights))

    def at(self, step: int, places: range, size: int) -> dict[str, torch.Tensor]:
        """The `places` of step's batch of `size` images, on the CPU.

        Times are spread evenly over the batch from one random offset (Kingma et al., arXiv:2107.00630, app. I.1), which
        lowers the variance of the loss.
        """
        source = generator(derive(self.seed, self.name, step))
        n = len(self.encoded.latents)
        chance = torch.ones(n) if self.weights is None else torch.tensor(self.weights, dtype=torch.float32)
        rows = torch.multinomial(chance, size, replacement=size > n, generator=source)
        mirrored = torch.randint(2, (size,), generator=source)
        dropped = torch.rand(size, generator=source) < self.dropout
        spread = (torch.rand(1, generator=source) + torch.arange(size) / size) % 1
        here = slice(places.start, places.stop)
        return self._shown(rows[here], mirrored[here], dropped[here], spread[here], [(step, k) for k in places])

    def held(self, rows: range) -> dict[str, torch.Tensor]:
        """Images as they are, with their words, each at a time and with noise of its own that stay the same."""
        chosen = torch.tensor(rows)
        spread = (chosen * 0.6180339887) % 1  # even over any stretch of rows
        no = torch.zeros_like(chosen)
        return self._shown(chosen, no, no.bool(), spread, [("held", k) for k in rows])

    def _shown(self, rows, mirrored, dropped, spread, addresses: Sequence[tuple]) -> dict[str, torch.Tensor]:
        shape = (2, *self.encoded.latents.shape[2:])  # noise of the autoencoder's posterior, and of the diffusion
        sources = (generator(derive(self.seed, self.name, "noise", *address)) for address in addresses)
        posterior, noise = torch.stack([torch.randn(shape, generator=source) for source in sources]).unbind(1)
        total = self.pipe.scheduler.config.num_train_timesteps
        times = (spread * total).long().clamp(max=total - 1)
        shown = {
            "latents": self.encoded.draw(rows, mirrored, posterior).contiguous(memory_format=torch.channels_last),
            "noise": noise.contiguous(memory_format=torch.channels_last),
            "times": times,
            "alpha": self.pipe.scheduler.alphas_cumprod[times],
        }
        if (ids := self.encoded.ids) is not None:
            return {**shown, "ids": ids[torch.where(dropped, len(ids) - 1, rows)].long(), "silent": dropped}
        words = torch.where(dropped, len(self.encoded.embeddings) - 1, self.encoded.index[rows])
        kinds = {"embeddings": self.encoded.embeddings, "pooled": self.encoded.pooled}
        return {**shown, **{kind: kept[words].float() for kind, kept in kinds.items() if kept is not None}}
