"""Claims about fitting: it learns, words matter, it resumes to the same bits, adapters travel."""

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib.device import generator
from p2d_lib.finetune import latents, train
from p2d_lib.models import diffusion

WORDS = ["red lesion", "black lesion"]


@pytest.fixture(scope="module")
def blots():
    """A red blot on white for the first prompt, a black one for the second: uint8 (16, 32, 32, 3) and their prompts."""
    y, x = np.mgrid[:32, :32]
    blot = ((y - 16) ** 2 + (x - 16) ** 2 < 100)[..., None]
    red, black = (np.where(blot, colour, [230, 225, 220]).astype(np.uint8) for colour in ([220, 30, 30], [10, 10, 10]))
    return np.stack([red, black] * 8), WORDS * 8


@pytest.fixture(scope="module")
def fitted(blots, tmp_path_factory):
    """The tiny pipeline fitted to the blots, what it was fitted on, and the log."""
    pixels, prompts = blots
    pipe = diffusion.load("random")
    pipe.vae.fit(pixels)
    encoded = latents.encode(pipe, pixels, prompts, tmp_path_factory.mktemp("latents"))
    log = train.fit_base(pipe, encoded, prompts, train.Recipe(steps=140, batch_size=16, learning_rate=2e-3, seed=0))
    return pipe, encoded, log


def test_the_loss_falls(fitted):
    loss = fitted[2].loss
    assert loss.tail(10).mean() < 0.6 * loss.head(10).mean()


def test_images_take_the_colour_their_prompt_names(fitted):
    drawn = diffusion.sample(fitted[0], WORDS * 4, range(8), guidance_scale=2, num_inference_steps=10, size=32)
    centre = drawn[:, 12:20, 12:20].mean((1, 2))  # RGB
    redness = centre[:, 0] - centre[:, 1:].mean(1)
    assert (redness[::2] > 80).all()
    assert (redness[1::2] < 60).all()


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(fitted, tmp_path, monkeypatch):
    encoded = fitted[1]
    recipe = train.Recipe(steps=6, batch_size=4, learning_rate=1e-3, seed=1, checkpoint_every=2)

    def adapter(checkpoints=None):
        pipe = diffusion.load("random", seed=2)
        log = train.fit_adapter(pipe, encoded, recipe, rank=2, checkpoints=checkpoints)
        return [p.clone() for p in pipe.unet.parameters() if p.requires_grad], log

    through, log = adapter()
    honest, calls = train.denoising_loss, []

    def pulls_the_plug(*args):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return honest(*args)

    monkeypatch.setattr(train, "denoising_loss", pulls_the_plug)
    with pytest.raises(KeyboardInterrupt):
        adapter(tmp_path)
    resumed, resumed_log = adapter(tmp_path)
    assert len(calls) == 6 + 2  # steps 4 and 5 again, from the checkpoint after step 3
    assert all(torch.equal(a, b) for a, b in zip(through, resumed, strict=True))
    pd.testing.assert_series_equal(log.loss, resumed_log.loss)


def test_a_checkpoint_of_another_recipe_is_not_taken_up(fitted, tmp_path):
    encoded = fitted[1]
    for seed in (1, 2):
        recipe = train.Recipe(steps=2, batch_size=4, learning_rate=1e-3, seed=seed)
        pipe = diffusion.load("random", seed=2)
        log = train.fit_adapter(pipe, encoded, recipe, rank=2, checkpoints=tmp_path)
        alone = train.fit_adapter(diffusion.load("random", seed=2), encoded, recipe, rank=2)
        assert log.loss.tolist() == alone.loss.tolist()


def test_an_adapter_travels_in_the_diffusers_layout_and_vanishes_at_scale_zero(fitted, tmp_path):
    pipe, encoded = fitted[:2]
    diffusion.save(pipe, tmp_path / "base")
    pipe = diffusion.load(tmp_path / "base")
    ask = {"prompts": WORDS, "seeds": [0, 1], "num_inference_steps": 4, "size": 32}
    plain = diffusion.sample(pipe, **ask)
    swapped = latents.Encoded(encoded.latents, encoded.embeddings, 1 - encoded.index)  # red is black now
    recipe = train.Recipe(steps=30, batch_size=8, learning_rate=2e-2, seed=0)
    log = train.fit_adapter(pipe, swapped, recipe, rank=4)
    adapted = diffusion.sample(pipe, **ask)
    train.save_adapter(pipe, tmp_path / "adapter", log, {"rank": 4})

    loaded = diffusion.load(tmp_path / "base")
    loaded.load_lora_weights(tmp_path / "adapter")
    assert np.abs(diffusion.sample(loaded, **ask).astype(int) - adapted).max() <= 1
    assert np.abs(adapted.astype(int) - plain).mean() > 2
    loaded.set_adapters(loaded.get_active_adapters(), 0.0)
    assert np.array_equal(diffusion.sample(loaded, **ask), plain)


def test_the_adapter_is_all_that_its_fit_changes(fitted, tmp_path):
    pipe, encoded = diffusion.load("random", seed=2), fitted[1]
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    train.fit_adapter(pipe, encoded, train.Recipe(steps=2, batch_size=4, learning_rate=1e-2, seed=0), rank=2)
    after = {name.replace(".base_layer", ""): value for name, value in pipe.unet.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_of_a_denoiser_that_knows_the_answer_is_zero(fitted, prediction):
    pipe = diffusion.load("random")
    pipe.scheduler.register_to_config(prediction_type=prediction)
    clean = torch.randn(4, 8, 8, 8, generator=generator(0))

    class Oracle:
        def __call__(self, noisy, steps, _):
            alpha = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
            noise = (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
            velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
            return type("Out", (), {"sample": velocity if prediction == "v_prediction" else noise})

    pipe.unet = None
    pipe.__dict__["unet"] = Oracle()
    source = generator(1)
    assert train.denoising_loss(pipe, clean, None, source, snr_gamma=5.0).item() == pytest.approx(0, abs=1e-6)


def test_a_velocity_wrong_at_pure_noise_costs_as_much_as_at_any_noisy_time():
    pipe = diffusion.load("random")
    lost = []
    for wrong in (torch.tensor([999]), torch.arange(900, 999)):

        class Denoiser:
            def __call__(self, noisy, steps, _, wrong=wrong):
                alpha = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
                # of an image that is all zero the velocity is a * noise = a / s * noisy
                error = torch.isin(steps, wrong).float()[:, None, None, None]
                return type("Out", (), {"sample": alpha.sqrt() / (1 - alpha).sqrt() * noisy + error})

        pipe.__dict__["unet"] = Denoiser()
        lost.append(train.denoising_loss(pipe, torch.zeros(1000, 8, 8, 8), None, generator(1), 5.0).item() / len(wrong))
    assert lost[0] == pytest.approx(lost[1], rel=0.02)
