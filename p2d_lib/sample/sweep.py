"""The effect of guidance and denoising steps: the same prompts and noise at each of several settings."""

import time
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch

from p2d_lib.instruments import distances
from p2d_lib.models import classifiers, clip, sampling
from p2d_lib.vocabulary import DX

NOISE = "uniform noise"


def sweep(
    pipe, prompts: Sequence[str], seeds: Sequence[int], guidance: Sequence[float], steps: Sequence[int], **settings
) -> Iterator[tuple[dict, np.ndarray]]:
    """The same prompts and noise at each guidance scale and number of denoising steps.

    Yields {guidance, steps, seconds} and the images, uint8 (n, size, size, 3); seconds: per image. settings: of
    `sampling.sample`. Raises ValueError without prompts.
    """
    if not len(prompts):
        raise ValueError("a sweep needs prompts: an average over no images is none")
    n = settings.get("batch_size", 32)
    first = {"guidance_scale": float(guidance[0]), "num_inference_steps": 1}
    sampling.sample(pipe, prompts[:n], seeds[:n], **first, **settings)  # the first call takes longer: it warms up
    for scale, count in product(guidance, steps):
        started = time.perf_counter()
        sampled = sampling.sample(pipe, prompts, seeds, guidance_scale=scale, num_inference_steps=count, **settings)
        seconds = (time.perf_counter() - started) / len(prompts)
        yield {"guidance": float(scale), "steps": int(count), "seconds": seconds}, sampled


def points(
    sampled: Iterator[tuple[dict, np.ndarray]],
    rows: pd.DataFrame,
    reference: np.ndarray,
    scout: classifiers.Classifier,
    aligner: clip.Clip,
    device: torch.device,
    seed: int,
) -> pd.DataFrame:
    """Each point of a sweep in numbers, and uniform noise by the same measures, as the bad end of their scales.

    sampled: of `sweep`, an image for each of `rows` (dx, prompt) at each point. reference: the scout's embeddings of
    real images, (m, d). Columns images ("adapter" or NOISE), guidance, steps, seconds (NaN for noise), frechet (squared
    Fréchet distance of the scout's embeddings to the reference), class_read (share of images whose most probable class
    is the one asked for), alignment (mean cosine with the prompts).
    """
    records = []
    noise = None
    for point, pixels in sampled:
        records.append({"images": "adapter", **point, **_scores(pixels, rows, reference, scout, aligner, device)})
        noise = np.random.default_rng(seed).integers(0, 256, pixels.shape, np.uint8)
    records.append({"images": NOISE, **_scores(noise, rows, reference, scout, aligner, device)})
    return pd.DataFrame(records)


def _scores(pixels, rows, reference, scout, aligner, device) -> dict[str, float]:
    predictions = classifiers.predict(scout, pixels, device)
    return {
        "frechet": float(distances.frechet(reference, predictions["embedding"])),
        "class_read": float((np.array(DX)[predictions["p"].argmax(1)] == rows["dx"].to_numpy()).mean()),
        "alignment": float(clip.alignment(aligner, pixels, rows["prompt"].tolist()).mean()),
    }
