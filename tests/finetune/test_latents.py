"""Latents and embeddings are computed once, are what they are said to be, and do not fill the memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from p2d_lib.finetune import latents
from p2d_lib.models import encoding, pipelines

PROMPTS = ["a", "b", "a"]


@pytest.fixture(scope="module")
def pipe():
    return pipelines.load("random")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_latents_are_computed_once(pipe, pixels, tmp_path, monkeypatch):
    first = latents.encode(pipe, pixels, PROMPTS, tmp_path)
    monkeypatch.setattr(encoding, "encode_moments", None)  # a second computation would fail
    monkeypatch.setattr(encoding, "encode_prompts", None)
    second = latents.encode(pipe, pixels, PROMPTS, tmp_path)
    assert first.key == second.key
    assert torch.equal(first.latents[torch.arange(3)], second.latents[torch.arange(3)])


def test_other_pixels_words_or_weights_are_encoded_anew(pipe, pixels, tmp_path):
    keys = {
        latents.encode(pipe, pixels, PROMPTS, tmp_path).key,
        latents.encode(pipe, pixels[::-1], PROMPTS, tmp_path).key,
        latents.encode(pipe, pixels, ["a", "b", "b"], tmp_path).key,
        latents.encode(pipelines.load("random", seed=1), pixels, PROMPTS, tmp_path).key,
    }
    assert len(keys) == 4


def test_one_changed_image_costs_one_shard(pipe, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "SHARD", 1)
    latents.encode(pipe, pixels, PROMPTS, tmp_path)
    calls, honest = [], encoding.encode_moments
    monkeypatch.setattr(encoding, "encode_moments", lambda pipe, images: calls.append(images) or honest(pipe, images))
    changed = pixels.copy()
    changed[1] = 255 - changed[1]
    latents.encode(pipe, changed, PROMPTS, tmp_path)
    assert len(calls) == 2  # both views
    assert np.array_equal(calls[0], changed[1:2])


def test_each_image_finds_its_views_and_its_words_in_whatever_shard(pipe, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "SHARD", 2)
    encoded = latents.encode(pipe, pixels, ["red", "blue", "red"], tmp_path)
    assert encoded.latents.shape == (3, 2, 8, 8, 8)
    rows = torch.tensor([2, 0])
    for view, pixels_of_view in enumerate((pixels, pixels[:, :, ::-1])):
        expected = encoding.encode_moments(pipe, pixels_of_view)[0][rows]
        assert torch.allclose(encoded.latents[rows][:, view].float(), expected, atol=2e-3)
    expected = encoding.encode_prompts(pipe, ["red", "blue", "red"])["embeddings"]
    assert torch.allclose(encoded.embeddings[encoded.index].float(), expected, atol=2e-3)
    last = torch.tensor([len(encoded.embeddings) - 1])
    assert torch.allclose(
        encoded.embeddings[last].float(), encoding.encode_prompts(pipe, [""])["embeddings"], atol=2e-3
    )


def test_a_shard_of_images_at_a_time_is_in_memory(pipe, tmp_path, monkeypatch):
    """403 MB of images on disk, in 64 shards; images read from a mapped file are not the process's own memory."""
    monkeypatch.setattr(latents, "SHARD", 8)
    monkeypatch.setattr(encoding, "encode_moments", lambda pipe, pixels: 2 * (_means(pixels),))
    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (512, 512, 512, 3))
    images[:, 0, 0, 0] = np.arange(512) % 256
    images[:, 0, 0, 1] = np.arange(512) // 256
    images.flush()
    mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    before = _own_memory()
    encoded = latents.encode(pipe, mapped, ["a"] * 512, tmp_path / "latents")
    assert len(encoded.latents) == 512 and len(set(encoded.latents.paths)) == 64
    assert _own_memory() - before < 100


def _means(pixels: np.ndarray) -> torch.Tensor:
    """Latents (n, 3, 8, 8) that cost next to nothing."""
    return torch.from_numpy(pixels[:, :8, :8].astype(np.float32)).permute(0, 3, 1, 2)


def test_reading_a_set_does_not_grow_memory(tmp_path, monkeypatch):
    """64 MB in eight shards, every row read; pages of a mapped file are not the process's own."""
    monkeypatch.setattr(latents, "SHARD", 16)
    for k in range(8):
        save_file({"latents": torch.full((16, 131072), float(k))}, tmp_path / f"{k}.safetensors")
    stored = latents.Stored([tmp_path / f"{k}.safetensors" for k in range(8)], "latents")
    before = _own_memory()
    sums = [stored[torch.arange(start, start + 4)].mean().item() for start in range(0, 128, 4)]
    assert sums == [start // 16 for start in range(0, 128, 4)]
    assert _own_memory() - before < 8


def _own_memory() -> float:
    """MB that belong to this process alone."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    return int(status.read_text().split("RssAnon:")[1].split()[0]) / 1024
