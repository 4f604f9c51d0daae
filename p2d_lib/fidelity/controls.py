"""Negative controls: images that no measure may rate as good, and degraded real images as a scale for its numbers."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from diffusers import DiffusionPipeline
from scipy.ndimage import gaussian_filter

from p2d_lib.models import encoding

PALE_SKIN = (205, 160, 140)

Control = Callable[[np.ndarray, int], np.ndarray]  # uint8 (n, s, s, 3), seed -> uint8 (n, s, s, 3)


def blurred(images: np.ndarray, seed: int) -> np.ndarray:
    """Gaussian blur with a standard deviation of s / 32: 2 px at 64 px."""
    return _rounded(gaussian_filter(images.astype(np.float32), (0, images.shape[1] / 32, images.shape[1] / 32, 0)))


def blocky(images: np.ndarray, seed: int) -> np.ndarray:
    """The mean of each block of s / 16 px: 4 px at 64 px; a rest at the right and lower edge stays as it is."""
    block = max(2, images.shape[1] // 16)
    whole = images.shape[1] // block * block
    parts = images[:, :whole, :whole].reshape(len(images), whole // block, block, whole // block, block, 3)
    result = images.copy()
    result[:, :whole, :whole] = _rounded(parts.mean((2, 4)).repeat(block, 1).repeat(block, 2))
    return result


def blobs(images: np.ndarray, seed: int) -> np.ndarray:
    """Smooth random colours around pale skin, of about the contrast of a lesion: what a poor generator makes."""
    side = images.shape[1]
    noise = np.random.default_rng(seed).normal(size=images.shape).astype(np.float32)
    smooth = gaussian_filter(noise, (0, side / 8, side / 8, 0))
    return _rounded(40 * smooth / smooth.std() + np.array(PALE_SKIN, np.float32))


def flat(images: np.ndarray, seed: int) -> np.ndarray:
    """One colour, that of pale skin."""
    return np.full_like(images, PALE_SKIN)


def noise(images: np.ndarray, seed: int) -> np.ndarray:
    """Every value of every pixel uniform in 0..255."""
    return np.random.default_rng(seed).integers(0, 256, images.shape, np.uint8)


WORSENED: Mapping[str, Control] = MappingProxyType({"blurred": blurred, "blocky": blocky})  # degraded real images
SENSELESS: Mapping[str, Control] = MappingProxyType({"blobs": blobs, "flat colour": flat, "noise": noise})
CONTROLS: Mapping[str, Control] = MappingProxyType({**WORSENED, **SENSELESS})
RECONSTRUCTED = "reconstructed"  # what the autoencoder of the base makes of real images: its denoiser's best


def reconstructed(pipe: DiffusionPipeline) -> Control:
    """Images through a pipeline's autoencoder and back: what it loses, no denoiser can bring back."""
    return lambda images, seed: encoding.decode_latents(pipe, encoding.encode_moments(pipe, images)[0])


def _rounded(pixels: np.ndarray) -> np.ndarray:
    return pixels.round().clip(0, 255).astype(np.uint8)
