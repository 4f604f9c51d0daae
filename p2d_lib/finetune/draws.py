"""What the denoiser is shown at a step, and how wrong it was.

Every number drawn is addressed by (seed, step) or, per image, (seed, step, place in the batch): the same for any number
of processes, for any parts that a batch is computed in, and after a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from p2d_lib.device import generator
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.models import diffusion
from p2d_lib.run import derive


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


def denoising_loss(pipe, batch: dict[str, torch.Tensor], snr_gamma: float, unet=None) -> torch.Tensor:
    """The min-SNR weighted error of the denoiser on each image, in the terms its scheduler predicts (noise or v): (b,).

    batch: as `Draws` gives it, on the pipeline's device. Weights after Hang et al., arXiv:2303.09556; for v, snr_gamma
    bounds SNR + 1. unet: called in place of the pipeline's, such as a compiled one.
    """
    clean, noise, alpha = batch["latents"], batch["noise"], batch["alpha"]
    a, s = alpha.sqrt()[:, None, None, None], (1 - alpha).sqrt()[:, None, None, None]
    velocity = pipe.scheduler.config.prediction_type == "v_prediction"
    target = a * noise - s * clean if velocity else noise
    words = batch
    if "ids" in batch:
        words = diffusion.silence(pipe, diffusion.read_tokens(pipe, batch["ids"]), batch["silent"])
    more = {}
    if "pooled" in words:  # SDXL is also told how large the image was and which part is shown: all of it
        h, w = (side * pipe.vae_scale_factor for side in clean.shape[-2:])
        frame = torch.tensor([[h, w, 0, 0, h, w]], dtype=clean.dtype).to(clean.device, non_blocking=True)
        more = {"added_cond_kwargs": {"text_embeds": words["pooled"], "time_ids": frame.expand(len(clean), -1)}}
    noisy = (a * clean + s * noise).to(pipe.unet.dtype)
    unet = pipe.unet if unet is None else unet  # a compiled one has no truth value
    predicted = unet(noisy, batch["times"], words["embeddings"].to(noisy.dtype), **more).sample
    power = alpha / (1 - alpha) + velocity  # v carries signal and noise: it weighs something at pure noise too
    weight = power.clamp(max=snr_gamma) / power
    return (predicted.float() - target).square().mean(dim=(1, 2, 3)) * weight
