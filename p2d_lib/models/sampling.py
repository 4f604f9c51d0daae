"""Sampling images with a diffusion pipeline: solvers, guidance in an interval of noise levels, one seed an image."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, SchedulerMixin
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from tqdm import tqdm

from p2d_lib.device import generator
from p2d_lib.models.encoding import decode_latents, encode_prompts
from p2d_lib.models.pipelines import is_xl

SOLVERS = {  # deterministic ones: an image depends on its initial noise alone
    "dpm++2m": DPMSolverMultistepScheduler,  # Lu et al., arXiv:2211.01095
    "ddim": DDIMScheduler,  # Song, Meng, Ermon, arXiv:2010.02502
    "euler": EulerDiscreteScheduler,  # Karras et al., arXiv:2206.00364, algorithm 2 without its second half
}
MAX_PIXELS_PER_DECODE = 2**21  # the autoencoder decodes at most this many pixels per call (8 images of 512 x 512)


def sample(
    pipe: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], *, batch_size: int = 32, **settings
) -> np.ndarray:
    """One image per prompt and seed: uint8 (n, size, size, 3). settings: the keyword arguments of `samples`."""
    batches = samples(pipe, zip(prompts, seeds, strict=True), batch_size=batch_size, **settings)
    total = -(-len(prompts) // batch_size)
    return np.concatenate(list(tqdm(batches, desc="sample", total=total, unit="batch", disable=total < 2)))


@torch.inference_mode()
def samples(
    pipe: StableDiffusionPipeline, requests: Iterable[tuple[str, int]], *, size: int | None = None, **settings
) -> Iterator[np.ndarray]:
    """An image for each request, in batches as they are done: uint8 (b, size, size, 3).

    size: px, a multiple of 8; default the size that the pipeline was made for. settings: the other keyword arguments of
    `sample_latents`.
    """
    size = size or pipe.unet.config.sample_size * pipe.vae_scale_factor
    decoded_at_once = max(1, MAX_PIXELS_PER_DECODE // size**2)
    for latents in sample_latents(pipe, requests, size=size, **settings):
        yield decode_latents(pipe, latents, decoded_at_once)


@torch.inference_mode()
def sample_latents(
    pipe: StableDiffusionPipeline,
    requests: Iterable[tuple[str, int]],
    *,
    size: int,
    guidance_scale: float,
    guidance_interval: tuple[float, float],
    num_inference_steps: int = 15,
    solver: str = "dpm++2m",
    batch_size: int = 32,
) -> Iterator[torch.Tensor]:
    """The scaled latents of an image for each request, in batches as they are done: float32 (b, c, h, w).

    requests: (prompt, seed) pairs, read one batch ahead; a sequence without end will do. Each image's noise comes from
    its own generator, so an image does not depend on its neighbours, their order or their number (up to float
    rounding, about 1e-6).

    guidance_scale: of classifier-free guidance (Ho, Salimans, arXiv:2207.12598); 1 and less: no guidance.
    guidance_interval: the noise levels low < sigma <= high at which guidance acts (Kynkäänniemi et al.,
    arXiv:2404.07724), sigma being the standard deviation of the noise over that of the signal; at other levels only the
    prompt's branch is evaluated, in half the time. (0, math.inf): everywhere. Which values are best depends on the
    model: neither has a default. solver: a key of SOLVERS. size: of the images, px. SDXL pipelines are taken too.
    Raises PromptError for a prompt that is too long.
    """
    requests = iter(requests)
    while batch := list(islice(requests, batch_size)):
        prompts, seeds = zip(*batch, strict=True)
        for step in sample_steps(
            pipe, prompts, seeds, size=size, guidance_scale=guidance_scale, guidance_interval=guidance_interval,
            num_inference_steps=num_inference_steps, solver=solver,
        ):  # fmt: skip
            latents = step.latents
        yield latents


@torch.inference_mode()
def sample_steps(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    size: int,
    guidance_scale: float,
    guidance_interval: tuple[float, float],
    num_inference_steps: int,
    solver: str,
) -> Iterator["Step"]:
    """One batch of images, an image for each prompt and seed, step by step; the last step holds their latents.

    The keyword arguments are those of `sample_latents`. Who wants no more steps closes the iterator, which frees what
    it holds. Raises PromptError for a prompt that is too long.
    """
    scheduler = SOLVERS[solver].from_config(pipe.scheduler.config)
    shape = (pipe.unet.config.in_channels, size // pipe.vae_scale_factor, size // pipe.vae_scale_factor)
    noise = torch.stack([torch.randn(shape, generator=generator(int(seed))) for seed in seeds]).to(pipe.device)
    scheduler.set_timesteps(num_inference_steps)
    conditions = _conditions(pipe, prompts, size)
    yield from denoising_steps(pipe.unet, noise, conditions, scheduler, guidance_scale, guidance_interval)


class Step(NamedTuple):
    """What one step of the reverse diffusion leaves; tensors are float32 (b, c, h, w)."""

    latents: torch.Tensor  # the images so far, with the noise that is left
    noisy: torch.Tensor  # what the denoiser was given, scaled to unit variance
    prediction: torch.Tensor  # what it said, guided
    signal: float  # share of the variance that is signal, 0..1
    kind: str  # of the prediction: epsilon | v_prediction

    def clean(self) -> torch.Tensor:
        """The clean images that the denoiser predicts at this step: what a preview shows."""
        return _clean(self.prediction, self.noisy, self.signal, self.kind)


def denoising_steps(
    unet: torch.nn.Module,
    noise: torch.Tensor,
    conditions: dict[str, torch.Tensor],
    scheduler: SchedulerMixin,
    scale: float,
    interval: tuple[float, float],
    clip: bool = False,
) -> Iterator[Step]:
    """Noise, float32 (b, c, h, w) -> a Step for each of the scheduler's timesteps; the last one holds the latents.

    Both branches of a guided step go through the denoiser in one call.

    conditions: "embeddings" of the text and what else the denoiser takes, (2b, ...) each, first of the empty prompt,
    then of the prompts. scale, interval: guidance_scale and guidance_interval of `sample_latents`. clip: keep every
    predicted clean image within -1..1, for models of pixels.
    """
    prompts_only = {name: value[len(noise) :] for name, value in conditions.items()}
    low, high = interval
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        signal = scheduler.alphas_cumprod[t.long()].item()
        guided = scale > 1 and low**2 < (1 - signal) / max(signal, 1e-30) <= high**2
        scaled = scheduler.scale_model_input(x, t)
        inputs = (torch.cat([scaled, scaled]) if guided else scaled).to(unet.dtype)
        others = dict(conditions if guided else prompts_only)
        prediction = unet(inputs, t, others.pop("embeddings"), added_cond_kwargs=others).sample.float()
        if guided:
            unconditional, prediction = prediction.chunk(2)
            prediction = unconditional + scale * (prediction - unconditional)
        if clip:
            prediction = _clipped(prediction, scaled, signal, scheduler.config.prediction_type)
        x = scheduler.step(prediction, t, x).prev_sample  # in float32, whatever the denoiser computes in
        yield Step(x, scaled, prediction, signal, scheduler.config.prediction_type)


def _clipped(prediction: torch.Tensor, noisy: torch.Tensor, signal: float, kind: str) -> torch.Tensor:
    """The prediction, noise ("epsilon") or v, that belongs to the predicted clean image clipped to -1..1.

    noisy = a * clean + s * noise with a^2 = signal and s^2 = 1 - signal, as every solver scales its model's input.
    Early steps divide an error in noise by a signal of less than 1 %, so the clean image may be far out of range. Of
    the solvers here, diffusers' Euler has no such option.
    """
    a, s = signal**0.5, (1 - signal) ** 0.5
    clean = _clean(prediction, noisy, signal, kind).clamp(-1, 1)
    noise = (noisy - a * clean) / s
    return noise if kind == "epsilon" else a * noise - s * clean


def _clean(prediction: torch.Tensor, noisy: torch.Tensor, signal: float, kind: str) -> torch.Tensor:
    """The clean image that belongs to a prediction, noise ("epsilon") or v."""
    a, s = max(signal, 1e-30) ** 0.5, (1 - signal) ** 0.5
    return (noisy - s * prediction) / a if kind == "epsilon" else a * noisy - s * prediction


def _conditions(pipe: StableDiffusionPipeline, prompts: Sequence[str], size: int) -> dict[str, torch.Tensor]:
    """The denoiser's conditions, (2b, ...): first of the empty prompt, b times, then of each prompt.

    embeddings (2b, length, width); for SDXL also its pooled text_embeds (2b, width) and time_ids (2b, 6): original
    size, crop and target size. Each distinct prompt is encoded once.
    """
    distinct = list(dict.fromkeys(["", *prompts]))
    rows = [0] * len(prompts) + [distinct.index(prompt) for prompt in prompts]
    encoded = encode_prompts(pipe, distinct)
    if not is_xl(pipe):
        return {"embeddings": encoded["embeddings"][rows]}
    sizes = torch.tensor([[size, size, 0, 0, size, size]]).expand(len(rows), -1).to(encoded["pooled"])
    return {"embeddings": encoded["embeddings"][rows], "text_embeds": encoded["pooled"][rows], "time_ids": sizes}
