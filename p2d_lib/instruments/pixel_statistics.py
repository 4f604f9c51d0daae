"""What pixels say without any network: power by spatial frequency, and steps at the borders of blocks.

A decoder that blurs lacks power at high frequencies; one that works on a coarse grid leaves steps where its cells meet.
Dzanic, Shah, Witherden, NeurIPS 2020 (arXiv 1911.06465), show differences at high frequencies for many generators;
Wang, Sheikh, Bovik, ICIP 2002, measure the blocks of JPEG by the steps at their borders. Values are per image, so that
intervals can go over images.
"""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
BANDS = ((0.0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.5))  # cycles per pixel, upper end included


def band_power(images: np.ndarray) -> np.ndarray:
    """Power of the luminance of uint8 images (n, h, w, 3) in each of BANDS, in squared grey levels: float64 (n, 5).

    The mean is removed and a Hann window applied along both axes, so that the edges of the image add nothing. Frequency
    is radial. A set is compared with real ones of the same size by the ratio of the means over images.
    """
    windowed, rings = _window(images.shape[1:3]), _rings(images.shape[1:3])
    grey = images @ LUMA
    grey -= (grey * windowed).sum(axis=(1, 2), keepdims=True) / windowed.sum()
    power = np.abs(np.fft.fft2(grey * windowed)) ** 2 / (windowed.size * (windowed**2).sum())
    return power.reshape(len(images), -1) @ rings.reshape(len(BANDS), -1).T


def _window(shape: tuple[int, int]) -> np.ndarray:
    """A Hann window (h, w) that is above 0 in every pixel."""
    rows, columns = (np.hanning(side + 2)[1:-1] for side in shape)
    return np.outer(rows, columns)


def _rings(shape: tuple[int, int]) -> np.ndarray:
    """Which frequencies of a discrete Fourier transform lie in each of BANDS: 0 or 1, float64 (5, h, w)."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :])
    return np.array([(low < frequency) & (frequency <= high) for low, high in BANDS], float)


def step_energy(images: np.ndarray, block: int) -> np.ndarray:
    """Mean squared difference of neighbouring pixels by their place in a grid of blocks: float64 (n, block).

    images: uint8 (n, h, w, 3). Column p holds the steps, along rows and along columns, from pixel j - 1 to pixel j with
    j mod block = p: column 0 the borders of blocks that begin at the edge of the image. In squared grey levels of the
    luminance. Raises ValueError unless block is 2 or more and two blocks fit along each side.
    """
    if block < 2 or min(images.shape[1:3]) < 2 * block:
        raise ValueError(f"blocks of {block} px in images of {images.shape[2]} x {images.shape[1]} px: two must fit")
    grey = images @ LUMA
    across, down = np.diff(grey, axis=2) ** 2, np.diff(grey, axis=1) ** 2  # index j - 1 holds the step to pixel j
    phases = [(phase - 1) % block for phase in range(block)]
    return np.stack(
        [(across[:, :, p::block].mean((1, 2)) + down[:, p::block].mean((1, 2))) / 2 for p in phases], axis=1
    )


def border_ratio(energy: np.ndarray) -> np.ndarray:
    """Energy at each phase over the mean of the other phases, both means over images: (block,); 1 without blocks.

    energy: (n, block) of `step_energy`. The first value is that of a grid that begins at the edge of the image, as the
    cells of an autoencoder do. The largest of all finds a grid that a crop has moved; of images without blocks it is a
    little above 1. Infinite where all steps lie at the border, NaN where there is no step at all (one flat colour).
    """
    mean = energy.mean(axis=0)
    others = (mean.sum() - mean) / (len(mean) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean / others
