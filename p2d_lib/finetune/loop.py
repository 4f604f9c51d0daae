"""The training loop that adapter, base, pixel baselines and textual inversion share: recipe, average, log, resume."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import reduce
from tqdm import tqdm

from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.processes import processes
from p2d_lib.seeds import derive

SYNC_EVERY = 20  # steps between reads of the loss; each read blocks until the GPU is done
COLUMNS = ["step", "loss", "gradient", "lr", "seconds", "val_loss"]


class Diverged(FloatingPointError):
    """Training has failed; the message names the step and the last good checkpoint."""


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted; the defaults are ours, each with its source."""

    steps: int
    batch_size: int  # of all processes together
    learning_rate: float
    seed: int
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.05  # share of the steps in which the learning rate rises linearly
    weight_decay: float = 0.01
    clip: float = 1.0  # the gradient's norm is scaled down to this
    ema: float = 0.999  # decay of the averaged weights; (step + 1) / (step + 10) while that is less, as in TensorFlow
    snr_gamma: float = 5.0  # see loss.snr_weight
    caption_dropout: float = 0.1  # share of images trained without words, for classifier-free guidance
    divergence: float = 5.0  # training stops when the median of SYNC_EVERY losses is this many times that of all before
    accumulate: int = 1  # gradient accumulation steps: a batch is computed in so many parts, to save memory
    gradient_checkpointing: bool = False  # activations are computed twice instead of kept, to save memory
    precision: str = "auto"  # of the denoiser's layers: see device.half
    compile: bool | None = None  # torch.compile of the denoiser; None: on a GPU

    def rate(self, step: int) -> float:
        """The learning rate at a step: it rises linearly, then stays or falls to zero along half a cosine."""
        rise = min(1.0, (step + 1) / max(1.0, self.warmup * self.steps))
        fall = 1.0 if self.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * rise * fall

    def decay(self, step: int) -> float:
        """The decay of the averaged weights at a step."""
        return min(self.ema, (step + 1) / (step + 10))


@dataclass(frozen=True)
class Monitoring:
    """What is measured during training, every so many steps and with the averaged weights; it changes no result."""

    every: int = 100  # steps; an epoch has images / batch_size
    held_out: Encoded | None = None  # its loss, at times and noise that never change, is logged as val_loss
    preview: Callable[[int], None] | None = None  # called by one process with the number of steps taken
    trackers: Sequence[str] = ()  # of accelerate: tensorboard, wandb (WANDB_MODE=offline needs no account)
    folder: Path | None = None  # where trackers write


NO_MONITORING = Monitoring()


def fit(
    parameters: Sequence[torch.nn.Parameter],
    loss: Callable[[int, range], torch.Tensor],
    recipe: Recipe,
    name: str,
    checkpoints: Checkpoints | None = None,
    key: str = "",
    monitoring: Monitoring = NO_MONITORING,
    evaluate: Callable[[int], float] = lambda done: math.nan,
) -> pd.DataFrame:
    """Minimises the mean loss of a batch with AdamW and leaves the moving average of the parameters in them.

    loss(step, places): the sum of the losses of these places of the step's batch; it must depend on nothing else but
    the parameters. checkpoints: training continues from the checkpoint of the same recipe and `key` (a digest of what
    else the result depends on) and ends with the same bits as without the interruption. evaluate: called by every
    process each monitoring.every steps, with the number of steps taken and the averaged weights in place; what it
    returns is logged as val_loss.

    Returns the log, a row per step: step, loss, gradient (its norm before clipping), lr, seconds (since the start),
    val_loss (NaN where it was not computed). Raises Diverged before anything that is not finite is written, and
    ValueError for a batch that cannot be divided among processes and accumulation steps.
    """
    training = _Training(list(parameters), loss, recipe, name, checkpoints, key, monitoring)
    run = training.run
    for step in tqdm(
        range(len(training.log), recipe.steps), desc=name, unit="step", initial=len(training.log), total=recipe.steps,
        disable=not run.is_main_process,
    ):  # fmt: skip
        training.step(step)
        done = step + 1
        monitored = done % monitoring.every == 0 or done == recipe.steps
        if monitored or done % SYNC_EVERY == 0:
            rows = training.sync()
            if monitored:
                with training.averaged():
                    rows[-1]["val_loss"] = evaluate(done)
            training.track(rows)
            training.save(finished=done == recipe.steps)
    run.wait_for_everyone()
    for tracker in run.trackers:
        tracker.finish()
    for parameter, mean in zip(training.parameters, training.average, strict=True):
        parameter.data.copy_(mean)
    return pd.DataFrame(training.log, columns=COLUMNS)


class _Training:
    """The state of one training: parameters, optimizer, averaged weights, log."""

    def __init__(self, parameters, loss, recipe: Recipe, name: str, checkpoints, key: str, monitoring: Monitoring):
        self.parameters, self.loss, self.recipe, self.name = parameters, loss, recipe, name
        self.device = parameters[0].device
        processes(self.device)  # first, since it sets how long processes wait for each other
        self.run = Accelerator(
            cpu=self.device.type == "cpu", log_with=list(monitoring.trackers) or None,
            project_dir=monitoring.folder and str(monitoring.folder),
        )  # fmt: skip
        self.places = _places(recipe, self.run.process_index, self.run.num_processes)
        self.optimizer = torch.optim.AdamW(
            parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )  # fmt: skip
        self.average = [p.detach().clone() for p in parameters]
        self.log, self.pending = [], []
        key = digest(json.dumps([asdict(recipe), [list(p.shape) for p in parameters], key]))
        self.checkpoint = checkpoints and checkpoints.of(name, key)
        if self.checkpoint and (state := self.checkpoint.load(self.device)):
            for tensor, saved in zip([*parameters, *self.average], state["parameters"] + state["average"], strict=True):
                tensor.data.copy_(saved)
            self.optimizer.load_state_dict(state["optimizer"])
            self.log = state["log"]
        if monitoring.trackers:
            options = {"wandb": {"dir": str(monitoring.folder)}} if "wandb" in monitoring.trackers else {}
            settings = {setting: value for setting, value in asdict(recipe).items() if value is not None}
            self.run.init_trackers(name, settings, init_kwargs=options)
        self.started = time.monotonic() - (self.log[-1]["seconds"] if self.log else 0)

    def step(self, step: int) -> None:
        """One optimiser step; its loss stays on the device until `sync`."""
        recipe = self.recipe
        self.optimizer.param_groups[0]["lr"] = recipe.rate(step)
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(derive(recipe.seed, self.name, "layers", step, self.run.process_index))  # for dropout
            for places in self.places:
                value = self.loss(step, places) / recipe.batch_size
                value.backward()
                total += value.detach()
        if self.run.num_processes > 1:
            _sum_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - recipe.decay(step))
        self.pending.append((total, norm.detach(), time.monotonic() - self.started))

    def sync(self) -> list[dict]:
        """Reads the losses since the last call into the log and returns their rows: the only wait for the device.

        Every process must call it at the same step. Raises Diverged.
        """
        losses = self.run.reduce(torch.stack([loss for loss, _, _ in self.pending]), "sum").tolist()
        norms = torch.stack([norm for _, norm, _ in self.pending]).tolist()
        seconds = [round(at, 2) for _, _, at in self.pending]
        first = len(self.log)
        rows = [
            dict(zip(COLUMNS, (first + k, losses[k], norms[k], self.recipe.rate(first + k), seconds[k], math.nan),
                     strict=True))
            for k in range(len(losses))
        ]  # fmt: skip
        self.log, self.pending = [*self.log, *rows], []
        _check_divergence(self.log, len(rows), self.recipe, self.name, self.checkpoint and self.checkpoint.path)
        return rows

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averaged weights in place of the last ones, and back at the end."""
        last = [p.detach().clone() for p in self.parameters]
        for p, mean in zip(self.parameters, self.average, strict=True):
            p.data.copy_(mean)
        try:
            yield
        finally:
            for p, before in zip(self.parameters, last, strict=True):
                p.data.copy_(before)

    def track(self, rows: Sequence[dict]) -> None:
        """Hands rows of the log to the trackers."""
        if self.run.trackers:
            for row in rows:
                self.run.log({k: v for k, v in row.items() if k != "step" and not math.isnan(v)}, step=row["step"])

    def save(self, finished: bool) -> None:
        """Writes the checkpoint when it is due or training has finished."""
        if self.checkpoint and self.run.is_main_process and (finished or self.checkpoint.due()):
            state = {"parameters": [p.detach() for p in self.parameters], "average": self.average}
            self.checkpoint.save({**state, "optimizer": self.optimizer.state_dict(), "log": self.log})


def _places(recipe: Recipe, rank: int, processes: int) -> list[range]:
    """The places of a batch that one process computes, one range per accumulation step."""
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise ValueError(
            f"batch_size {recipe.batch_size} cannot be divided among {processes} processes x {recipe.accumulate} parts "
            "of a batch: choose a multiple"
        )
    size = recipe.batch_size // parts
    return [range(k * size, (k + 1) * size) for k in range(rank * recipe.accumulate, (rank + 1) * recipe.accumulate)]


def _sum_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = reduce(torch.cat([g.reshape(-1) for g in gradients]), "sum")  # reshape: channels_last has no flat view
    for gradient, summed in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))


def _check_divergence(log: Sequence[dict], new: int, recipe: Recipe, name: str, path: Path | None) -> None:
    last_good = f"; the last good checkpoint is {path}" if path and path.exists() else ""
    for row in log[-new:]:
        for quantity in ("loss", "gradient"):
            if not math.isfinite(row[quantity]):
                raise Diverged(
                    f"{name}: the {quantity} is {row[quantity]} at step {row['step']}: lower the learning rate"
                    f"{last_good}"
                )
    losses = [row["loss"] for row in log]
    if len(losses) >= 3 * SYNC_EVERY:
        now, before = np.median(losses[-SYNC_EVERY:]), np.median(losses[:-SYNC_EVERY])
        if now > recipe.divergence * before:
            raise Diverged(
                f"{name}: the loss is {now:.3g} at step {log[-1]['step']}, {now / before:.1f} times its median before: "
                f"lower the learning rate{last_good}"
            )


@torch.no_grad()
def mean_loss(loss: Callable[[range], torch.Tensor], n: int, size: int) -> float:
    """The mean over n images of a loss that is summed over some of them, `size` at a time.

    Several processes share the parts; every one must call this and gets the mean.
    """
    state = PartialState()
    parts = [range(k, min(k + size, n)) for k in range(0, n, size)][state.process_index :: state.num_processes]
    total = sum(loss(part).item() for part in parts)
    if state.num_processes > 1:
        total = reduce(torch.tensor(total, dtype=torch.float64, device=state.device), "sum").item()
    return total / n
