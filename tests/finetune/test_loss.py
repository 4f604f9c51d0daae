"""Claims about the denoising loss: it is zero for who knows the answer, and weighted as its source says."""

from types import SimpleNamespace

import pytest
import torch

from p2d_lib.device import generator
from p2d_lib.finetune.loss import check_schedule, denoising_loss, snr_weight
from p2d_lib.models import pipelines
from p2d_lib.models.pixel_unets import SCHEDULES

TIMES = torch.tensor([1, 300, 600, 900])


@pytest.fixture(scope="module")
def pipe():
    return pipelines.load("random")


def _batch(pipe, clean, times):
    noise = torch.randn(clean.shape, generator=generator(1))
    alpha = pipe.scheduler.alphas_cumprod[times]
    return {"latents": clean, "noise": noise, "times": times, "alpha": alpha, "embeddings": torch.zeros(len(clean), 1)}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_of_a_denoiser_that_knows_the_answer_is_zero(prediction):
    pipe = pipelines.load("random")
    pipe.scheduler.register_to_config(prediction_type=prediction)
    batch = _batch(pipe, torch.randn(4, 8, 8, 8, generator=generator(0)), TIMES)

    def oracle(noisy, steps, _):
        alpha = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
        noise = (noisy - alpha.sqrt() * batch["latents"]) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * batch["latents"]
        return SimpleNamespace(sample=velocity if prediction == "v_prediction" else noise)

    assert denoising_loss(pipe, batch, 5.0, oracle).tolist() == pytest.approx([0] * 4, abs=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_noise_prediction_is_weighted_by_min_snr_and_v_prediction_by_truncated_snr_plus_one(gamma):
    snr = torch.tensor([0.01, 0.1, 1.0, 4.0, 10.0, 1000.0])
    alpha = snr / (1 + snr)
    noise, velocity = snr_weight(alpha, gamma, velocity=False), snr_weight(alpha, gamma, velocity=True)
    assert noise.tolist() == pytest.approx([min(s, gamma) / s for s in snr.tolist()], rel=1e-3)
    assert velocity.tolist() == pytest.approx([min(s + 1, gamma) / (s + 1) for s in snr.tolist()], rel=1e-3)
    from_gamma_on = snr >= gamma  # there it is what Hang et al. have for v-prediction, min(SNR, gamma) / (SNR + 1)
    assert torch.allclose(velocity[from_gamma_on], (gamma / (snr + 1))[from_gamma_on], rtol=1e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_an_error_of_one_everywhere_costs_its_weight(prediction):
    pipe = pipelines.load("random")
    pipe.scheduler.register_to_config(prediction_type=prediction)
    batch = _batch(pipe, torch.zeros(4, 8, 8, 8), TIMES)
    alpha = batch["alpha"]
    target = batch["noise"] * (alpha.sqrt()[:, None, None, None] if prediction == "v_prediction" else 1)

    costs = denoising_loss(pipe, batch, 5.0, lambda *_: SimpleNamespace(sample=target + 1))
    snr = alpha / (1 - alpha) + (prediction == "v_prediction")
    assert costs.tolist() == pytest.approx((snr.clamp(max=5) / snr).tolist(), rel=1e-3)
    assert costs[0] < 0.1 < 0.99 < costs[-1]


def test_a_velocity_wrong_at_pure_noise_costs_as_much_as_at_any_noisy_time(pipe):
    def wrong(noisy, steps, _):
        alpha = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
        return SimpleNamespace(sample=alpha.sqrt() / (1 - alpha).sqrt() * noisy + 1)  # of an image that is all zero

    costs = denoising_loss(pipe, _batch(pipe, torch.zeros(100, 8, 8, 8), torch.arange(900, 1000)), 5.0, wrong)
    assert costs[-1].item() == pytest.approx(costs.mean().item(), rel=0.02)


def test_noise_prediction_on_a_schedule_that_ends_in_pure_noise_is_refused():
    pipe = pipelines.load("random")
    assert pipe.scheduler.alphas_cumprod[-1] == 0
    check_schedule(pipe.scheduler)  # v-prediction is defined there
    pipe.scheduler.register_to_config(prediction_type="epsilon")
    with pytest.raises(ValueError, match="signal-to-noise ratio is 0 at step 999: there the loss is 0 / 0"):
        check_schedule(pipe.scheduler)
    for schedule in SCHEDULES.values():
        check_schedule(schedule)
