"""The paper's base: a pipeline with a convolutional autoencoder that predicts noise, in the layout of the hub."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline
from safetensors import safe_open
from tiny_run import GUIDANCE

from p2d_lib.device import generator
from p2d_lib.finetune import adapter, inversion, latents, loop
from p2d_lib.models import encoding, pipelines, pixel_baselines, sampling, textual_inversion, tiny_base
from p2d_lib.models.checkpoints import Checkpoints

PROMPTS = ["dermoscopic image of melanoma", "dermoscopic image of dermatofibroma"]
SETTINGS = {**GUIDANCE, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stable Diffusion 1.5 in small, as `save_pretrained` leaves it."""
    ours = tiny_base.tiny_pipeline(0)
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, sample_size=64,
    )  # fmt: skip
    config = {**ours.unet.config, "in_channels": 4, "out_channels": 4, "sample_size": 8}
    pipe = StableDiffusionPipeline(
        vae=vae, unet=type(ours.unet).from_config(config), text_encoder=ours.text_encoder, tokenizer=ours.tokenizer,
        scheduler=PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("hub") / "stable-diffusion"
    pipe.save_pretrained(path)
    return path


def test_an_adapter_is_fitted_kept_and_loaded_on_a_pipeline_of_the_hubs_layout(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    pipe = pipelines.load(folder)
    plain = sampling.sample(pipe, PROMPTS, [0, 1], **SETTINGS)
    assert plain.shape == (2, 64, 64, 3)
    encoded = latents.encode(pipe, pixels, PROMPTS * 2, tmp_path)
    assert encoded.latents.shape == (4, 2, 4, 8, 8)
    log = adapter.fit_adapter(pipe, encoded, loop.Recipe(steps=5, batch_size=4, learning_rate=1e-2, seed=0), rank=2)
    adapted = sampling.sample(pipe, PROMPTS, [0, 1], **SETTINGS)
    assert np.abs(adapted.astype(int) - plain).mean() > 0.1
    adapter.save_adapter(pipe, tmp_path / "adapter", log, {})
    fresh = pipelines.load(folder)
    fresh.load_lora_weights(str(tmp_path / "adapter"))
    kept, read = ([w for n, w in sorted(which.unet.named_parameters()) if "lora" in n] for which in (pipe, fresh))
    assert len(kept) == len(read) and all(torch.equal(*pair) for pair in zip(kept, read, strict=True))
    again = sampling.sample(fresh, PROMPTS, [0, 1], **SETTINGS)
    assert np.abs(again.astype(int) - adapted).max() <= 1


@pytest.mark.parametrize("shift", [None, 0.5])
def test_latents_are_sampled_from_the_posterior_and_scaled_as_the_autoencoder_says(folder, tmp_path, shift):
    pipe = pipelines.load(folder)
    pipe.vae.register_to_config(shift_factor=shift)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    encoded = latents.encode(pipe, pixels, PROMPTS, tmp_path)
    with torch.no_grad():
        posterior = pipe.vae.encode(tiny_base.to_pixels(pixels[:, :, ::-1], pipe.vae)).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator(0))
    sampled = encoded.sample_latents(torch.arange(2), torch.ones(2, dtype=torch.int64), noise)
    assert torch.allclose(sampled, 0.18215 * (posterior.mean + posterior.std * noise - (shift or 0)), atol=1e-3)
    mode = (pipe.vae.encode(tiny_base.to_pixels(pixels, pipe.vae)).latent_dist.mode() - (shift or 0)) * 0.18215
    assert torch.allclose(encoding.encode_moments(pipe, pixels)[0], mode, atol=1e-5)


def test_an_adapter_says_what_it_was_made_of(folder, tmp_path):
    pipe = pipelines.load(folder)
    pixels = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    encoded = latents.encode(pipe, pixels, PROMPTS, tmp_path)
    recipe = loop.Recipe(steps=2, batch_size=2, learning_rate=1e-2, seed=0)
    log = adapter.fit_adapter(pipe, encoded, recipe, rank=2, alpha=8, targets="attention")
    adapter.save_adapter(pipe, tmp_path / "adapter", log, {}, trigger="dermoscopic image", data=encoded.key)
    with safe_open(tmp_path / "adapter" / "pytorch_lora_weights.safetensors", "pt") as file:
        metadata, names = file.metadata(), list(file.keys())
    assert {key: metadata[key] for key in ("trigger", "rank", "alpha")} == {
        "trigger": "dermoscopic image", "rank": "2", "alpha": "8",
    }  # fmt: skip
    assert metadata["data"] == encoded.key
    assert all(".to_" in name for name in names)
    fresh = pipelines.load(folder)
    fresh.load_lora_weights(tmp_path / "adapter")  # alpha is not rank: it must be read, too
    _same_answer(pipe, fresh)


def test_text_encoders_get_an_adapter_where_the_set_holds_tokens(folder, tmp_path):
    pipe, plain = pipelines.load(folder), pipelines.load(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    encoded = latents.encode(pipe, pixels, PROMPTS, tmp_path, words="tokens")
    assert encoded.embeddings is None
    recipe = loop.Recipe(steps=3, batch_size=2, learning_rate=1e-2, seed=0)
    log = adapter.fit_adapter(pipe, encoded, recipe, rank=2, monitoring=loop.Monitoring(every=1, held_out=encoded))
    assert log.val_loss.notna().all()
    adapter.save_adapter(pipe, tmp_path / "adapter", log, {})
    fresh = pipelines.load(folder)
    fresh.load_lora_weights(tmp_path / "adapter")
    ours, theirs, before = (encoding.encode_prompts(which, PROMPTS)["embeddings"] for which in (pipe, fresh, plain))
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert (ours - before).abs().max() > 1e-3
    _same_answer(pipe, fresh)


def test_a_token_is_all_that_textual_inversion_changes_and_it_loads_in_a_plain_pipeline(folder, tmp_path):
    pipe, plain = pipelines.load(folder), pipelines.load(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    encoded = latents.encode(pipe, pixels, PROMPTS, tmp_path)
    recipe = loop.Recipe(steps=3, batch_size=2, learning_rate=1e-1, seed=0)
    fitting = {"recipe": recipe, "token": "<derm>", "start": "melanoma", "checkpoints": Checkpoints(tmp_path / "fits")}
    with_token = ["a <derm> lesion"] * 2
    log = inversion.fit_token(pipe, encoded, with_token, **fitting)
    torch.manual_seed(1)  # whatever the new row held before
    again = inversion.fit_token(pipelines.load(folder), encoded, with_token, **fitting)
    assert again.equals(log), "it was fitted once more instead of taken from its checkpoint"
    textual_inversion.LearnedToken(pipe, "<derm>").save(tmp_path / "token")
    assert torch.equal(
        encoding.encode_prompts(pipe, PROMPTS)["embeddings"], encoding.encode_prompts(plain, PROMPTS)["embeddings"]
    )
    of_token, like = (
        encoding.encode_prompts(pipe, [f"a {word} lesion"])["embeddings"] for word in ("<derm>", "melanoma")
    )
    assert (of_token - like).abs().max() > 1e-3
    fresh = pipelines.load(folder)
    fresh.load_textual_inversion(tmp_path / "token")
    assert torch.equal(encoding.encode_prompts(fresh, ["a <derm> lesion"])["embeddings"], of_token)
    opened = pixel_baselines.load(tmp_path / "token", base=folder)
    ask = {"seeds": [3], "size": 32, **SETTINGS}
    sampled = opened.sample(["a lesion"], **ask)
    assert np.array_equal(sampled, sampling.sample(fresh, ["<derm> a lesion"], **ask))
    assert not np.array_equal(sampled, sampling.sample(fresh, ["a lesion"], **ask))
    with pytest.raises(ValueError, match="'<derm>' is a token already"):
        inversion.fit_token(pipe, encoded, PROMPTS, recipe, "<derm>", start="melanoma")


def _same_answer(one, other):
    """Both denoisers answer alike to what they have not seen."""
    noisy, words = torch.randn(2, 4, 8, 8, generator=generator(0)), encoding.encode_prompts(one, PROMPTS)["embeddings"]
    with torch.no_grad():
        a, b = (which.unet(noisy, torch.tensor([10, 900]), words).sample for which in (one, other))
    assert torch.allclose(a, b, atol=1e-6)
