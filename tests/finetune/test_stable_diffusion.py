"""The paper's base: a pipeline with a convolutional autoencoder that predicts noise, in the layout of the hub."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline

from p2d_lib.finetune import latents, train
from p2d_lib.models import diffusion

PROMPTS = ["dermoscopic image of melanoma", "dermoscopic image of dermatofibroma"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stable Diffusion 1.5 in small, as `save_pretrained` leaves it."""
    ours = diffusion.tiny_pipeline(0)
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
    pipe = diffusion.load(folder)
    plain = diffusion.sample(pipe, PROMPTS, [0, 1], num_inference_steps=2)
    assert plain.shape == (2, 64, 64, 3)
    encoded = latents.encode(pipe, pixels, PROMPTS * 2, tmp_path)
    assert encoded.latents.shape == (4, 2, 4, 8, 8)
    log = train.fit_adapter(pipe, encoded, train.Recipe(steps=5, batch_size=4, learning_rate=1e-2, seed=0), rank=2)
    adapted = diffusion.sample(pipe, PROMPTS, [0, 1], num_inference_steps=2)
    assert np.abs(adapted.astype(int) - plain).mean() > 0.1
    train.save_adapter(pipe, tmp_path / "adapter", log, {})
    fresh = diffusion.load(folder)
    fresh.load_lora_weights(str(tmp_path / "adapter"))
    kept, read = ([w for n, w in sorted(which.unet.named_parameters()) if "lora" in n] for which in (pipe, fresh))
    assert len(kept) == len(read) and all(torch.equal(*pair) for pair in zip(kept, read, strict=True))
    again = diffusion.sample(fresh, PROMPTS, [0, 1], num_inference_steps=2)
    assert np.abs(again.astype(int) - adapted).max() <= 1


def test_latents_are_scaled_as_the_autoencoder_says(folder):
    pipe = diffusion.load(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        mode = pipe.vae.encode(diffusion.to_pixels(pixels, pipe.vae)).latent_dist.mode()
    assert torch.allclose(diffusion.encode_images(pipe, pixels), 0.18215 * mode, atol=1e-5)
