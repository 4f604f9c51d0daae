"""Claims about fitting: it learns, words matter, it resumes to the same bits, adapters travel."""

import json
import math
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from kills import killed_or_finished, kills_itself_after
from tiny_run import GUIDANCE, WORDS

from p2d_lib.files import sha256
from p2d_lib.finetune import denoiser, latents, loop
from p2d_lib.finetune.adapter import fit_adapter, save_adapter
from p2d_lib.finetune.loss import denoising_loss
from p2d_lib.models import checkpoints, pipelines, sampling
from p2d_lib.models.checkpoints import Checkpoints


def test_the_loss_falls(fitted):
    loss = fitted[2].loss
    assert loss.tail(10).mean() < 0.6 * loss.head(10).mean()


def test_images_take_the_colour_their_prompt_names(fitted):
    images = sampling.sample(fitted[0], WORDS * 4, range(8), **GUIDANCE, num_inference_steps=10, size=32)
    centre = images[:, 12:20, 12:20].mean((1, 2))  # RGB
    redness = centre[:, 0] - centre[:, 1:].mean(1)
    assert (redness[::2] > 80).all()
    assert (redness[1::2] < 60).all()


def test_a_run_that_was_killed_at_any_step_and_resumed_ends_with_the_same_bits(fitted, tmp_path, at_every_step):
    recipe = loop.Recipe(steps=6, batch_size=4, learning_rate=1e-3, seed=1)

    def adapter(folder: Path, dies_at: int = 100) -> int:
        def work():
            steps = []
            denoiser.denoising_loss = kills_itself_after(
                dies_at, lambda *arguments: steps.append(1) or denoising_loss(*arguments)
            )
            pipe = pipelines.load("random", seed=2)
            log = fit_adapter(pipe, fitted[1], recipe, rank=2, checkpoints=at_every_step(folder), dropout=0.1)
            save_adapter(pipe, folder, log, {"steps": len(steps)})

        return killed_or_finished(work)

    assert adapter(tmp_path / "through") == 0
    expected = (tmp_path / "through" / "pytorch_lora_weights.safetensors").read_bytes()
    expected_log = (tmp_path / "through" / "log.parquet").read_bytes()
    for dies_at in (0, 3, 5):
        folder = tmp_path / str(dies_at)
        assert adapter(folder, dies_at) == signal.SIGKILL
        assert not (folder / "parameters.json").exists()
        assert adapter(folder) == 0
        again = json.loads((folder / "parameters.json").read_text())["steps"]
        assert again == 6 - dies_at // 2 * 2  # only what the last checkpoint lacks
        assert (folder / "pytorch_lora_weights.safetensors").read_bytes() == expected
        assert (folder / "log.parquet").read_bytes() == expected_log


def test_the_clock_decides_when_a_checkpoint_is_written_and_the_end_always_is(tmp_path, monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    honest = checkpoints.Checkpoint.save
    monkeypatch.setattr(
        checkpoints.Checkpoint, "save", lambda self, state: written.append(len(state["log"])) or honest(self, state)
    )
    weight = _weight()

    def loss(step, places):
        now[0] += 6.0  # seconds
        return _valley(weight, step, places)

    recipe = loop.Recipe(steps=250, batch_size=2, learning_rate=1e-2, seed=0)
    loop.fit([weight], loss, recipe, "valley", Checkpoints(tmp_path, every_minutes=10.0))
    assert written == [100, 200, 250]


def test_the_averaged_weights_are_what_is_left_and_what_is_evaluated():
    """Against the average computed by hand from the weights that the loss saw."""
    weight, weights_at, evaluated = _weight(), [], []

    def loss(step, places):
        weights_at.append(weight.detach().clone())
        return _valley(weight, step, places)

    recipe = loop.Recipe(steps=30, batch_size=2, learning_rate=0.05, seed=0, schedule="constant", ema=0.9)
    monitoring = loop.Monitoring(every=10)
    note = lambda done: evaluated.append(weight.detach().clone()) or 0.0  # noqa: E731
    loop.fit([weight], loss, recipe, "valley", monitoring=monitoring, evaluate=note)
    last = weight.detach().clone()
    average, averages = weights_at[0].clone(), []
    for step, after in enumerate(weights_at[1:]):  # weights_at[k + 1] is the weight after step k
        decay = min(0.9, (step + 1) / (step + 10))
        average = decay * average + (1 - decay) * after
        averages.append(average.clone())
    assert torch.allclose(evaluated[0], averages[9], atol=1e-6)
    assert torch.allclose(evaluated[1], averages[19], atol=1e-6)
    assert torch.equal(last, evaluated[2])
    assert (averages[9] - weights_at[10]).abs().min() > 0.01, "the last weights would pass as well"


def test_a_fit_in_bfloat16_learns_as_one_in_float32_and_repeats_bit_for_bit(fitted):
    logs, weights = {}, {}
    for name in ("float32", "bfloat16", "bfloat16 again"):
        pipe = pipelines.load("random", seed=2)
        recipe = loop.Recipe(steps=14, batch_size=4, learning_rate=2e-2, seed=0, precision=name.split()[0])
        logs[name] = fit_adapter(pipe, fitted[1], recipe, rank=4)
        weights[name] = [p.detach() for n, p in pipe.unet.named_parameters() if "lora" in n]
    ends = {name: log.loss.tail(6).mean() / log.loss.head(3).mean() for name, log in logs.items()}
    assert ends["bfloat16"] < 0.85 and ends["bfloat16"] == pytest.approx(ends["float32"], rel=0.1)
    assert logs["bfloat16"].loss.tolist() == logs["bfloat16 again"].loss.tolist()
    assert all(map(torch.equal, weights["bfloat16"], weights["bfloat16 again"]))
    assert logs["bfloat16"].loss.tolist() != logs["float32"].loss.tolist(), "both were computed in one precision"


def test_a_checkpoint_of_another_recipe_is_not_taken_up(fitted, tmp_path):
    encoded = fitted[1]
    for seed in (1, 2):
        recipe = loop.Recipe(steps=2, batch_size=4, learning_rate=1e-3, seed=seed)
        pipe = pipelines.load("random", seed=2)
        log = fit_adapter(pipe, encoded, recipe, rank=2, checkpoints=Checkpoints(tmp_path))
        alone = fit_adapter(pipelines.load("random", seed=2), encoded, recipe, rank=2)
        assert log.loss.tolist() == alone.loss.tolist()


def test_an_adapter_travels_in_the_diffusers_layout_and_vanishes_at_scale_zero(fitted, tmp_path):
    pipe, encoded = fitted[:2]
    pipelines.save(pipe, tmp_path / "base")
    pipe = pipelines.load(tmp_path / "base")
    ask = {"prompts": WORDS, "seeds": [0, 1], "num_inference_steps": 4, "size": 32, **GUIDANCE}
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


def test_the_loss_on_what_the_base_sampled_is_added_with_its_weight(fitted):
    first = {}
    for weight, prior in ((None, None), (0.0, fitted[1]), (1.0, fitted[1]), (3.0, fitted[1])):
        recipe = loop.Recipe(steps=1, batch_size=4, learning_rate=1e-2, seed=0)
        kept = {} if prior is None else {"prior": prior, "prior_weight": weight}
        log = fit_adapter(pipelines.load("random", seed=2), fitted[1], recipe, rank=2, **kept)
        first[weight] = log.loss[0]
    assert first[0.0] == first[None]
    assert first[1.0] > first[None] + 0.1
    assert first[3.0] - first[None] == pytest.approx(3 * (first[1.0] - first[None]), rel=1e-5)


def test_the_loss_on_val_falls_and_monitoring_changes_nothing(fitted, tmp_path):
    held, shown = fitted[1], []
    recipe = loop.Recipe(steps=24, batch_size=8, learning_rate=1e-2, seed=0)
    monitoring = loop.Monitoring(8, held, shown.append, trackers=["tensorboard"], folder=tmp_path)
    pipe, plain = pipelines.load("random", seed=2), pipelines.load("random", seed=2)
    log = fit_adapter(pipe, held, recipe, rank=4, monitoring=monitoring)
    assert shown == [8, 16, 24]
    assert log.val_loss.dropna().index.tolist() == [7, 15, 23]
    assert log.val_loss[23] < 0.95 * log.val_loss[7]
    fit_adapter(plain, held, recipe, rank=4)
    assert all(torch.equal(a, b) for a, b in zip(pipe.unet.parameters(), plain.unet.parameters(), strict=True))


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_a_tracker_gets_every_step_without_an_account(tracker, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = loop.Recipe(steps=5, batch_size=2, learning_rate=1e-2, seed=0)
    weight, monitoring = _weight(), loop.Monitoring(trackers=[tracker], folder=tmp_path)
    log = loop.fit([weight], partial(_valley, weight), recipe, "valley", monitoring=monitoring)
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
def test_what_is_not_finite_stops_with_a_sentence_and_is_never_written(what, tmp_path, at_every_step):
    weight = _weight()

    def loss(step, places):
        value = len(places) * weight.square().sum()
        if step < 6:
            return value
        if what == "gradient":  # the loss stays finite, its slope does not
            return value + ((weight - weight.detach()).abs() + 0.0).sqrt().sum()
        return value * math.nan

    recipe = loop.Recipe(steps=20, batch_size=2, learning_rate=1e-2, seed=0)
    with pytest.raises(
        loop.Diverged, match=f"valley: the {what} is nan at step 6: .*last good checkpoint is .*valley.pt"
    ):
        loop.fit([weight], loss, recipe, "valley", at_every_step(tmp_path))
    kept = torch.load(tmp_path / "valley.pt")
    assert len(kept["log"]) == 6
    assert all(torch.isfinite(value).all() for value in [*kept["parameters"], *kept["average"]])


def test_a_loss_that_grows_without_end_stops_with_a_sentence():
    weight = _weight()

    def loss(step, places):
        return len(places) * (weight.square().sum() * 0 + 1.05 ** max(0, step - 50))

    recipe = loop.Recipe(steps=1000, batch_size=2, learning_rate=1e-2, seed=0)
    with pytest.raises(loop.Diverged, match="times its median before: lower the learning rate"):
        loop.fit([weight], loss, recipe, "valley")


def test_the_device_is_waited_for_once_in_many_steps(monkeypatch):
    reads, honest, weight = [], loop._Training.sync, _weight()
    monkeypatch.setattr(loop._Training, "sync", lambda self: reads.append(len(self.pending)) or honest(self))
    recipe = loop.Recipe(steps=50, batch_size=2, learning_rate=1e-2, seed=0)
    log = loop.fit([weight], partial(_valley, weight), recipe, "valley")
    assert reads == [20, 20, 10]
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
