"""Claims about the tiny latent diffusion model and about sampling from any Stable Diffusion pipeline."""

import numpy as np
import pytest
import torch

from p2d_lib.models import diffusion
from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES

PROMPTS = [f"dermoscopic image of {name}" for name in list(DX_NAMES.values())[:3]]
SEEDS = [3, 2**62, 5]


@pytest.fixture(scope="module")
def pipe():
    return diffusion.load("random", seed=1)


def test_an_image_depends_on_its_own_seed_and_words_not_on_its_neighbours(pipe):
    together = diffusion.sample(pipe, PROMPTS, SEEDS, num_inference_steps=3)
    backwards = diffusion.sample(pipe, PROMPTS[::-1], SEEDS[::-1], num_inference_steps=3, batch_size=2)[::-1]
    assert np.abs(together.astype(int) - backwards).max() <= 1  # a value on the edge may round to either side
    assert np.abs(together.astype(int) - backwards).mean() < 1e-3
    assert np.abs(together[0].astype(int) - together[2]).mean() > 1


def test_the_same_seed_gives_the_same_image(pipe):
    first, second = (diffusion.sample(pipe, PROMPTS[:1], [7], num_inference_steps=3) for _ in range(2))
    assert np.array_equal(first, second)


def test_global_random_state_neither_changes_an_image_nor_is_changed(pipe):
    torch.manual_seed(0)
    first = diffusion.sample(pipe, PROMPTS[:1], [7], num_inference_steps=2)
    untouched = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), untouched)
    assert np.array_equal(first, diffusion.sample(pipe, PROMPTS[:1], [7], num_inference_steps=2))


@pytest.mark.parametrize("size", [64, 96])
def test_images_have_the_size_asked_for(pipe, size):
    images = diffusion.sample(pipe, PROMPTS[:2], [0, 1], num_inference_steps=2, size=size)
    assert images.shape == (2, size, size, 3)
    assert images.dtype == np.uint8


def test_a_pipeline_saved_in_the_diffusers_layout_draws_the_same_images_when_it_is_loaded(pipe, tmp_path):
    diffusion.save(pipe, tmp_path / "base")
    loaded = diffusion.load(tmp_path / "base")
    before, after = (diffusion.sample(which, PROMPTS, SEEDS, num_inference_steps=3) for which in (pipe, loaded))
    assert np.abs(before.astype(int) - after).mean() < 0.5  # weights are rounded to half precision
    assert next(pipe.unet.parameters()).dtype == torch.float32


def test_a_pointer_leads_to_the_base_it_names(pipe, tmp_path):
    diffusion.save(pipe, tmp_path / "base")
    diffusion.leave(pipe, tmp_path / "left", came_from=str(tmp_path / "base"))
    assert not list((tmp_path / "left").rglob("*.safetensors"))
    loaded, named = diffusion.load(tmp_path / "left"), diffusion.load(tmp_path / "base")
    assert torch.equal(loaded.unet.conv_in.weight, named.unet.conv_in.weight)


def test_a_base_that_is_nowhere_is_named_with_what_would_do(tmp_path):
    with pytest.raises(diffusion.BaseError, match=r"nowhere.*tiny, random, a folder"):
        diffusion.load(tmp_path / "nowhere")


def test_each_word_of_the_vocabulary_is_one_token():
    tokenizer = diffusion.tiny_pipeline(0).tokenizer
    said = [*DX_NAMES.values(), *SITES, *(feature.phrase for feature in FEATURES.values())]
    words = {word for phrase in said for word in phrase.replace("-", " ").split()}
    assert {word: len(tokenizer.tokenize(word)) for word in words} == dict.fromkeys(words, 1)


def test_words_never_seen_are_spelt_not_lost():
    tokenizer = diffusion.tiny_pipeline(0).tokenizer
    assert tokenizer.unk_token_id not in tokenizer("Spitz, é?", add_special_tokens=False).input_ids


def test_the_patch_autoencoder_loses_nothing_that_its_components_span():
    rng = np.random.default_rng(0)
    basis = rng.uniform(-6, 6, (7, 4, 4, 3))  # seven patterns and a mean: eight components hold them
    mixed = np.einsum("nyxk,kabc->nyaxbc", rng.uniform(-3, 3, (6, 8, 8, 7)), basis).reshape(6, 32, 32, 3) + 128
    images = mixed.clip(0, 255).round().astype(np.uint8)
    pipe = diffusion.load("random")
    pipe.vae.fit(images)
    kept = diffusion.decode_latents(pipe, diffusion.encode_images(pipe, images))
    assert np.abs(kept.astype(int) - images).max() <= 3  # of rounding


def test_latents_are_centred_and_finer_components_have_less_variance():
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    images = (images + 2.0 * images.mean((1, 2, 3), keepdims=True)).astype(np.uint8)
    pipe = diffusion.load("random")
    pipe.vae.fit(images)
    latents = diffusion.encode_images(pipe, images)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    spread = latents.std((0, 2, 3))
    assert spread[0] == pytest.approx(1, abs=0.01)
    assert (spread.diff() <= 1e-4).all()


def test_latents_decode_to_the_size_they_came_from(pipe):
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    latents = diffusion.encode_images(pipe, images, batch_size=2)
    assert latents.shape == (3, pipe.vae.config.latent_channels, 16, 16)
    assert diffusion.decode_latents(pipe, latents).shape == images.shape
