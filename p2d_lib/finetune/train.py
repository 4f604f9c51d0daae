"""Fitting the diffusion model: the whole denoiser with its text encoder, or a low-rank adapter to it.

One loop serves base and adapter. Every random number is addressed by (seed, step), so a run that was stopped and
resumed from its checkpoint ends, on a CPU, with the same bits as one that was not.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from p2d_lib.device import generator
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.models import diffusion
from p2d_lib.run import atomic, derive

# What the adapter changes: attention (Hu et al., arXiv:2106.09685) and, since optics and colours differ, convolutions.
TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj",
    "conv_in", "conv1", "conv2", "conv_shortcut", "conv", "conv_out",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted; the defaults are ours, each with its source."""

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    warmup: float = 0.05  # of the steps, linear
    weight_decay: float = 0.01
    clip: float = 1.0  # gradient norm
    ema: float = 0.999  # decay of the averaged weights, less at first: (step + 1) / (step + 10) as in TensorFlow
    snr_gamma: float = 5.0  # min-SNR weighting (Hang et al., arXiv:2303.09556)
    caption_dropout: float = 0.1  # for classifier-free guidance
    checkpoint_every: int = 100  # steps

    def rate(self, step: int) -> float:
        """The learning rate at a step: up in a line, down to zero in half a cosine."""
        rise = min(1.0, (step + 1) / max(1.0, self.warmup * self.steps))
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def fit(
    parameters: Sequence[torch.nn.Parameter],
    loss: Callable[[int], torch.Tensor],
    recipe: Recipe,
    name: str,
    checkpoints: Path | None = None,
    key: str = "",
) -> pd.DataFrame:
    """Minimises loss(step) over `parameters` with AdamW and leaves their moving average in them.

    loss: must depend on nothing but the parameters and the step. checkpoints: a folder; fitting goes on from the one
    it holds for the same recipe and `key` (what else the result depends on). Returns the log: step, loss, lr, seconds.
    """
    parameters = list(parameters)
    key = digest(json.dumps([asdict(recipe), [list(p.shape) for p in parameters], key]))
    path = checkpoints / f"{name}.pt" if checkpoints else None
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    average = [p.detach().clone() for p in parameters]
    log, first = [], 0
    if path and path.exists() and (state := torch.load(path, map_location=parameters[0].device))["key"] == key:
        for mine, saved in zip([*parameters, *average], [*state["parameters"], *state["average"]], strict=True):
            mine.data.copy_(saved)
        optimizer.load_state_dict(state["optimizer"])
        log, first = state["log"], len(state["log"])
    started = time.monotonic() - (log[-1]["seconds"] if log else 0)
    for step in tqdm(range(first, recipe.steps), desc=name, unit="step", initial=first, total=recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.rate(step)
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - min(recipe.ema, (step + 1) / (step + 10)))
        log.append(
            {
                "step": step,
                "loss": value.item(),
                "lr": recipe.rate(step),
                "seconds": round(time.monotonic() - started, 2),
            }
        )
        if not math.isfinite(log[-1]["loss"]):
            raise FloatingPointError(f"{name}: the loss is {log[-1]['loss']} at step {step}: lower the learning rate")
        if path and ((step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps):
            state = {"key": key, "parameters": [p.detach() for p in parameters], "average": average}
            with atomic(path) as partial:
                torch.save({**state, "optimizer": optimizer.state_dict(), "log": log}, partial)
    for mine, mean in zip(parameters, average, strict=True):
        mine.data.copy_(mean)
    return pd.DataFrame(log, columns=["step", "loss", "lr", "seconds"])


def denoising_loss(
    pipe, latents: torch.Tensor, embeddings: torch.Tensor, source: torch.Generator, snr_gamma: float
) -> torch.Tensor:
    """The min-SNR weighted error of the denoiser on one batch, in the terms its scheduler predicts (noise or v).

    latents (b, c, h, w), scaled. Times are spread evenly over the batch from one random offset (Kingma et al.,
    arXiv:2107.00630, app. I.1), which lowers the variance of the loss.
    """
    b, total = len(latents), pipe.scheduler.config.num_train_timesteps
    spread = (torch.rand(1, generator=source) + torch.arange(b) / b) % 1
    steps = (spread * total).long().clamp(max=total - 1)
    noise = torch.randn(latents.shape, generator=source).to(latents)
    alpha = pipe.scheduler.alphas_cumprod[steps].to(latents)
    a, s = alpha.sqrt()[:, None, None, None], (1 - alpha).sqrt()[:, None, None, None]
    velocity = pipe.scheduler.config.prediction_type == "v_prediction"
    target = a * noise - s * latents if velocity else noise
    predicted = pipe.unet(a * latents + s * noise, steps.to(latents.device), embeddings).sample
    power = alpha / (1 - alpha) + velocity  # v carries signal and noise: it weighs something at pure noise too
    weight = power.clamp(max=snr_gamma) / power
    return ((predicted.float() - target).square().mean(dim=(1, 2, 3)) * weight).mean()


def fit_adapter(
    pipe,
    encoded: Encoded,
    recipe: Recipe,
    rank: int,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
) -> pd.DataFrame:
    """Adds a low-rank adapter to the denoiser and fits it; returns the log.

    weights: how often each image is drawn, relative to the others; default equally often.
    """
    from peft import LoraConfig

    pipe.unet.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "adapter"))
        pipe.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)))
    parameters = [p for p in pipe.unet.parameters() if p.requires_grad]
    embeddings, index = encoded.embeddings.to(pipe.device), encoded.index

    def words(chosen: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
        return embeddings[torch.where(dropped, len(embeddings) - 1, index[chosen])].float()

    loss = _loss(pipe, encoded.latents, words, recipe, "adapter", weights)
    drawn = torch.tensor([] if weights is None else weights)
    key = digest(*pipe.unet.state_dict().values(), *vars(encoded).values(), drawn)
    return fit(parameters, loss, recipe, "adapter", checkpoints, key)


def fit_base(
    pipe, encoded: Encoded, prompts: Sequence[str], recipe: Recipe, checkpoints: Path | None = None
) -> pd.DataFrame:
    """Fits the whole denoiser and the text encoder; returns the log. prompts: one per image of `encoded`."""
    parts = (pipe.unet, pipe.text_encoder)
    parameters = [p for part in parts for p in part.requires_grad_(True).parameters()]
    ids = diffusion.tokens(pipe, [*prompts, ""]).to(pipe.device)

    def words(chosen: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
        return pipe.text_encoder(ids[torch.where(dropped, len(ids) - 1, chosen)])[0]

    loss = _loss(pipe, encoded.latents, words, recipe, "base", None)
    log = fit(parameters, loss, recipe, "base", checkpoints, digest(*parameters, encoded.latents, ids))
    for part in parts:
        part.requires_grad_(False)
    return log


def _loss(pipe, latents, words, recipe: Recipe, name: str, weights: np.ndarray | None) -> Callable[[int], torch.Tensor]:
    """loss(step): which images, mirrored or not, with or without their words, at which times, with which noise."""
    chance = torch.ones(len(latents)) if weights is None else torch.tensor(weights, dtype=torch.float32)
    b, device = recipe.batch_size, pipe.device
    half = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()

    def loss(step: int) -> torch.Tensor:
        source = generator(derive(recipe.seed, name, step))
        chosen = torch.multinomial(chance, b, replacement=b > len(chance), generator=source)
        mirrored = torch.randint(2, (b,), generator=source)
        dropped = torch.rand(b, generator=source) < recipe.caption_dropout
        batch = latents[chosen, mirrored].to(device, torch.float32).contiguous(memory_format=torch.channels_last)
        with half:
            return denoising_loss(pipe, batch, words(chosen, dropped), source, recipe.snr_gamma)

    return loss


def save_adapter(pipe, folder: Path, log: pd.DataFrame, parameters: dict) -> None:
    """Writes the adapter in the diffusers layout (`pipe.load_lora_weights(folder)`), its log and its parameters."""
    from peft.utils import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    # peft's own names: diffusers would rename attention alone, and drop it when it reads the mixture
    pipe.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    log.to_parquet(folder / "log.parquet", index=False)
    (folder / "parameters.json").write_text(json.dumps(parameters, indent=2) + "\n")
