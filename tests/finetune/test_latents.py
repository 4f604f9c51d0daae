"""Latents and embeddings are computed once, and are what they are said to be."""

import numpy as np
import pytest
import torch

from p2d_lib.finetune import latents
from p2d_lib.models import diffusion


@pytest.fixture(scope="module")
def pipe():
    return diffusion.load("random")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_latents_are_computed_once(pipe, pixels, tmp_path, monkeypatch):
    first = latents.encode(pipe, pixels, ["a", "b", "a"], tmp_path)
    monkeypatch.setattr(diffusion, "encode_images", None)  # a second computation would fail
    second = latents.encode(pipe, pixels, ["a", "b", "a"], tmp_path)
    assert torch.equal(first.latents, second.latents)


def test_other_pixels_words_or_weights_are_encoded_anew(pipe, pixels):
    keys = {
        latents.key(pipe, pixels, ["a", "b", "a"]),
        latents.key(pipe, pixels[::-1], ["a", "b", "a"]),
        latents.key(pipe, pixels, ["a", "b", "b"]),
        latents.key(diffusion.load("random", seed=1), pixels, ["a", "b", "a"]),
    }
    assert len(keys) == 4


def test_each_image_finds_its_views_and_its_words(pipe, pixels, tmp_path):
    encoded = latents.encode(pipe, pixels, ["red", "blue", "red"], tmp_path)
    mirrored = diffusion.encode_images(pipe, pixels[:, :, ::-1])
    assert torch.allclose(encoded.latents[:, 1].float(), mirrored, atol=2e-3)
    wanted = diffusion.embed_prompts(pipe, ["red", "blue", "red"])
    assert torch.allclose(encoded.embeddings[encoded.index].float(), wanted, atol=2e-3)
    assert torch.allclose(encoded.embeddings[-1].float(), diffusion.embed_prompts(pipe, [""])[0], atol=2e-3)
