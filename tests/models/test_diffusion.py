"""Claims about the tiny latent diffusion model and about sampling from any Stable Diffusion pipeline."""

import copy
import math

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from p2d_lib.models import encoding, lora, pipelines, sampling, tiny_base
from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES

PROMPTS = [f"dermoscopic image of {name}" for name in list(DX_NAMES.values())[:3]]
SEEDS = [3, 2**62, 5]


@pytest.fixture(scope="module")
def pipe():
    return pipelines.load("random", seed=1)


def test_an_image_depends_on_its_own_seed_and_words_not_on_its_neighbours(pipe):
    together = sampling.sample(pipe, PROMPTS, SEEDS, num_inference_steps=3)
    backwards = sampling.sample(pipe, PROMPTS[::-1], SEEDS[::-1], num_inference_steps=3, batch_size=2)[::-1]
    assert np.abs(together.astype(int) - backwards).max() <= 1  # a value on the edge may round to either side
    assert np.abs(together.astype(int) - backwards).mean() < 1e-3
    assert np.abs(together[0].astype(int) - together[2]).mean() > 1


EVERYWHERE = {"guidance_interval": (0, math.inf), "guidance_scale": 3.0}


def as_diffusers_draws(pipe, solver, **settings):
    """The pipeline's own call, which takes prompts of any kind and knows no interval."""
    theirs = type(pipe)(**{**pipe.components, "scheduler": sampling.SOLVERS[solver].from_config(pipe.scheduler.config)})
    theirs.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    return theirs(PROMPTS, generator=generators, output_type="np", **settings).images * 255


@pytest.mark.parametrize("solver", sampling.SOLVERS)
@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_images_are_those_of_the_diffusers_pipeline(pipe, solver, prediction):
    pipe = copy.copy(pipe)
    if prediction == "epsilon":  # as Stable Diffusion 1.5 comes
        pipe.scheduler = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, steps_offset=1)
    ours = sampling.sample(pipe, PROMPTS, SEEDS, solver=solver, num_inference_steps=4, size=32, **EVERYWHERE)
    settings = {"num_inference_steps": 4, "height": 32, "width": 32, "guidance_scale": 3.0}
    assert np.abs(ours - as_diffusers_draws(pipe, solver, **settings)).max() <= 1
    assert ours.std() > 5


@pytest.fixture(scope="module")
def xl(pipe):
    """SDXL in its smallest form: two text encoders, pooled words and sizes beside the time."""
    torch.manual_seed(0)
    tokenizer = pipe.tokenizer
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=24, max_position_embeddings=tiny_base.TOKENS, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, cross_attention_dim=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24 + 6 * 8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1,
    )  # fmt: skip
    scheduler = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, steps_offset=1)
    encoders = CLIPTextModel(config).eval(), CLIPTextModelWithProjection(config).eval()
    return StableDiffusionXLPipeline(vae.eval(), *encoders, tokenizer, tokenizer, unet.eval(), scheduler)


@pytest.mark.parametrize("empty_is_zero", [True, False])
def test_images_of_sdxl_are_those_of_its_pipeline(xl, empty_is_zero):
    xl = StableDiffusionXLPipeline(**xl.components, force_zeros_for_empty_prompt=empty_is_zero)
    ours = sampling.sample(xl, PROMPTS, SEEDS, num_inference_steps=3, **EVERYWHERE)
    theirs = copy.copy(xl)
    theirs.scheduler = sampling.SOLVERS["dpm++2m"].from_config(xl.scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    drawn = theirs(PROMPTS, generator=generators, output_type="np", num_inference_steps=3, guidance_scale=3.0).images
    assert np.abs(ours - drawn * 255).max() <= 1
    assert ours.std() > 5


def test_the_autoencoder_of_sdxl_which_overflows_in_half_precision_computes_in_full(xl):
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    full, half = encoding.decode_latents(xl, latents), copy.copy(xl)
    half.vae = copy.deepcopy(xl.vae).half()
    assert np.abs(encoding.decode_latents(half, latents.half()).astype(int) - full).max() <= 2
    assert half.vae.dtype == torch.float32


def evaluations(pipe, **settings):
    """How many latents the denoiser saw at each step."""
    seen = []
    hook = pipe.unet.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    images = sampling.sample(pipe, PROMPTS, SEEDS, size=32, num_inference_steps=5, **settings)
    hook.remove()
    return seen, images


def test_guidance_costs_only_where_it_acts(pipe):
    nowhere, alone = evaluations(pipe, guidance_scale=1.0)
    somewhere, some = evaluations(pipe, guidance_interval=(1.0, 4.0))
    everywhere, full = evaluations(pipe, guidance_interval=(0, math.inf))
    assert (nowhere, somewhere, everywhere) == ([3] * 5, [3, 3, 6, 6, 3], [6] * 5)
    assert np.abs(some.astype(int) - alone).mean() > 1
    assert np.abs(some.astype(int) - full).mean() > 1


def test_guidance_acts_from_above_the_lower_noise_level_up_to_the_higher(pipe):
    scheduler = sampling.SOLVERS["dpm++2m"].from_config(pipe.scheduler.config)
    scheduler.set_timesteps(5)
    signal = scheduler.alphas_cumprod[scheduler.timesteps].double()
    sigma = ((1 - signal) / signal).sqrt().tolist()
    low, high = sigma[3] * (1 + 1e-6), sigma[1] * (1 + 1e-6)
    assert evaluations(pipe, guidance_interval=(low, high))[0] == [3, 6, 6, 3, 3]


def test_an_image_is_the_same_alone_and_in_any_batch(pipe):
    whole = sampling.sample(pipe, PROMPTS * 2, range(6), num_inference_steps=8, size=32)
    for size in (1, 4):
        parts = sampling.sample(pipe, PROMPTS * 2, range(6), num_inference_steps=8, size=32, batch_size=size)
        assert np.abs(whole.astype(int) - parts).max() <= 1


def test_no_more_is_asked_for_than_the_batch_in_work(pipe):
    read = []
    asked = ((read.append(seed) or "melanoma", seed) for seed in range(10**9))
    batches = sampling.samples(pipe, asked, num_inference_steps=1, batch_size=4, size=32)
    assert next(batches).shape == (4, 32, 32, 3)
    assert read == [0, 1, 2, 3]


def test_a_prompt_without_a_seed_is_refused(pipe):
    with pytest.raises(ValueError, match="shorter"):
        sampling.sample(pipe, PROMPTS, SEEDS[:2], num_inference_steps=1, size=32)


@pytest.mark.parametrize("which", ["pipe", "xl"])
def test_an_adapter_of_denoiser_and_text_encoders_is_merged_or_left_out_whole(which, request):
    adapted = copy.deepcopy(request.getfixturevalue(which))
    settings = {"size": 32, "num_inference_steps": 2}
    plain = sampling.sample(adapted, PROMPTS, SEEDS, **settings).astype(int)
    torch.manual_seed(0)
    for part, names in ((adapted.unet, ["to_q", "to_v"]), *((e, ["v_proj"]) for e in pipelines.encoders(adapted))):
        part.add_adapter(LoraConfig(r=2, target_modules=names, init_lora_weights=False))
    before = sampling.sample(adapted, PROMPTS, SEEDS, **settings).astype(int)
    assert np.abs(before - plain).mean() > 1
    for adapter, expected in ((True, before), (False, plain)):
        alone = lora.merged(adapted, adapter)
        assert np.abs(sampling.sample(alone, PROMPTS, SEEDS, **settings) - expected).max() <= 1
        assert not any(
            "lora" in name
            for part in alone.components.values()
            if hasattr(part, "named_modules")
            for name, _ in part.named_modules()
        )
    assert np.array_equal(sampling.sample(adapted, PROMPTS, SEEDS, **settings), before)


def test_the_same_seed_gives_the_same_image(pipe):
    first, second = (sampling.sample(pipe, PROMPTS[:1], [7], num_inference_steps=3) for _ in range(2))
    assert np.array_equal(first, second)


def test_global_random_state_neither_changes_an_image_nor_is_changed(pipe):
    torch.manual_seed(0)
    first = sampling.sample(pipe, PROMPTS[:1], [7], num_inference_steps=2)
    untouched = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), untouched)
    assert np.array_equal(first, sampling.sample(pipe, PROMPTS[:1], [7], num_inference_steps=2))


@pytest.mark.parametrize("size", [64, 96])
def test_images_have_the_size_asked_for(pipe, size):
    images = sampling.sample(pipe, PROMPTS[:2], [0, 1], num_inference_steps=2, size=size)
    assert images.shape == (2, size, size, 3)
    assert images.dtype == np.uint8


def test_a_pipeline_saved_in_the_diffusers_layout_draws_the_same_images_when_it_is_loaded(pipe, tmp_path):
    pipelines.save(pipe, tmp_path / "base")
    loaded = pipelines.load(tmp_path / "base")
    before, after = (sampling.sample(which, PROMPTS, SEEDS, num_inference_steps=3) for which in (pipe, loaded))
    assert np.abs(before.astype(int) - after).mean() < 0.5  # weights are rounded to half precision
    assert next(pipe.unet.parameters()).dtype == torch.float32


def test_a_pointer_leads_to_the_base_it_names(pipe, tmp_path):
    pipelines.save(pipe, tmp_path / "base")
    pipelines.leave(pipe, tmp_path / "left", came_from=str(tmp_path / "base"))
    assert not list((tmp_path / "left").rglob("*.safetensors"))
    loaded, named = pipelines.load(tmp_path / "left"), pipelines.load(tmp_path / "base")
    assert torch.equal(loaded.unet.conv_in.weight, named.unet.conv_in.weight)


def test_a_base_that_is_nowhere_is_named_with_what_would_do(tmp_path):
    with pytest.raises(pipelines.BaseError, match=r"nowhere.*tiny, random, a folder"):
        pipelines.load(tmp_path / "nowhere")


def test_each_word_of_the_vocabulary_is_one_token():
    tokenizer = tiny_base.tiny_pipeline(0).tokenizer
    said = [*DX_NAMES.values(), *SITES, *(feature.phrase for feature in FEATURES.values())]
    words = {word for phrase in said for word in phrase.replace("-", " ").split()}
    assert {word: len(tokenizer.tokenize(word)) for word in words} == dict.fromkeys(words, 1)


def test_words_never_seen_are_spelt_not_lost():
    tokenizer = tiny_base.tiny_pipeline(0).tokenizer
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
