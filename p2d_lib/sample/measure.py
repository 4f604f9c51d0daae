"""Images -> the predictions of the scout and the alignment model, in one pass over the files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.files import sha256
from p2d_lib.instruments import copies
from p2d_lib.models import classifiers, clip

BLOCK = 512  # images in memory at once


class Measurements(NamedTuple):
    """Arrays of n images, in the order of their files."""

    sha256: np.ndarray  # (n,), of the files
    thumbnails: np.ndarray  # uint8 (n, side, side, 3), for the check for copies
    p: np.ndarray  # (n, 7), the scout's probabilities in the order of DX
    features: np.ndarray  # (n, 22), the scout's scores of the vocabulary's features, 0..1
    embedding: np.ndarray  # (n, d), the scout's
    vectors: np.ndarray  # (n, e), unit vectors of the alignment model
    alignment: np.ndarray  # (n,), cosine of image and prompt by the alignment model, -1..1


def measure(
    paths: Sequence[Path],
    prompts: Sequence[str],
    scout: classifiers.Classifier,
    aligner: clip.Clip,
    device: torch.device,
) -> Measurements:
    """Measures the images of the files `paths` (n), each with its own prompt of `prompts` (n)."""
    blocks = []
    for start in tqdm(range(0, len(paths), BLOCK), desc="measure", unit="block", disable=len(paths) <= BLOCK):
        files = paths[start : start + BLOCK]
        pixels = images.load(files)
        predictions, vectors = classifiers.predict(scout, pixels, device), clip.embed_images(aligner, pixels)
        digests = np.array([sha256(file) for file in files])
        alignment = alignments(aligner, vectors, prompts[start : start + BLOCK])
        arrays = (copies.thumbnails(pixels), predictions["p"], predictions["features"], predictions["embedding"])
        blocks.append((digests, *arrays, vectors, alignment))
    return Measurements(*map(np.concatenate, zip(*blocks, strict=True)))


def alignments(aligner: clip.Clip, vectors: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """Cosine (n,), -1..1, of the alignment model's image vectors (n, e) with its vectors of the prompts (n)."""
    return (vectors * clip.embed_prompts(aligner, prompts)).sum(1).clip(-1, 1)
