"""Claims about the tiny base's decoder: fitted, it joins patches and adds what they miss, and latents stay."""

import copy
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from kills import killed_or_finished, kills_itself_after
from tiny_run import make_run, tiny_parameters

from p2d_lib.finetune import base, decoder
from p2d_lib.finetune.decoder import DecoderRecipe, fit_decoder
from p2d_lib.finetune.stages import Stages
from p2d_lib.models import encoding, pipelines, sampling
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.tiny_base import PatchAutoencoder
from p2d_lib.run import Run

RECIPE = DecoderRecipe(steps=60, seed=0, batch_size=8, learning_rate=2e-3)


@pytest.fixture(scope="module")
def stripes():
    """Fine stripes in all directions, which three components of a patch cannot hold: uint8 (24, 32, 32, 3)."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:32, :32]
    angles, phases = rng.uniform(0, np.pi, 24), rng.uniform(0, 6, 24)
    waves = [np.cos((x * np.cos(a) + y * np.sin(a)) * 1.1 + p) for a, p in zip(angles, phases, strict=True)]
    return np.stack([np.repeat(120 + 60 * w[..., None], 3, -1) for w in waves]).astype(np.uint8)


@pytest.fixture(scope="module")
def linear(stripes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what the decoder starts from
        return PatchAutoencoder(latent_channels=3, width=16, blocks=(1, 1, 1)).fit(stripes)


@pytest.fixture(scope="module")
def latents(linear, stripes):
    pipe = pipelines.load("random")
    pipe.vae = linear
    return encoding.encode_moments(pipe, stripes)[0]


@pytest.fixture(scope="module")
def fitted(linear, latents, stripes):
    vae = copy.deepcopy(linear)
    return vae, fit_decoder(vae, stripes[:16], latents[:16], RECIPE)


def decoded(vae, latents) -> np.ndarray:
    with torch.no_grad():
        return vae.decode(latents).sample.add(1).mul(127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()


def border_ratio(images: np.ndarray) -> float:
    """Mean squared difference of neighbours across the borders of 4 px patches, over that within patches."""
    ratios = []
    for axis in (1, 2):
        change = (np.diff(images.astype(float), axis=axis) ** 2).swapaxes(0, axis)
        across = np.arange(len(change)) % 4 == 3
        ratios.append(change[across].mean() / change[~across].mean())
    return float(np.mean(ratios))


def test_before_it_is_fitted_the_decoder_adds_nothing(linear, latents):
    plain = copy.deepcopy(linear)
    plain.details = None
    np.testing.assert_array_equal(decoded(linear, latents), decoded(plain, latents))


def test_a_fitted_decoder_reconstructs_other_images_better_than_the_linear_one(linear, fitted, latents, stripes):
    errors = [np.abs(decoded(vae, latents[16:]) - stripes[16:]).mean() for vae in (linear, fitted[0])]
    assert errors[1] < 0.8 * errors[0]  # 0.77; 0.82 without the error of pairs in the loss


def test_a_fitted_decoder_leaves_less_energy_at_the_borders_of_patches(linear, fitted, latents, stripes):
    real, blocky, joined = (border_ratio(x) for x in (stripes, decoded(linear, latents), decoded(fitted[0], latents)))
    assert real == pytest.approx(1, abs=0.1)
    assert blocky > 1.5
    assert abs(joined - real) < 0.5 * abs(blocky - real)


def test_fitting_the_decoder_leaves_encoder_and_linear_part_as_they_were(linear, fitted):
    for part in ("encoder", "decoder"):
        before, after = (getattr(vae, part).state_dict() for vae in (linear, fitted[0]))
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_mean_of_a_sampled_patch_stays(linear, latents, stripes):
    """Latents that belong to no image keep their colours, though no image says which."""
    vae, foreign = copy.deepcopy(linear), latents.flip(1) * 0.5
    fit_decoder(vae, stripes[:16], foreign, replace(RECIPE, steps=20))
    means = [
        np.add.reduceat(np.add.reduceat(decoded(which, foreign), range(0, 32, 4), 1), range(0, 32, 4), 2) / 16
        for which in (linear, vae)
    ]
    assert np.abs(means[0] - means[1]).mean() < 0.5  # grey levels: 0.2; 1.0 without its term in the loss


def test_a_killed_fit_continues_to_the_same_bits(linear, latents, stripes, tmp_path):
    recipe = replace(RECIPE, steps=6, batch_size=4)

    def fit(folder, dies_at=99) -> int:
        def work():
            decoder._Fit.step = kills_itself_after(dies_at, decoder._Fit.step)
            vae = copy.deepcopy(linear)
            log = fit_decoder(vae, stripes, latents, recipe, Checkpoints(folder, every_minutes=0))
            torch.save([log["loss"].tolist(), vae.state_dict()], folder / "end.pt")

        folder.mkdir(exist_ok=True)
        return killed_or_finished(work)

    assert fit(tmp_path / "through") == 0
    assert fit(tmp_path / "killed", dies_at=3) == signal.SIGKILL
    assert fit(tmp_path / "killed") == 0
    (losses, through), (losses_again, continued) = (torch.load(tmp_path / k / "end.pt") for k in ("through", "killed"))
    assert losses_again == losses
    assert all(torch.equal(through[name], continued[name]) for name in through)


@pytest.fixture
def of_run(tmp_path, monkeypatch):
    """The stages of a run of 21 images, in which decoders are fitted on 8 sampled latents."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    monkeypatch.setattr(base, "SAMPLED", 8)
    make_run("r")
    p = tiny_parameters(run="r", decoder_steps=2, base_steps=0)
    return Stages(Run("r", "03_finetune", p.model_dump()), p, torch.device("cpu"))


def test_03_fits_the_decoder_of_a_base_on_what_its_denoiser_samples(of_run):
    pipe = of_run.base()
    assert len(of_run.logs["decoder"]) == 2
    assert of_run.parameters["decoder"] == sum(p.numel() for p in pipe.vae.details.parameters())
    latents = base.sampled_latents(
        pipe, of_run.train.prompts, of_run.p.seed, of_run.run.scratch("latents"), size=32, **of_run.guidance()
    )
    assert latents.shape == (8, 8, 8, 8)
    assert latents.std(dim=0).min() > 0  # no two are one
    assert pipe.vae.details[-1].weight.abs().max() > 0  # zero before it was fitted


def test_latents_are_sampled_once(of_run, monkeypatch):
    pipe, cache = of_run.base(), of_run.run.scratch("latents")
    monkeypatch.setattr(sampling, "sample_latents", lambda *_, **__: pytest.fail("they are in the cache"))
    base.sampled_latents(pipe, of_run.train.prompts, of_run.p.seed, cache, size=32, **of_run.guidance())


def test_only_a_tiny_base_has_a_decoder_to_fit(of_run, monkeypatch):
    without = pipelines.tiny_pipeline(0)
    without.vae = PatchAutoencoder(width=0)
    monkeypatch.setattr(pipelines, "load", lambda *_, **__: without)
    with pytest.raises(pipelines.BaseError, match=r"decoder_steps is 2.*set 03_finetune.decoder_steps to 0"):
        of_run.base()
