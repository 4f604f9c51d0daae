"""Guidance that would do nothing is refused; noise levels are those of the solvers themselves."""

import importlib
import json

import pytest

from p2d_lib.parameters import profile


@pytest.fixture
def check():
    return importlib.import_module("guidance_check")


def with_steps(n: int, **finetune) -> dict[str, dict]:
    values = profile("smoke")
    values["04_sample"] |= {"num_inference_steps": n, "guidance_interval": [1.4, 3.0]}
    values["03_finetune"] |= finetune
    return values


@pytest.mark.parametrize(
    "schedule", ['{"beta_start": "small"}', '{"num_train_timesteps": 0}', "[]", "{", "[" * 100_000]
)
def test_a_schedule_that_is_none_is_left_to_the_check_of_weights(check, tmp_path, schedule):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(schedule)
    assert check.problems(with_steps(3, base=str(tmp_path))) == []


@pytest.mark.parametrize("n", [1, 3])
def test_steps_that_all_miss_the_interval_of_guidance_are_named(check, n):
    (problem,) = check.problems(with_steps(n))
    assert problem.startswith(
        f"04_sample.num_inference_steps: {n}: no step has a noise level in guidance_interval [1.4, 3.0]"
    )


@pytest.mark.parametrize("n", [2, 4, 8, 15])
def test_steps_of_which_one_is_guided_pass(check, n):
    assert check.problems(with_steps(n)) == []


def test_without_guidance_no_step_is_missed_and_of_a_base_on_the_hub_nothing_is_said(check):
    values = with_steps(3)
    values["04_sample"]["guidance_scale"] = 1.0
    assert check.problems(values) == []
    assert check.problems(with_steps(3, base="org/base")) == []


@pytest.mark.parametrize(
    ("spacing", "solver"),
    [("trailing", "dpm++2m"), ("trailing", "ddim"), ("trailing", "euler"), ("linspace", "dpm++2m")],
)
def test_noise_levels_are_those_of_the_solvers(check, spacing, solver):
    from p2d_lib.models.sampling import SOLVERS

    schedule = json.loads((check.TINY / "scheduler" / "scheduler_config.json").read_text())
    schedule |= {"timestep_spacing": spacing, "rescale_betas_zero_snr": spacing == "trailing"}
    scheduler = SOLVERS[solver].from_config(schedule)
    for n in (3, 8, 15):
        scheduler.set_timesteps(n)
        signals = [scheduler.alphas_cumprod[t.long()].item() for t in scheduler.timesteps]
        levels = [((1 - signal) / signal) ** 0.5 for signal in signals if signal > 1e-6]
        assert check.noise_levels(schedule, n)[-len(levels) :] == pytest.approx(levels, rel=1e-2), n
