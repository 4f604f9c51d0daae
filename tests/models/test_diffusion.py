"""Claims about sampling from any Stable Diffusion pipeline, with and without an adapter."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from p2d_lib.models import encoding, lora, pipelines, sampling, tiny_base
from p2d_lib.models.tiny_tokenizer import MAX_TOKENS
from p2d_lib.vocabulary import DX_NAMES

PROMPTS = [f"dermoscopic image of {name}" for name in list(DX_NAMES.values())[:3]]
SEEDS = [3, 2**62, 5]
sample = partial(sampling.sample, guidance_scale=5.0, guidance_interval=(1.4, 3.0))


@pytest.fixture(scope="module")
def pipe():
    with pytest.MonkeyPatch.context() as patch:  # a narrow denoiser, whose random weights answer to words more
        patch.setattr(pipelines, "tiny_pipeline", partial(tiny_base.tiny_pipeline, widths=(32, 64, 128)))
        return pipelines.load("random", seed=1)


def test_an_image_depends_on_its_own_seed_and_words_not_on_its_neighbours(pipe):
    together = sample(pipe, PROMPTS, SEEDS, num_inference_steps=3)
    backwards = sample(pipe, PROMPTS[::-1], SEEDS[::-1], num_inference_steps=3, batch_size=2)[::-1]
    assert np.abs(together.astype(int) - backwards).max() <= 1  # a value on the edge may round to either side
    assert np.abs(together.astype(int) - backwards).mean() < 1e-3
    assert np.abs(together[0].astype(int) - together[2]).mean() > 1


EVERYWHERE = {"guidance_interval": (0, math.inf), "guidance_scale": 3.0}


def images_of_diffusers(pipe, solver, **settings):
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
    ours = sample(pipe, PROMPTS, SEEDS, solver=solver, num_inference_steps=4, size=32, **EVERYWHERE)
    settings = {"num_inference_steps": 4, "height": 32, "width": 32, "guidance_scale": 3.0}
    assert np.abs(ours - images_of_diffusers(pipe, solver, **settings)).max() <= 1
    assert ours.std() > 5


@pytest.fixture(scope="module")
def xl(pipe):
    """SDXL in its smallest form: two text encoders, pooled words and sizes beside the time."""
    torch.manual_seed(0)
    tokenizer = pipe.tokenizer
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=24, max_position_embeddings=MAX_TOKENS, eos_token_id=tokenizer.eos_token_id,
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
    ours = sample(xl, PROMPTS, SEEDS, num_inference_steps=3, **EVERYWHERE)
    theirs = copy.copy(xl)
    theirs.scheduler = sampling.SOLVERS["dpm++2m"].from_config(xl.scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    expected = theirs(PROMPTS, generator=generators, output_type="np", num_inference_steps=3, guidance_scale=3.0).images
    assert np.abs(ours - expected * 255).max() <= 1
    assert ours.std() > 5


def test_the_autoencoder_of_sdxl_which_overflows_in_half_precision_computes_in_full(xl):
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    full, half = encoding.decode_latents(xl, latents), copy.copy(xl)
    half.vae = copy.deepcopy(xl.vae).half()
    assert np.abs(encoding.decode_latents(half, latents.half()).astype(int) - full).max() <= 2
    assert half.vae.dtype == torch.float32


def evaluations(pipe, **settings):
    """The number of latents in each call of the denoiser, and the images."""
    batches = []
    hook = pipe.unet.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    images = sample(pipe, PROMPTS, SEEDS, size=32, num_inference_steps=5, **settings)
    hook.remove()
    return batches, images


BY_STEPS = {"guidance_scale": 3.0, "guidance_interval": (1.4, 3.0), "num_inference_steps": 4, "solver": "dpm++2m"}


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_the_steps_of_an_image_end_with_the_image_and_their_previews_come_near_it(pipe, prediction):
    pipe = copy.copy(pipe)
    pipe.scheduler = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, prediction_type=prediction)
    steps = list(sampling.sample_steps(pipe, PROMPTS[:1], SEEDS[:1], size=32, **BY_STEPS))
    image = sampling.sample(pipe, PROMPTS[:1], SEEDS[:1], size=32, **BY_STEPS)
    assert len(steps) == 4 and np.array_equal(encoding.decode_latents(pipe, steps[-1].latents), image)
    apart = [float((step.clean() - steps[-1].latents).abs().mean()) for step in steps]
    assert apart[-1] < 1e-3 < apart[0]


def test_steps_that_are_closed_ask_the_denoiser_no_more(pipe):
    asked = []
    hook = pipe.unet.register_forward_hook(lambda *_: asked.append(1))
    steps = sampling.sample_steps(pipe, PROMPTS[:1], SEEDS[:1], size=32, **BY_STEPS)
    next(steps), next(steps)
    steps.close()
    hook.remove()
    assert len(asked) == 2 and list(steps) == []


def test_guidance_costs_only_where_it_acts(pipe):
    nowhere, alone = evaluations(pipe, guidance_scale=1.0)
    somewhere, subset = evaluations(pipe, guidance_interval=(1.0, 4.0))
    everywhere, full = evaluations(pipe, guidance_interval=(0, math.inf))
    assert (nowhere, somewhere, everywhere) == ([3] * 5, [3, 3, 6, 6, 3], [6] * 5)
    assert np.abs(subset.astype(int) - alone).mean() > 1
    assert np.abs(subset.astype(int) - full).mean() > 1


def test_guidance_acts_from_above_the_lower_noise_level_up_to_the_higher(pipe):
    scheduler = sampling.SOLVERS["dpm++2m"].from_config(pipe.scheduler.config)
    scheduler.set_timesteps(5)
    signal = scheduler.alphas_cumprod[scheduler.timesteps].double()
    sigma = ((1 - signal) / signal).sqrt().tolist()
    low, high = sigma[3] * (1 + 1e-6), sigma[1] * (1 + 1e-6)
    assert evaluations(pipe, guidance_interval=(low, high))[0] == [3, 6, 6, 3, 3]


def test_an_image_is_the_same_alone_and_in_any_batch(pipe):
    whole = sample(pipe, PROMPTS * 2, range(6), num_inference_steps=8, size=32)
    for size in (1, 4):
        parts = sample(pipe, PROMPTS * 2, range(6), num_inference_steps=8, size=32, batch_size=size)
        assert np.abs(whole.astype(int) - parts).max() <= 1


def test_requests_are_read_one_batch_ahead(pipe):
    taken = []
    requests = ((taken.append(seed) or "melanoma", seed) for seed in range(10**9))
    batches = sampling.samples(
        pipe,
        requests,
        guidance_scale=1.0,
        guidance_interval=(0, math.inf),
        num_inference_steps=1,
        batch_size=4,
        size=32,
    )
    assert next(batches).shape == (4, 32, 32, 3)
    assert taken == [0, 1, 2, 3]


def test_a_prompt_without_a_seed_is_refused(pipe):
    with pytest.raises(ValueError, match="shorter"):
        sample(pipe, PROMPTS, SEEDS[:2], num_inference_steps=1, size=32)


@pytest.mark.parametrize("which", ["pipe", "xl"])
def test_an_adapter_of_denoiser_and_text_encoders_is_merged_or_left_out_whole(which, request):
    adapted = copy.deepcopy(request.getfixturevalue(which))
    settings = {"size": 32, "num_inference_steps": 2}
    plain = sample(adapted, PROMPTS, SEEDS, **settings).astype(int)
    torch.manual_seed(0)
    for part, names in ((adapted.unet, ["to_q", "to_v"]), *((e, ["v_proj"]) for e in pipelines.encoders(adapted))):
        part.add_adapter(LoraConfig(r=2, target_modules=names, init_lora_weights=False))
    before = sample(adapted, PROMPTS, SEEDS, **settings).astype(int)
    assert np.abs(before - plain).mean() > 1
    for adapter, expected in ((True, before), (False, plain)):
        alone = lora.merge(adapted, adapter)
        assert np.abs(sample(alone, PROMPTS, SEEDS, **settings) - expected).max() <= 1
        assert not any(
            "lora" in name
            for part in alone.components.values()
            if hasattr(part, "named_modules")
            for name, _ in part.named_modules()
        )
    assert np.array_equal(sample(adapted, PROMPTS, SEEDS, **settings), before)


def test_the_same_seed_gives_the_same_image(pipe):
    first, second = (sample(pipe, PROMPTS[:1], [7], num_inference_steps=3) for _ in range(2))
    assert np.array_equal(first, second)


def test_global_random_state_neither_changes_an_image_nor_is_changed(pipe):
    torch.manual_seed(0)
    first = sample(pipe, PROMPTS[:1], [7], num_inference_steps=2)
    untouched = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), untouched)
    assert np.array_equal(first, sample(pipe, PROMPTS[:1], [7], num_inference_steps=2))


@pytest.mark.parametrize("size", [64, 96])
def test_images_have_the_size_asked_for(pipe, size):
    images = sample(pipe, PROMPTS[:2], [0, 1], num_inference_steps=2, size=size)
    assert images.shape == (2, size, size, 3)
    assert images.dtype == np.uint8


@pytest.mark.parametrize("missing", ["guidance_scale", "guidance_interval"])
def test_guidance_is_always_stated_since_its_best_value_depends_on_the_model(pipe, missing):
    guidance = {"guidance_scale": 2.0, "guidance_interval": (0, math.inf)}
    with pytest.raises(TypeError, match=missing):
        sampling.sample(pipe, PROMPTS, SEEDS, **{name: guidance[name] for name in guidance if name != missing})
