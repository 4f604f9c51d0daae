"""Drawing images by a diffusion pipeline: solvers, guidance within an interval of noise levels, one noise an image."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from tqdm import tqdm

from p2d_lib.device import generator
from p2d_lib.models.encoding import conditions, decode_latents
from p2d_lib.models.pipelines import is_xl

SOLVERS = {  # deterministic ones: an image depends on its noise alone
    "dpm++2m": DPMSolverMultistepScheduler,  # Lu et al., arXiv:2211.01095
    "ddim": DDIMScheduler,  # Song, Meng, Ermon, arXiv:2010.02502
    "euler": EulerDiscreteScheduler,  # Karras et al., arXiv:2206.00364, algorithm 2 without its second half
}
# Where guidance acts, and how strongly: three guided steps of 15. The tiny base comes nearer to the phantom than with
# any guidance everywhere, and obeys its words as well as with 2 everywhere (benchmarks/sample_speed.py).
INTERVAL, GUIDANCE = (1.4, 3.0), 5.0
DECODED = 2**21  # pixels at once: eight images of 512 px


def sample(
    pipe: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], *, batch_size: int = 32, **settings
) -> np.ndarray:
    """One image per prompt and seed: uint8 (n, size, size, 3). settings: of `samples`, which says how."""
    batches = samples(pipe, zip(prompts, seeds, strict=True), batch_size=batch_size, **settings)
    total = -(-len(prompts) // batch_size)
    return np.concatenate(list(tqdm(batches, desc="sample", total=total, unit="batch", disable=total < 2)))


@torch.inference_mode()
def samples(
    pipe: StableDiffusionPipeline,
    asked: Iterable[tuple[str, int]],
    *,
    guidance_scale: float = GUIDANCE,
    guidance_interval: tuple[float, float] = INTERVAL,
    num_inference_steps: int = 15,
    solver: str = "dpm++2m",
    batch_size: int = 32,
    size: int | None = None,
) -> Iterator[np.ndarray]:
    """An image for each (prompt, seed), in batches as they are done: uint8 (b, size, size, 3).

    Each image's noise comes from its own generator, so an image does not depend on its neighbours, their order or
    their number (up to float rounding, about 1e-6). `asked` is read one batch ahead; nothing else is kept.

    guidance_scale: classifier-free guidance (Ho, Salimans, arXiv:2207.12598); 1 and less: none. guidance_interval:
    the noise levels low < sigma <= high at which it acts (Kynkäänniemi et al., arXiv:2404.07724), sigma being the
    standard deviation of the noise over that of the signal; at others the prompt's own branch alone is evaluated, in
    half the time. (0, math.inf): everywhere. solver: a key of SOLVERS. size: px, a multiple of 8, default what the
    pipeline was made for. SDXL pipelines are taken too.
    """
    scheduler = SOLVERS[solver].from_config(pipe.scheduler.config)
    size = size or pipe.unet.config.sample_size * pipe.vae_scale_factor
    shape = (pipe.unet.config.in_channels, size // pipe.vae_scale_factor, size // pipe.vae_scale_factor)
    decoded = max(1, DECODED // size**2)
    asked = iter(asked)
    while batch := list(islice(asked, batch_size)):
        prompts, seeds = zip(*batch, strict=True)
        noise = torch.stack([torch.randn(shape, generator=generator(int(seed))) for seed in seeds]).to(pipe.device)
        scheduler.set_timesteps(num_inference_steps)  # which also forgets the steps of the batch before
        conditions = _conditions(pipe, prompts, size)
        latents = denoise(pipe.unet, noise, conditions, scheduler, guidance_scale, guidance_interval)
        yield decode_latents(pipe, latents, decoded)


def denoise(
    unet: torch.nn.Module,
    noise: torch.Tensor,
    conditions: dict[str, torch.Tensor],
    scheduler: SchedulerMixin,
    scale: float,
    interval: tuple[float, float],
) -> torch.Tensor:
    """Noise, float32 (b, c, h, w) -> latents of that shape; both branches of a guided step in one call."""
    alone = {name: value[len(noise) :] for name, value in conditions.items()}
    low, high = interval
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        signal = scheduler.alphas_cumprod[t.long()].item()
        guided = scale > 1 and low**2 < (1 - signal) / max(signal, 1e-30) <= high**2
        given = scheduler.scale_model_input(torch.cat([x, x]) if guided else x, t)
        words = dict(conditions if guided else alone)
        found = unet(given.to(unet.dtype), t, words.pop("words"), added_cond_kwargs=words).sample.float()
        if guided:
            without, found = found.chunk(2)
            found = without + scale * (found - without)
        x = scheduler.step(found, t, x).prev_sample  # in float32, whatever the denoiser computes in
    return x


def _conditions(pipe: StableDiffusionPipeline, prompts: Sequence[str], size: int) -> dict[str, torch.Tensor]:
    """What the denoiser reads, (2b, ...): first of no words, b times, then of each prompt.

    words (2b, length, width); for SDXL also its pooled text_embeds (2b, width) and time_ids (2b, 6): original size,
    crop and target size. Each distinct prompt is encoded once.
    """
    distinct = list(dict.fromkeys(["", *prompts]))
    rows = [0] * len(prompts) + [distinct.index(prompt) for prompt in prompts]
    read = conditions(pipe, distinct)
    if not is_xl(pipe):
        return {"words": read["embeddings"][rows]}
    sizes = torch.tensor([[size, size, 0, 0, size, size]]).expand(len(rows), -1).to(read["pooled"])
    return {"words": read["embeddings"][rows], "text_embeds": read["pooled"][rows], "time_ids": sizes}
