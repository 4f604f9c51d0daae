"""Spectrum and block borders: planted waves, blur, noise, JPEG and blocks are seen; real against real is about 1."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from p2d_lib.instruments.pixel_statistics import BANDS, _rings, band_power, border_ratio, step_energy

SIDE = 64


def textures(n=60, seed=0, slope=1.5):
    """Random colour textures whose amplitude falls with frequency as that of photographs does, plus sensor noise."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :])
    amplitude = (frequency + 1 / SIDE) ** -slope
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, SIDE, SIDE))) * amplitude).real
    field = 30 * field / field.std() + 128 + rng.normal(0, 1, field.shape)
    return to_bytes(field[..., None] + np.array([30, 0, -20]))


def to_bytes(pixels):
    return np.asarray(pixels).round().clip(0, 255).astype(np.uint8)


def blurred(images, sigma):
    return to_bytes(gaussian_filter(images.astype(float), (0, sigma, sigma, 0)))


def noisy(images, sigma):
    return to_bytes(images + np.random.default_rng(9).normal(0, sigma, images.shape))


def recompressed(images, quality):
    def once(image):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "jpeg", quality=quality, subsampling=0)
        return np.asarray(Image.open(buffer))

    return np.stack([once(image) for image in images])


def blocky(images, block, share=1.0):
    """Each block moved towards its mean by `share`."""
    parts = images.reshape(len(images), SIDE // block, block, SIDE // block, block, 3)
    means = np.broadcast_to(parts.mean((2, 4), keepdims=True), parts.shape).reshape(images.shape)
    return to_bytes(share * means + (1 - share) * images)


def bands(images, real):
    return band_power(images).mean(axis=0) / band_power(real).mean(axis=0)


@pytest.mark.parametrize(("cycles", "band"), [(2, 0), (5, 1), (9, 2), (16, 3), (26, 4)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_planted_wave_has_its_power_in_the_band_of_its_frequency(cycles, band, axis):
    low, high = BANDS[band]
    assert low < cycles / SIDE <= high
    wave = 128 + 50 * np.cos(2 * np.pi * cycles * np.arange(SIDE) / SIDE)
    wave = np.broadcast_to(wave[:, None] if axis == 0 else wave[None, :], (SIDE, SIDE))
    power = band_power(to_bytes(np.repeat(wave[None, ..., None], 3, axis=3)))[0]
    assert power.argmax() == band and power[band] > 0.8 * power.sum()
    assert power.sum() == pytest.approx(50**2 / 2, rel=0.1)  # the variance of a wave of amplitude 50


def test_white_noise_has_its_variance_spread_over_the_area_of_each_band():
    images = np.random.default_rng(0).normal(128, 20, size=(100, SIDE, SIDE, 1)).repeat(3, axis=3)
    expected = [20**2 * np.pi * (high**2 - low**2) for low, high in BANDS]
    np.testing.assert_allclose(band_power(to_bytes(images)).mean(axis=0), expected, rtol=0.08)


def test_blur_lowers_high_bands_and_noise_raises_them_both_by_dose():
    real, other = textures(seed=1), textures(seed=2)
    blur = np.array([bands(blurred(other, sigma), real) for sigma in (0, 0.5, 1, 2)])
    noise = np.array([bands(noisy(other, sigma), real) for sigma in (0, 5, 10, 20)])
    assert (np.diff(blur[:, 3:], axis=0) < 0).all() and (blur[-1, 3:] < 0.05).all()
    assert (np.diff(noise[:, 2:], axis=0) > 0).all() and noise[-1, 4] > 3
    assert (blur[:, 0] > 0.8).all() and (noise[:, 0] < 1.3).all()  # and low frequencies stay


def test_real_against_real_is_about_one_in_every_band_and_at_every_border():
    real, other = textures(seed=3), textures(seed=4)
    np.testing.assert_allclose(bands(other, real), 1, atol=0.2)
    for block in (2, 4, 8):
        np.testing.assert_allclose(border_ratio(step_energy(real, block)), 1, atol=0.06)


def test_blocks_and_jpeg_raise_the_energy_at_their_own_borders_by_dose():
    real = textures(seed=5)
    blocks = [border_ratio(step_energy(blocky(real, 4, share), 4))[0] for share in (0, 0.1, 0.3, 0.6)]
    jpeg = [border_ratio(step_energy(recompressed(real, quality), 8))[0] for quality in (95, 50, 20, 5)]
    assert blocks == sorted(blocks) and blocks[1] > 1.1 and blocks[-1] > 2
    assert jpeg == sorted(jpeg) and jpeg[0] < 1.1 and jpeg[-1] > 1.5


def test_steps_along_columns_count_as_steps_along_rows_do_and_no_frequency_lies_in_two_bands():
    columns = 128 + 20 * (np.arange(SIDE) // 4 % 2)
    stripes = to_bytes(np.broadcast_to(columns[None, None, :, None], (2, SIDE, SIDE, 3)))
    energy = step_energy(stripes, 4)
    np.testing.assert_allclose(step_energy(stripes.transpose(0, 2, 1, 3), 4), energy)
    assert energy[0] == pytest.approx([20**2 / 2, 0, 0, 0])  # one of the two directions has a step of 20 at each border
    assert _rings((40, 100)).sum(axis=0).max() == 1  # where 0.1 and 0.2 cycles/px are frequencies of the transform


def test_a_grid_that_a_crop_has_moved_is_found_at_its_phase():
    moved = blocky(textures(seed=6), 4, 0.5)[:, 1:, 1:]  # what was pixel 4 is pixel 3
    ratio = border_ratio(step_energy(moved, 4))
    assert ratio.argmax() == 3 and ratio[3] > 1.5 and ratio[0] < 1


def test_pure_blocks_are_infinitely_and_a_flat_colour_undefinedly_blocky():
    real = textures(5)
    flat = np.full_like(real, 90)
    assert np.isinf(border_ratio(step_energy(blocky(real, 4), 4))[0])
    assert np.isnan(border_ratio(step_energy(flat, 4))).all()
    np.testing.assert_allclose(band_power(flat), 0, atol=1e-9)


def test_every_image_has_its_own_values():
    real = textures(6)
    real[2:] = blocky(noisy(real[2:], 10), 4, 0.5)
    for measure in (band_power, lambda images: step_energy(images, 4)):
        np.testing.assert_allclose(measure(real)[4], measure(real[4:5])[0])


def test_blocks_that_do_not_fit_twice_are_refused():
    for block in (1, 40):
        with pytest.raises(ValueError, match=f"blocks of {block} px in images of 64 x 64"):
            step_energy(textures(2), block)
