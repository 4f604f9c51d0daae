"""Claims about fitting: it learns, words matter, it resumes to the same bits, adapters travel."""

import json
import math
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib.device import generator
from p2d_lib.files import sha256
from p2d_lib.finetune import base, denoiser, latents, loop
from p2d_lib.finetune.adapter import fit_adapter, save_adapter
from p2d_lib.finetune.batches import Draws
from p2d_lib.finetune.loss import denoising_loss
from p2d_lib.models import pipelines, sampling

sys.path.insert(0, str(Path(__file__).parent))
import worker

WORDS = ["red lesion", "black lesion"]
GUIDED = {"guidance_scale": 2.0, "guidance_interval": (1.4, 3.0)}


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
    pipe = pipelines.load("random")
    pipe.vae.fit(pixels)
    encoded = latents.encode(pipe, pixels, prompts, tmp_path_factory.mktemp("latents"))
    log = base.fit_base(pipe, encoded, prompts, loop.Recipe(steps=140, batch_size=16, learning_rate=2e-3, seed=0))
    return pipe, encoded, log


def test_the_loss_falls(fitted):
    loss = fitted[2].loss
    assert loss.tail(10).mean() < 0.6 * loss.head(10).mean()


def test_images_take_the_colour_their_prompt_names(fitted):
    drawn = sampling.sample(fitted[0], WORDS * 4, range(8), num_inference_steps=10, size=32, **GUIDED)
    centre = drawn[:, 12:20, 12:20].mean((1, 2))  # RGB
    redness = centre[:, 0] - centre[:, 1:].mean(1)
    assert (redness[::2] > 80).all()
    assert (redness[1::2] < 60).all()


def test_a_run_that_was_killed_at_any_step_and_resumed_ends_with_the_same_bits(fitted, tmp_path):
    encoded = fitted[1]
    recipe = loop.Recipe(steps=6, batch_size=4, learning_rate=1e-3, seed=1, checkpoint_every=2)

    def adapter(folder: Path, dies_at: int | None = None):
        """In a process of its own, with one thread: fits, leaves the adapter in folder."""

        def counted(*given):
            calls.append(1)
            if len(calls) - 1 == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return honest(*given)

        calls, honest = [], denoising_loss
        if (child := os.fork()) == 0:
            try:
                torch.set_num_threads(1)
                denoiser.denoising_loss = counted
                pipe = pipelines.load("random", seed=2)
                log = fit_adapter(pipe, encoded, recipe, rank=2, checkpoints=folder, dropout=0.1)
                save_adapter(pipe, folder, log, {"steps": len(calls)})
            finally:
                os._exit(0)
        return os.waitpid(child, 0)[1]

    adapter(tmp_path / "through")
    expected = (tmp_path / "through" / "pytorch_lora_weights.safetensors").read_bytes()
    for dies_at in (0, 3, 5):
        folder = tmp_path / str(dies_at)
        assert adapter(folder, dies_at) == signal.SIGKILL
        assert not (folder / "parameters.json").exists()
        adapter(folder)
        again = json.loads((folder / "parameters.json").read_text())["steps"]
        assert again == 6 - dies_at // 2 * 2  # only what the last checkpoint lacks
        assert (folder / "pytorch_lora_weights.safetensors").read_bytes() == expected


def test_two_processes_of_four_images_learn_what_one_of_eight_does(tmp_path):
    _, alone = worker.fit(tmp_path / "alone")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "P2D_DEVICE": "cpu"}
    subprocess.run([*torchrun, worker.__file__, str(tmp_path)], check=True, env={**os.environ, **own}, timeout=120)
    for rank in range(2):
        shared = pd.read_parquet(tmp_path / f"log_{rank}_of_2.parquet")
        assert np.allclose(shared.loss, alone.loss, atol=1e-4, rtol=0)
        assert np.allclose(shared.gradient, alone.gradient, atol=1e-4, rtol=0)
    kept = [{file.name for file in (folder / "latents").iterdir()} for folder in (tmp_path, tmp_path / "alone")]
    assert kept[0] == kept[1]  # every process knows the same content by the same name


def test_a_checkpoint_of_another_recipe_is_not_taken_up(fitted, tmp_path):
    encoded = fitted[1]
    for seed in (1, 2):
        recipe = loop.Recipe(steps=2, batch_size=4, learning_rate=1e-3, seed=seed)
        pipe = pipelines.load("random", seed=2)
        log = fit_adapter(pipe, encoded, recipe, rank=2, checkpoints=tmp_path)
        alone = fit_adapter(pipelines.load("random", seed=2), encoded, recipe, rank=2)
        assert log.loss.tolist() == alone.loss.tolist()


def test_an_adapter_travels_in_the_diffusers_layout_and_vanishes_at_scale_zero(fitted, tmp_path):
    pipe, encoded = fitted[:2]
    pipelines.save(pipe, tmp_path / "base")
    pipe = pipelines.load(tmp_path / "base")
    ask = {"prompts": WORDS, "seeds": [0, 1], "num_inference_steps": 4, "size": 32, **GUIDED}
    plain = sampling.sample(pipe, **ask)
    swapped = latents.Encoded(encoded.latents, encoded.embeddings, 1 - encoded.index)  # red is black now
    recipe = loop.Recipe(steps=30, batch_size=8, learning_rate=2e-2, seed=0)
    log = fit_adapter(pipe, swapped, recipe, rank=4)
    adapted = sampling.sample(pipe, **ask)
    for folder in ("adapter", "again"):
        save_adapter(pipe, tmp_path / folder, log, {"rank": 4}, trigger="a lesion", data="1f")
    assert sha256(tmp_path / "adapter") == sha256(tmp_path / "again")

    loaded = pipelines.load(tmp_path / "base")
    loaded.load_lora_weights(tmp_path / "adapter")
    assert np.abs(sampling.sample(loaded, **ask).astype(int) - adapted).max() <= 1
    assert np.abs(adapted.astype(int) - plain).mean() > 2
    loaded.set_adapters(loaded.get_active_adapters(), 0.0)
    assert np.array_equal(sampling.sample(loaded, **ask), plain)


def test_the_adapter_is_all_that_its_fit_changes(fitted, tmp_path):
    pipe, encoded = pipelines.load("random", seed=2), fitted[1]
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    fit_adapter(pipe, encoded, loop.Recipe(steps=2, batch_size=4, learning_rate=1e-2, seed=0), rank=2)
    after = {name.replace(".base_layer", ""): value for name, value in pipe.unet.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_of_a_denoiser_that_knows_the_answer_is_zero(prediction):
    pipe = pipelines.load("random")
    pipe.scheduler.register_to_config(prediction_type=prediction)
    batch = _batch(pipe, torch.randn(4, 8, 8, 8, generator=generator(0)), torch.tensor([1, 300, 600, 900]))

    def oracle(noisy, steps, _):
        alpha = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
        noise = (noisy - alpha.sqrt() * batch["latents"]) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * batch["latents"]
        return SimpleNamespace(sample=velocity if prediction == "v_prediction" else noise)

    assert denoising_loss(pipe, batch, 5.0, oracle).tolist() == pytest.approx([0] * 4, abs=1e-6)


def test_a_velocity_wrong_at_pure_noise_costs_as_much_as_at_any_noisy_time():
    pipe = pipelines.load("random")

    def wrong(noisy, steps, _):
        alpha = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
        return SimpleNamespace(sample=alpha.sqrt() / (1 - alpha).sqrt() * noisy + 1)  # of an image that is all zero

    lost = denoising_loss(pipe, _batch(pipe, torch.zeros(100, 8, 8, 8), torch.arange(900, 1000)), 5.0, wrong)
    assert lost[-1].item() == pytest.approx(lost.mean().item(), rel=0.02)


def _batch(pipe, clean, times):
    noise = torch.randn(clean.shape, generator=generator(1))
    alpha = pipe.scheduler.alphas_cumprod[times]
    return {"latents": clean, "noise": noise, "times": times, "alpha": alpha, "embeddings": torch.zeros(len(clean), 1)}


def test_what_is_drawn_does_not_depend_on_how_a_batch_is_divided(fitted):
    draws = Draws(fitted[0], fitted[1], seed=0, name="adapter", dropout=0.5)
    whole = draws.at(3, range(8), 8)
    parts = [draws.at(3, places, 8) for places in (range(0, 2), range(2, 8))]
    assert all(torch.equal(value, torch.cat([part[kind] for part in parts])) for kind, value in whole.items())
    assert not torch.equal(whole["noise"], draws.at(4, range(8), 8)["noise"])


@pytest.mark.parametrize("means", [{"accumulate": 4}, {"gradient_checkpointing": True}])
def test_saving_memory_changes_no_loss(fitted, means):
    logs = []
    for settings in ({}, means):
        recipe = loop.Recipe(steps=3, batch_size=8, learning_rate=1e-2, seed=0, **settings)
        logs.append(fit_adapter(pipelines.load("random", seed=2), fitted[1], recipe, rank=2))
    assert np.allclose(logs[0].loss, logs[1].loss, atol=1e-5)


def test_a_compiled_denoiser_learns_the_same(fitted):
    logs = []
    for compiled in (False, True):
        recipe = loop.Recipe(steps=2, batch_size=4, learning_rate=1e-2, seed=0, compile=compiled)
        with torch.compiler.set_stance("force_eager"):  # what stands for it is another object, and that may matter
            logs.append(fit_adapter(pipelines.load("random", seed=2), fitted[1], recipe, rank=2))
    assert logs[0].loss.tolist() == logs[1].loss.tolist()


def test_the_loss_on_what_the_base_drew_is_added_with_its_weight(fitted):
    first = {}
    for weight, prior in ((None, None), (0.0, fitted[1]), (1.0, fitted[1]), (3.0, fitted[1])):
        recipe = loop.Recipe(steps=1, batch_size=4, learning_rate=1e-2, seed=0)
        kept = {} if prior is None else {"prior": prior, "prior_weight": weight}
        log = fit_adapter(pipelines.load("random", seed=2), fitted[1], recipe, rank=2, **kept)
        first[weight] = log.loss[0]
    assert first[0.0] == first[None]
    assert first[1.0] > first[None] + 0.1
    assert first[3.0] - first[None] == pytest.approx(3 * (first[1.0] - first[None]), rel=1e-5)


def test_the_loss_on_val_falls_and_what_is_looked_at_changes_nothing(fitted, tmp_path):
    held, shown = fitted[1], []
    recipe = loop.Recipe(steps=24, batch_size=8, learning_rate=1e-2, seed=0)
    watch = loop.Watch(every=12, held=held, show=shown.append, trackers=["tensorboard"], folder=tmp_path)
    pipe, plain = pipelines.load("random", seed=2), pipelines.load("random", seed=2)
    log = fit_adapter(pipe, held, recipe, rank=4, watch=watch)
    assert shown == [12, 24]
    assert log.val_loss.dropna().index.tolist() == [11, 23]
    assert log.val_loss[23] < 0.95 * log.val_loss[11]
    fit_adapter(plain, held, recipe, rank=4)
    assert all(torch.equal(a, b) for a, b in zip(pipe.unet.parameters(), plain.unet.parameters(), strict=True))


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_a_tracker_is_told_every_step_without_an_account(tracker, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = loop.Recipe(steps=5, batch_size=2, learning_rate=1e-2, seed=0)
    weight, watch = _weight(), loop.Watch(trackers=[tracker], folder=tmp_path)
    log = loop.fit([weight], partial(_valley, weight), recipe, "valley", watch=watch)
    if tracker == "wandb":
        assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "valley")).Reload()
        assert [event.step for event in events.Scalars("loss")] == list(range(5))
        assert [event.value for event in events.Scalars("loss")] == pytest.approx(log.loss.tolist())
        assert log.loss.is_monotonic_decreasing


def _weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(3))


def _valley(weight: torch.nn.Parameter, step: int, places: range) -> torch.Tensor:
    return len(places) * weight.square().sum()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_with_a_sentence_and_is_never_written(what, tmp_path):
    weight = _weight()

    def loss(step, places):
        value = len(places) * weight.square().sum()
        if step < 6:
            return value
        if what == "gradient":  # the loss stays finite, its slope does not
            return value + ((weight - weight.detach()).abs() + 0.0).sqrt().sum()
        return value * math.nan

    recipe = loop.Recipe(steps=20, batch_size=2, learning_rate=1e-2, seed=0, checkpoint_every=4)
    with pytest.raises(
        loop.Diverged, match=f"valley: the {what} is nan at step 6: .*last good checkpoint is .*valley.pt"
    ):
        loop.fit([weight], loss, recipe, "valley", tmp_path)
    kept = torch.load(tmp_path / "valley.pt")
    assert len(kept["log"]) == 4
    assert all(torch.isfinite(value).all() for value in [*kept["parameters"], *kept["average"]])


def test_a_loss_that_grows_without_end_stops_with_a_sentence():
    weight = _weight()

    def loss(step, places):
        return len(places) * (weight.square().sum() * 0 + 1.05 ** max(0, step - 50))

    recipe = loop.Recipe(steps=1000, batch_size=2, learning_rate=1e-2, seed=0)
    with pytest.raises(loop.Diverged, match="times its median before: lower the learning rate"):
        loop.fit([weight], loss, recipe, "valley")


def test_the_device_is_waited_for_once_in_many_steps(monkeypatch):
    looks, honest, weight = [], loop._rows, _weight()
    monkeypatch.setattr(loop, "_rows", lambda *given: looks.append(len(given[0])) or honest(*given))
    recipe = loop.Recipe(steps=50, batch_size=2, learning_rate=1e-2, seed=0)
    log = loop.fit([weight], partial(_valley, weight), recipe, "valley")
    assert looks == [20, 20, 10]
    assert log.loss.is_monotonic_decreasing


def test_a_batch_that_cannot_be_divided_is_refused():
    recipe = loop.Recipe(steps=1, batch_size=6, learning_rate=1e-2, seed=0, accumulate=4)
    with pytest.raises(ValueError, match="batch_size 6 cannot be divided among 1 processes x 4 parts"):
        loop.fit([weight := _weight()], partial(_valley, weight), recipe, "valley")


def test_schedules_rise_in_a_line_and_then_fall_or_stay():
    cosine, constant = (
        loop.Recipe(steps=100, batch_size=1, learning_rate=1.0, seed=0, schedule=kind)
        for kind in ("cosine", "constant")
    )
    assert [constant.rate(step) for step in (0, 4, 50, 99)] == pytest.approx([0.2, 1, 1, 1])
    assert cosine.rate(50) == pytest.approx(0.5)
    assert cosine.rate(99) < 0.001
