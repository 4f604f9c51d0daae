"""The training loop that adapter, base, pixel baselines and textual inversion share: recipe, checkpoints, resume."""

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
from accelerate import Accelerator
from tqdm import tqdm

from p2d_lib.files import atomic
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.seeds import derive

LOOK = 20  # steps: a look at the losses waits for the device, so it is taken seldom


class Diverged(FloatingPointError):
    """Fitting has failed; the message says where, and which checkpoint is the last good one."""


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted; the defaults are ours, each with its source."""

    steps: int
    batch_size: int  # of all processes together
    learning_rate: float
    seed: int
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.05  # of the steps, linear
    weight_decay: float = 0.01
    clip: float = 1.0  # gradient norm
    ema: float = 0.999  # decay of the averaged weights, less at first: (step + 1) / (step + 10) as in TensorFlow
    snr_gamma: float = 5.0  # min-SNR weighting (Hang et al., arXiv:2303.09556)
    caption_dropout: float = 0.1  # for classifier-free guidance
    divergence: float = 5.0  # fitting stops where the median of LOOK losses is so many times that of all before
    checkpoint_every: int = 100  # steps
    accumulate: int = 1  # parts that a process computes its share of a batch in, for memory; the loss is the same
    gradient_checkpointing: bool = False  # computes activations twice instead of keeping them
    compile: bool | None = None  # torch.compile of the denoiser; None: on a GPU

    def rate(self, step: int) -> float:
        """The learning rate at a step: up in a line, then constant or down to zero in half a cosine."""
        rise = min(1.0, (step + 1) / max(1.0, self.warmup * self.steps))
        fall = 1.0 if self.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * rise * fall


@dataclass(frozen=True)
class Watch:
    """What is looked at while fitting, every so many steps and with the averaged weights; it changes no result."""

    every: int = 100  # steps; an epoch has images / batch_size
    held: Encoded | None = None  # its loss at times and noise that stay the same is logged as val_loss
    show: Callable[[int], None] | None = None  # called with the number of steps taken, e.g. to draw samples
    trackers: Sequence[str] = ()  # of accelerate: tensorboard, wandb (WANDB_MODE=offline needs no account)
    folder: Path | None = None  # where trackers write


NO_WATCH = Watch()


def fit(
    parameters: Sequence[torch.nn.Parameter],
    loss: Callable[[int, range], torch.Tensor],
    recipe: Recipe,
    name: str,
    checkpoints: Path | None = None,
    key: str = "",
    watch: Watch = NO_WATCH,
    look: Callable[[int], float] = lambda done: math.nan,
) -> pd.DataFrame:
    """Minimises the mean of the losses of a batch with AdamW and leaves the parameters' moving average in them.

    loss(step, places): the sum of the losses of these places of the step's batch; it must depend on nothing else but
    the parameters. checkpoints: a folder; fitting goes on from the one it holds for the same recipe and `key` (what
    else the result depends on). look: what one process does every watch.every steps, with the averaged weights; given
    the number of steps taken, it returns what the log calls val_loss. Returns the log: step, loss, gradient (its norm),
    lr, seconds, val_loss. Raises Diverged before anything that is not finite is written.
    """
    parameters = list(parameters)
    device = parameters[0].device
    run = Accelerator(
        cpu=device.type == "cpu", log_with=list(watch.trackers) or None,
        project_dir=watch.folder and str(watch.folder),
    )  # fmt: skip
    mine = _share(recipe, run.process_index, run.num_processes)
    key = digest(json.dumps([asdict(recipe), [list(p.shape) for p in parameters], key]))
    path = checkpoints / f"{name}.pt" if checkpoints else None
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    average = [p.detach().clone() for p in parameters]
    log, pending = [], []
    if path and path.exists() and (state := torch.load(path, map_location=device))["key"] == key:
        for own, saved in zip([*parameters, *average], [*state["parameters"], *state["average"]], strict=True):
            own.data.copy_(saved)
        optimizer.load_state_dict(state["optimizer"])
        log = state["log"]
    if watch.trackers:
        options = {"wandb": {"dir": str(watch.folder)}} if "wandb" in watch.trackers else {}
        known = {setting: value for setting, value in asdict(recipe).items() if value is not None}
        run.init_trackers(name, known, init_kwargs=options)
    started = time.monotonic() - (log[-1]["seconds"] if log else 0)
    steps = range(len(log), recipe.steps)
    for step in tqdm(
        steps, desc=name, unit="step", initial=len(log), total=recipe.steps, disable=not run.is_main_process
    ):
        optimizer.param_groups[0]["lr"] = recipe.rate(step)
        optimizer.zero_grad()
        total = torch.zeros((), device=device)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(derive(recipe.seed, name, "layers", step, run.process_index))  # dropout within the model
            for places in mine:
                value = loss(step, places) / recipe.batch_size
                value.backward()
                total += value.detach()
        if run.num_processes > 1:
            _sum_gradients(parameters, run)
        norm = torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - min(recipe.ema, (step + 1) / (step + 10)))
        pending.append((total, norm.detach(), time.monotonic() - started))
        done = step + 1
        due = path is not None and (done % recipe.checkpoint_every == 0 or done == recipe.steps)
        seen = done % watch.every == 0 or done == recipe.steps
        if not (due or seen or done % LOOK == 0):
            continue
        rows = _rows(pending, len(log), recipe, run)
        log, pending = [*log, *rows], []
        _check(log, len(rows), recipe, name, path)
        if seen and run.is_main_process:
            with _averaged(parameters, average):
                rows[-1]["val_loss"] = look(done)
        if watch.trackers:
            for row in rows:
                run.log({k: v for k, v in row.items() if k != "step" and not math.isnan(v)}, step=row["step"])
        if due and run.is_main_process:
            state = {"key": key, "parameters": [p.detach() for p in parameters], "average": average}
            with atomic(path) as unfinished:
                torch.save({**state, "optimizer": optimizer.state_dict(), "log": log}, unfinished)
    run.wait_for_everyone()
    for tracker in run.trackers:
        tracker.finish()
    for own, mean in zip(parameters, average, strict=True):
        own.data.copy_(mean)
    return pd.DataFrame(log, columns=["step", "loss", "gradient", "lr", "seconds", "val_loss"])


def _share(recipe: Recipe, rank: int, processes: int) -> list[range]:
    """The places of a batch that one process computes, part by part."""
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise ValueError(
            f"batch_size {recipe.batch_size} cannot be divided among {processes} processes x {recipe.accumulate} parts "
            "of a batch: choose a multiple"
        )
    size = recipe.batch_size // parts
    return [range(k * size, (k + 1) * size) for k in range(rank * recipe.accumulate, (rank + 1) * recipe.accumulate)]


def _sum_gradients(parameters: Sequence[torch.nn.Parameter], run: Accelerator) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    whole = run.reduce(torch.nn.utils.parameters_to_vector(gradients), "sum")
    for mine, shared in zip(gradients, whole.split([g.numel() for g in gradients]), strict=True):
        mine.copy_(shared.view_as(mine))


def _rows(pending: Sequence[tuple], first: int, recipe: Recipe, run: Accelerator) -> list[dict]:
    """What happened since the last look, as rows of the log: the only wait for the device."""
    losses = run.reduce(torch.stack([loss for loss, _, _ in pending]), "sum").tolist()
    norms = torch.stack([norm for _, norm, _ in pending]).tolist()
    return [
        {
            "step": first + k,
            "loss": losses[k],
            "gradient": norms[k],
            "lr": recipe.rate(first + k),
            "seconds": round(pending[k][2], 2),
            "val_loss": math.nan,
        }
        for k in range(len(pending))
    ]


def _check(log: Sequence[dict], new: int, recipe: Recipe, name: str, path: Path | None) -> None:
    left = f"; the last good checkpoint is {path}" if path and path.exists() else ""
    for row in log[-new:]:
        for what in ("loss", "gradient"):
            if not math.isfinite(row[what]):
                raise Diverged(
                    f"{name}: the {what} is {row[what]} at step {row['step']}: lower the learning rate{left}"
                )
    losses = [row["loss"] for row in log]
    if len(losses) >= 3 * LOOK:
        now, before = np.median(losses[-LOOK:]), np.median(losses[:-LOOK])
        if now > recipe.divergence * before:
            raise Diverged(
                f"{name}: the loss is {now:.3g} at step {log[-1]['step']}, {now / before:.1f} times its median before: "
                f"lower the learning rate{left}"
            )


@torch.no_grad()
def mean_loss(loss: Callable[[range], torch.Tensor], n: int, size: int) -> float:
    """The mean over n images of a loss that is summed over some of them, `size` at a time."""
    return sum(loss(range(k, min(k + size, n))).item() for k in range(0, n, size)) / n


@contextmanager
def _averaged(parameters: Sequence[torch.nn.Parameter], average: Sequence[torch.Tensor]) -> Iterator[None]:
    """The averaged weights in place of the last ones, for a while."""
    last = [p.detach().clone() for p in parameters]
    for p, mean in zip(parameters, average, strict=True):
        p.data.copy_(mean)
    try:
        yield
    finally:
        for p, mine in zip(parameters, last, strict=True):
            p.data.copy_(mine)
