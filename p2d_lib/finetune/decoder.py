"""Fits the tiny base's decoder: what the denoiser samples shall look like an image, not like its patches."""

import copy
import math
import time
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm

from p2d_lib.device import generator
from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.loop import Diverged
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.discriminator import Discriminator, Features
from p2d_lib.models.processes import processes
from p2d_lib.models.tiny_base import PatchAutoencoder, to_pixels
from p2d_lib.seeds import derive


@dataclass(frozen=True)
class DecoderRecipe:
    """How a decoder is fitted."""

    steps: int
    seed: int
    batch_size: int = 32  # crops of images; the decoder gets half as many to reconstruct, and as many sampled ones
    crop: int = 8  # side of a crop, in latents
    learning_rate: float = 5e-4  # of decoder and discriminator
    noise: float = 0.3  # on latents of images: at most this share of the channel's standard deviation
    paired: float = 4.0  # weight of the error of pixels and features, where there is an image to compare with
    content: float = 8.0  # weight of the error of the patches' means, where there is none
    ema: float = 0.998  # decay of the averaged weights, which are kept


def fit_decoder(
    vae: PatchAutoencoder,
    images: np.ndarray,
    sampled: torch.Tensor,
    recipe: DecoderRecipe,
    checkpoints: Checkpoints | None = None,
) -> pd.DataFrame:
    """Fits what the decoder adds to the linear reconstruction; the encoder stays, and so do all latents.

    images: uint8 (n, s, s, 3) of the train split. sampled: latents that the denoiser samples, float32
    (m, c, s / patch, s / patch). Noisy latents of images shall give these images; of sampled latents, the mean of each
    patch shall stay. Both shall look real to a discriminator (hinge loss: Lim, Ye, arXiv:1705.02894), which learns
    beside the decoder. Training continues from a checkpoint of the same images, latents and recipe, and ends with the
    same bits as without the interruption.

    Returns the log, a row per step: step, loss (the decoder's), paired, content and adversarial (its parts),
    discriminator (its loss), seconds. Raises Diverged for a loss that is not finite.
    """
    fit, batches = _Fit(vae, recipe), _Batches(vae, images, sampled, recipe)
    key = digest(str(asdict(recipe)), images, sampled, *vae.state_dict().values())
    checkpoint = checkpoints and checkpoints.of("decoder", key)
    log = checkpoint.restore(fit.parts, vae.device) if checkpoint else []
    started = time.monotonic() - (log[-1]["seconds"] if log else 0)
    main = processes(vae.device).is_main_process
    steps = range(len(log), recipe.steps)
    for step in tqdm(steps, desc="decoder", unit="step", initial=len(log), total=recipe.steps, disable=not main):
        losses = fit.step(step, *batches.at(step))
        if not all(map(math.isfinite, losses.values())):
            raise Diverged(f"decoder: a loss is not finite at step {step} ({losses}): lower the learning rate")
        log.append({"step": step, **losses, "seconds": round(time.monotonic() - started, 2)})
        if checkpoint and main and (step + 1 == recipe.steps or checkpoint.due()):
            checkpoint.store(fit.parts, log)
    vae.details.load_state_dict(fit.average.state_dict())
    vae.requires_grad_(False).eval()
    return pd.DataFrame(log)


class _Batches:
    """Crops of images and of sampled latents; those of a step are addressed by its number."""

    def __init__(self, vae: PatchAutoencoder, images: np.ndarray, sampled: torch.Tensor, recipe: DecoderRecipe):
        self.vae, self.images, self.sampled, self.recipe = vae, images, sampled.to(vae.device), recipe
        self.deviation = self.sampled.std(dim=(0, 2, 3), keepdim=True)

    def at(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pixels (b, 3, s, s); noisy latents (b / 2, c, h, w) of the first half of them; as many sampled latents."""
        r, rng = self.recipe, np.random.default_rng(derive(self.recipe.seed, "decoder", step))
        patch, side = self.vae.config.patch, min(r.crop, self.sampled.shape[-1])
        crops = []
        for row in rng.integers(0, len(self.images), r.batch_size):
            y, x = patch * rng.integers(0, self.sampled.shape[-1] - side + 1, 2)
            crop = self.images[row, y : y + patch * side, x : x + patch * side]
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        real = to_pixels(np.stack(crops), self.vae)
        with torch.no_grad():
            clean = self.vae.encode(real[: r.batch_size // 2]).latent_dist.mean
        source = generator(derive(r.seed, "decoder", "noise", step))
        size = (torch.rand(len(clean), 1, 1, 1, generator=source) * r.noise).to(clean) * self.deviation
        noisy = clean + size * torch.randn(clean.shape, generator=source).to(clean)
        places = rng.integers(0, self.sampled.shape[-1] - side + 1, (len(clean), 2))
        rows = rng.integers(0, len(self.sampled), len(clean))
        sampled = [self.sampled[row, :, y : y + side, x : x + side] for row, (y, x) in zip(rows, places, strict=True)]
        return real, noisy, torch.stack(sampled)


class _Fit:
    """Decoder, discriminator, their optimisers, and the moving average of the decoder's weights."""

    def __init__(self, vae: PatchAutoencoder, recipe: DecoderRecipe):
        self.vae, self.recipe = vae, recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(recipe.seed, "discriminator"))
            self.discriminator = Discriminator().to(vae.device)
        self.features = Features().to(vae.device)
        vae.details.requires_grad_(True).train()
        self.average = copy.deepcopy(vae.details).requires_grad_(False)
        rate, betas = recipe.learning_rate, (0.0, 0.99)
        self.optimizer = torch.optim.Adam(vae.details.parameters(), rate, betas)
        self.opponent = torch.optim.Adam(self.discriminator.parameters(), rate, betas)
        self.parts = {
            "details": vae.details, "average": self.average, "discriminator": self.discriminator,
            "optimizer": self.optimizer, "opponent": self.opponent,
        }  # fmt: skip

    def step(self, step: int, real: torch.Tensor, noisy: torch.Tensor, sampled: torch.Tensor) -> dict[str, float]:
        """One step of the decoder, then one of the discriminator on the same images; their losses."""
        decoded = self.vae.decode(torch.cat([noisy, sampled])).sample
        features = self.features(decoded)
        with torch.no_grad():
            of_real = self.features(real)
        losses = self._decoder_step(decoded, features, of_real, sampled)
        losses["discriminator"] = self._discriminator_step([maps.detach() for maps in features], of_real)
        decay = min(self.recipe.ema, (step + 1) / (step + 10))
        now = [p.detach() for p in self.vae.details.parameters()]
        torch._foreach_lerp_(list(self.average.parameters()), now, 1 - decay)
        return losses

    def _decoder_step(self, decoded, features, of_real, sampled) -> dict[str, float]:
        r, half, patch = self.recipe, len(sampled), self.vae.config.patch
        errors = [
            (made[:half] - true[:half]).abs().mean() / true.abs().mean()
            for made, true in zip(features, of_real, strict=True)
        ]
        means = [F.avg_pool2d(pixels, patch) for pixels in (decoded[half:], self.vae.decoder(sampled))]
        self.discriminator.requires_grad_(False)
        scores = self.discriminator(features)
        parts = {
            "paired": sum(errors) / len(errors),
            "content": (means[0] - means[1]).abs().mean(),
            "adversarial": -sum(score.mean() for score in scores) / len(scores),
        }
        loss = r.paired * parts["paired"] + r.content * parts["content"] + parts["adversarial"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {name: value.item() for name, value in {"loss": loss, **parts}.items()}

    def _discriminator_step(self, features, of_real) -> float:
        self.discriminator.requires_grad_(True)
        pairs = zip(self.discriminator(of_real), self.discriminator(features), strict=True)
        hinges = [F.relu(1 - real).mean() + F.relu(1 + made).mean() for real, made in pairs]
        loss = sum(hinges) / len(hinges)
        self.opponent.zero_grad()
        loss.backward()
        self.opponent.step()
        return loss.item()
