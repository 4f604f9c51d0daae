"""Claims about the tiny base: its tokenizer is the same everywhere, its autoencoder is the best linear one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from p2d_lib.models import encoding, pipelines
from p2d_lib.models.tiny_base import TINY, tiny_pipeline
from p2d_lib.models.tiny_tokenizer import tiny_tokenizer
from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES

PRINT_VOCABULARY = """
import json
from p2d_lib.models.tiny_tokenizer import tiny_tokenizer
print(json.dumps([tiny_tokenizer().get_vocab(), tiny_tokenizer()("a brown macule of the foot")["input_ids"]]))
"""


@pytest.fixture(scope="module")
def pipe():
    return pipelines.load("random", seed=1)


def test_a_folder_says_how_wide_its_denoiser_is(pipe, tmp_path):
    """So a folder that an earlier version wrote loads as it was written."""
    narrow = tiny_pipeline(1, widths=(32, 64, 128))
    pipelines.save(narrow, tmp_path / "base")
    loaded = pipelines.load(tmp_path / "base")
    assert tuple(loaded.unet.config.block_out_channels) == (32, 64, 128)
    assert loaded.unet.num_parameters() == narrow.unet.num_parameters() < 0.6 * pipe.unet.num_parameters()
    weights = zip(narrow.unet.state_dict().values(), loaded.unet.state_dict().values(), strict=True)
    assert all((one - other).abs().max() < 1e-3 for one, other in weights)  # of half precision


def test_the_tokenizer_is_the_same_at_every_call():
    vocabularies = {json.dumps(tiny_tokenizer().get_vocab(), sort_keys=True) for _ in range(20)}
    assert len(vocabularies) == 1


def test_the_tokenizer_is_the_same_in_every_process():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PRINT_VOCABULARY], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("0", "1", "2")
    ]  # fmt: skip
    here = [tiny_tokenizer().get_vocab(), tiny_tokenizer()("a brown macule of the foot")["input_ids"]]
    assert [json.loads(output) for output in outputs] == [here] * 3


def test_the_tokenizer_has_the_layout_of_the_one_that_ships():
    ships = json.loads((TINY / "tokenizer" / "tokenizer.json").read_text())["model"]
    made = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    letters = {token: i for token, i in ships["vocab"].items() if i < 512}  # each letter, within and at a word's end
    assert letters == {token: i for token, i in made["vocab"].items() if i < 512}
    for mark in ("<|startoftext|>", "<|endoftext|>"):
        assert ships["vocab"][mark] == made["vocab"][mark]
    assert len(ships["merges"]) == len(made["merges"])


def test_each_word_of_the_vocabulary_is_one_token():
    tokenizer = tiny_tokenizer()
    phrases = [*DX_NAMES.values(), *SITES, *(feature.phrase for feature in FEATURES.values())]
    words = {word for phrase in phrases for word in phrase.replace("-", " ").split()}
    assert {word: len(tokenizer.tokenize(word)) for word in words} == dict.fromkeys(words, 1)


def test_words_outside_the_vocabulary_are_spelt_in_letters():
    tokenizer = tiny_tokenizer()
    assert tokenizer.unk_token_id not in tokenizer("Spitz, é?", add_special_tokens=False).input_ids


def test_the_patch_autoencoder_loses_nothing_that_its_components_span():
    rng = np.random.default_rng(0)
    basis = rng.uniform(-6, 6, (7, 4, 4, 3))  # seven patterns and a mean: eight components hold them
    mixed = np.einsum("nyxk,kabc->nyaxbc", rng.uniform(-3, 3, (6, 8, 8, 7)), basis).reshape(6, 32, 32, 3) + 128
    images = mixed.clip(0, 255).round().astype(np.uint8)
    pipe = pipelines.load("random")
    pipe.vae.fit(images)
    kept = encoding.decode_latents(pipe, encoding.encode_moments(pipe, images)[0])
    assert np.abs(kept.astype(int) - images).max() <= 3  # of rounding


def test_latents_are_centred_and_finer_components_have_less_variance():
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    images = (images + 2.0 * images.mean((1, 2, 3), keepdims=True)).astype(np.uint8)
    pipe = pipelines.load("random")
    pipe.vae.fit(images)
    latents = encoding.encode_moments(pipe, images)[0]
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    spread = latents.std((0, 2, 3))
    assert spread[0] == pytest.approx(1, abs=0.01)
    assert (spread.diff() <= 1e-4).all()


def test_latents_decode_to_the_size_they_came_from(pipe):
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    latents = encoding.encode_moments(pipe, images, batch_size=2)[0]
    assert latents.shape == (3, pipe.vae.config.latent_channels, 16, 16)
    assert encoding.decode_latents(pipe, latents).shape == images.shape
