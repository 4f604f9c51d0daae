"""Stable Diffusion XL in small: two text encoders, pooled words, and the size and crop of the image."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from p2d_lib.device import generator
from p2d_lib.finetune import adapter, latents, loop
from p2d_lib.models import encoding, pipelines, tiny_base

PROMPTS = ["dermoscopic image of melanoma", "dermoscopic image of dermatofibroma"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = tiny_base.tiny_pipeline(0).tokenizer
    words = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=64, projection_dim=32, hidden_act="gelu", bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    pipe = StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, sample_size=32,
        ),
        unet=UNet2DConditionModel(
            block_out_channels=(16, 32), layers_per_block=1, sample_size=16, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), norm_num_groups=8,
            projection_class_embeddings_input_dim=6 * 8 + 32, cross_attention_dim=64,
        ),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        text_encoder=CLIPTextModel(words), text_encoder_2=CLIPTextModelWithProjection(words),
        tokenizer=tokenizer, tokenizer_2=tokenizer,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("hub") / "sdxl"
    pipe.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def test_prompts_are_read_as_the_pipeline_of_diffusers_reads_them(folder):
    pipe = pipelines.load(folder)
    expected, _, pooled, _ = pipe.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
    embeddings = encoding.encode_prompts(pipe, PROMPTS)
    assert torch.allclose(embeddings["embeddings"], expected, atol=1e-6)
    assert torch.allclose(embeddings["pooled"], pooled, atol=1e-6)


def test_the_denoiser_gets_the_size_of_the_whole_image(folder, pixels, tmp_path, monkeypatch):
    pipe, conditions = pipelines.load(folder), []
    encoded = latents.encode(pipe, pixels, PROMPTS, tmp_path)
    pipe.unet.register_forward_pre_hook(lambda _, a, k: conditions.append(k["added_cond_kwargs"]), with_kwargs=True)
    adapter.fit_adapter(pipe, encoded, loop.Recipe(steps=1, batch_size=2, learning_rate=1e-2, seed=0), rank=2)
    assert conditions[0]["time_ids"].tolist() == [[32, 32, 0, 0, 32, 32]] * 2
    assert conditions[0]["text_embeds"].shape == (2, 32)


@pytest.mark.parametrize("words", ["embeddings", "tokens"])
def test_an_adapter_loads_in_a_plain_pipeline(folder, pixels, tmp_path, words):
    pipe, plain = pipelines.load(folder), pipelines.load(folder)
    encoded = latents.encode(pipe, pixels, PROMPTS, tmp_path, words=words)
    log = adapter.fit_adapter(pipe, encoded, loop.Recipe(steps=3, batch_size=2, learning_rate=1e-2, seed=0), rank=2)
    adapter.save_adapter(pipe, tmp_path / "adapter", log, {})
    fresh = StableDiffusionXLPipeline.from_pretrained(folder)
    fresh.load_lora_weights(tmp_path / "adapter")
    ours, theirs, before = (_answer(which) for which in (pipe, fresh, plain))
    assert torch.allclose(ours, theirs, atol=1e-5)  # the layout in memory differs
    assert (ours - before).abs().max() > 1e-4


def _answer(pipe) -> torch.Tensor:
    words = encoding.encode_prompts(pipe, PROMPTS)
    more = {"text_embeds": words["pooled"], "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]] * 2)}
    with torch.no_grad():
        noisy = torch.randn(2, 4, 16, 16, generator=generator(0))
        return pipe.unet(noisy, torch.tensor([10, 900]), words["embeddings"], added_cond_kwargs=more).sample
