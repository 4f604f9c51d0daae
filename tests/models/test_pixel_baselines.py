"""Claims about pixel baselines: an image depends on its seed and prompt alone, a saved baseline samples the same."""

import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from transformers import BertConfig, BertModel, BertTokenizerFast, CLIPConfig, CLIPModel

from p2d_lib.models import pipelines, pixel_baselines, pixel_unets, sampling
from p2d_lib.words.render import PromptError

PROMPTS = ["dermoscopic image of melanoma, blue-white veil", "dermoscopic image of nevus", "vascular lesion, dark skin"]
SEEDS = [3, 2**62, 5]
QUICK = {"num_inference_steps": 3, "guidance_scale": 3.0}


@pytest.fixture(scope="module", params=pixel_baselines.SCRATCH)
def baseline(request):
    return pixel_baselines.build(request.param, side=32, imagenet=False)


def _levels(a, b):
    return np.abs(a.astype(int) - b)


def test_images_are_uint8_squares_of_the_size_asked_for(baseline):
    for size, side in ((None, 32), (32, 32), (72, 72)):
        images = baseline.sample(PROMPTS, SEEDS, size=size, **QUICK)
        assert (images.shape, images.dtype) == ((3, side, side, 3), np.uint8)


def test_an_image_depends_on_its_own_seed_and_words_not_on_its_neighbours(baseline):
    together = baseline.sample(PROMPTS, SEEDS, **QUICK)
    alone = np.concatenate([baseline.sample([p], [s], **QUICK) for p, s in zip(PROMPTS, SEEDS, strict=True)])
    backwards = baseline.sample(PROMPTS[::-1], SEEDS[::-1], batch_size=2, **QUICK)[::-1]
    for other in (alone, backwards):
        assert _levels(together, other).max() <= 1  # a value on the edge may round to either side
        assert _levels(together, other).mean() < 1e-2
    assert _levels(*baseline.sample(PROMPTS[:1] * 2, [1, 2], **QUICK)).mean() > 1


def test_words_change_the_image(baseline):
    assert _levels(*baseline.sample(PROMPTS[:2], [7, 7], **QUICK)).mean() > 0.05


@pytest.mark.parametrize("solver", sampling.SOLVERS)
@pytest.mark.parametrize("prediction", pixel_unets.SCHEDULES)
def test_every_solver_finds_the_image_of_a_network_that_knows_it(solver, prediction):
    baseline = pixel_baselines.build("scratch-unet", side=32)
    known = torch.rand(2, 3, 32, 32) * 1.8 - 0.9

    class Oracle:
        schedule, dtype = pixel_unets.SCHEDULES[prediction], torch.float32

        def __call__(self, noisy, step, words, added_cond_kwargs):
            alpha = self.schedule.alphas_cumprod[step.long()]
            image = known.repeat(len(noisy) // 2, 1, 1, 1)
            noise = (noisy - alpha.sqrt() * image) / (1 - alpha).sqrt()
            velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * image
            return UNet2DConditionOutput(sample=noise if prediction == "epsilon" else velocity)

    baseline.networks = {"base": Oracle()}
    images = baseline.sample(PROMPTS[:2], [0, 1], solver=solver, num_inference_steps=8, guidance_scale=2.0)
    assert np.abs(images / 127.5 - 1 - known.permute(0, 2, 3, 1).numpy()).max() < 0.02


@pytest.mark.parametrize("solver", sampling.SOLVERS)
@pytest.mark.parametrize("prediction", pixel_unets.SCHEDULES)
def test_pixels_stay_in_range_with_every_solver_however_wrong_the_network_is(solver, prediction, monkeypatch):
    baseline = pixel_baselines.build("scratch-unet", side=32)
    results = []

    class Glaring:
        """Predicts a clean image three times brighter than white."""

        schedule, dtype = pixel_unets.SCHEDULES[prediction], torch.float32

        def __call__(self, noisy, step, words, added_cond_kwargs):
            signal = self.schedule.alphas_cumprod[step.long()]
            a, s = signal.sqrt(), (1 - signal).sqrt()
            noise = (noisy - a * 3) / s
            return UNet2DConditionOutput(sample=noise if prediction == "epsilon" else a * noise - s * 3)

    def watched(*arguments, **options):
        steps = list(sampling.denoising_steps(*arguments, **options))
        results.append(steps[-1].latents)
        return steps

    monkeypatch.setattr(pixel_baselines, "denoising_steps", watched)
    baseline.networks = {"base": Glaring()}
    assert (baseline.sample(PROMPTS[:2], [0, 1], solver=solver, num_inference_steps=8, guidance_scale=1.0) == 255).all()
    (pixels,) = results  # before they are cut to 0..255
    assert pixels.max() < 1.05
    assert pixels.min() > 0.9


def test_guidance_acts_in_its_interval_only():
    baseline = pixel_baselines.build("scratch-unet", side=32)
    sizes = []
    baseline.networks["base"].register_forward_hook(lambda _, inputs, output: sizes.append(len(output.sample)))
    baseline.sample(PROMPTS[:1], [0], num_inference_steps=4, guidance_scale=2.0, guidance_interval=(1.0, 20.0))
    assert sizes == [1, 2, 2, 1]  # at sigmas 158, 17, 3.4 and 0.96


def test_a_saved_baseline_samples_the_same_images_when_it_is_loaded(baseline, tmp_path):
    baseline.save(tmp_path)
    loaded = pixel_baselines.load(tmp_path)
    assert (loaded.name, loaded.side) == (baseline.name, 32)
    assert np.array_equal(*(which.sample(PROMPTS, SEEDS, **QUICK) for which in (baseline, loaded)))


def test_a_baseline_whose_text_encoder_has_changed_is_refused(tmp_path):
    pixel_baselines.build("scratch-unet", side=32).save(tmp_path)
    record = (tmp_path / pixel_baselines.RECORD).read_text()
    digest = pixel_baselines.TextEncoder("tiny").sha256()
    (tmp_path / pixel_baselines.RECORD).write_text(record.replace(digest, "0" * 64))
    with pytest.raises(pipelines.BaseError, match=r"other weights of the text encoder 'tiny'"):
        pixel_baselines.load(tmp_path)


def test_a_folder_without_a_baseline_is_named(tmp_path):
    with pytest.raises(pipelines.BaseError, match=rf"{tmp_path}: no baseline\.json"):
        pixel_baselines.load(tmp_path)


def test_without_imagenet_weights_vgg16_starts_at_random_and_says_so(monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    thin = [8, "M", 8, "M", 8, "M", 8, "M", 8, "M"]  # the full width takes seconds to initialise
    monkeypatch.setattr(torchvision.models.vgg, "vgg16", offline)
    monkeypatch.setitem(torchvision.models.vgg.cfgs, "D", thin)
    with pytest.warns(UserWarning, match=r"VGG16 starts at random.*no network"):
        network = pixel_unets.Vgg16Unet(16, patch=1, share=1)
    assert not network.imagenet


def test_imagenet_weights_of_vgg16_are_the_encoder_where_they_are_present(monkeypatch):
    thin = [8, 8, "M", 16, "M", 16, "M", 16, "M", 16, "M"]
    features = torchvision.models.vgg.make_layers(thin)
    monkeypatch.setattr(
        torchvision.models.vgg, "vgg16", lambda weights: type("Vgg", (), {"features": features}) if weights else None
    )
    network = pixel_unets.Vgg16Unet(16, patch=1, share=1)
    kept = {id(p) for p in network.encoder.parameters()}
    assert network.imagenet
    assert {id(p) for p in features.parameters()} == kept
    assert not any(film.weight.any() or film.bias.any() for film in network.film)  # and is not disturbed at first


def test_a_text_encoder_that_is_nowhere_is_named_with_what_would_do(tmp_path):
    with pytest.raises(pipelines.BaseError, match=r"nowhere.*give tiny, a folder"):
        pixel_baselines.build("scratch-unet", text_encoder=tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", [{"name": "scratch"}, {"variant": "huge"}, {"side": 60}, {"side": 24}])
def test_an_unknown_baseline_is_named_with_the_valid_ones(wrong):
    with pytest.raises(ValueError, match="give one of scratch-unet, scratch-vgg16-unet, cascade; tiny or full"):
        pixel_baselines.build(**{"name": "scratch-unet", **wrong})


@pytest.fixture
def bert(tmp_path):
    """A tiny BERT, as RadBERT and PubMedBERT are laid out."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "black", "lesion", "mark"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=8).save_pretrained(tmp_path)
    config = BertConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    return tmp_path


def test_any_text_encoder_of_transformers_serves_and_padding_is_not_read(bert):
    encoder = pixel_baselines.TextEncoder(bert)
    short, padded = encoder(["red"]), encoder(["red", "black lesion mark red"])
    assert short.shape == (1, 3, 16)
    assert torch.allclose(padded[:1, :3], short, atol=1e-5)
    assert not padded[0, 3:].any()
    baseline = pixel_baselines.build("scratch-unet", side=32, text_encoder=bert)
    alone, beside = (
        baseline.sample(["red", *more], [0, 1][: 1 + len(more)], guidance_scale=2.0)
        for more in ([], ["black lesion mark"])
    )
    assert _levels(alone[0], beside[0]).max() <= 1


def test_a_text_encoder_has_the_same_digest_at_each_load_even_where_parts_were_not_saved(bert):
    assert pixel_baselines.TextEncoder(bert).sha256() == pixel_baselines.TextEncoder(bert).sha256()


def test_of_clip_the_text_encoder_is_taken(tmp_path):
    pipelines.load("random").tokenizer.save_pretrained(tmp_path)
    text = {"vocab_size": 784, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "image_size": 32, "patch_size": 16}
    heads = {"num_attention_heads": 2}
    CLIPModel(CLIPConfig(text_config={**text, **heads}, vision_config={**vision, **heads})).save_pretrained(tmp_path)
    assert pixel_baselines.TextEncoder(tmp_path)(["melanoma", "nevus"]).shape[::2] == (2, 16)


def test_a_prompt_that_would_be_cut_is_named(bert):
    with pytest.raises(PromptError, match=r"takes 8 tokens.*'red black lesion mark red black lesion'"):
        pixel_baselines.TextEncoder(bert)(["red", "red black lesion mark red black lesion"])
