"""Fitting the diffusion model: a low-rank adapter to it, a word for it, or the whole denoiser with its text encoder.

One loop serves all. Every random number is addressed, so a run that was killed and resumed from its checkpoint ends, on
the same device with the same threads, with the same bits as one that was not. Under torchrun the processes share each
batch: `torchrun --nproc_per_node 4 script.py`, where the script calls what a notebook calls.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from safetensors.torch import save
from tqdm import tqdm

from p2d_lib.device import half
from p2d_lib.finetune.draws import Draws, denoising_loss
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.models import diffusion
from p2d_lib.run import atomic, derive

# What the adapter may change: attention (Hu et al., arXiv:2106.09685) and, since optics and colours differ, the rest.
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TARGETS = {
    "attention": ATTENTION,
    "attention+convolutions": (
        *ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj",
        "conv_in", "conv1", "conv2", "conv_shortcut", "conv", "conv_out",
    ),
}  # fmt: skip
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
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


def fit(
    parameters: Sequence[torch.nn.Parameter],
    loss: Callable[[int, range], torch.Tensor],
    recipe: Recipe,
    name: str,
    checkpoints: Path | None = None,
    key: str = "",
    watch: Watch = Watch(),
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


def fit_adapter(
    pipe,
    encoded: Encoded,
    recipe: Recipe,
    rank: int,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
    alpha: float | None = None,
    targets: Literal["attention", "attention+convolutions"] = "attention+convolutions",
    dropout: float = 0.0,
    prior: Encoded | None = None,
    prior_weight: float = 1.0,
    watch: Watch = Watch(),
) -> pd.DataFrame:
    """Adds a low-rank adapter to the denoiser and fits it; returns the log.

    encoded: where it holds tokens, the text encoders get an adapter too, to their attention. weights: how often each
    image is drawn, relative to the others; default equally often. alpha: the adapter counts alpha / rank times; default
    rank. dropout: of the adapter's inputs. prior: images that the base drew of the class, with its prompt: their loss,
    prior_weight times, keeps the class from being forgotten (DreamBooth, Ruiz et al., arXiv:2208.12242).
    """
    from peft import LoraConfig

    parts = [pipe.unet, *(diffusion.encoders(pipe) if encoded.ids is not None else [])]
    shape = {"r": rank, "lora_alpha": rank if alpha is None else alpha, "lora_dropout": dropout}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "adapter"))
        for part in parts:
            part.requires_grad_(False)
            own = TARGETS[targets] if part is pipe.unet else TEXT_TARGETS
            part.add_adapter(LoraConfig(**shape, target_modules=list(own)))
    parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
    for p in parameters:
        p.data = p.data.float()  # a base in half precision still gets exact updates
    draws = [(Draws(pipe, encoded, recipe.seed, "adapter", recipe.caption_dropout, weights), 1.0)]
    if prior:
        draws.append((Draws(pipe, prior, recipe.seed, "prior", recipe.caption_dropout), prior_weight))
    key = digest(*(value for part in parts for value in part.state_dict().values()), str(shape))
    return _fit_denoiser(pipe, parts, parameters, draws, recipe, "adapter", checkpoints, key, watch)


def fit_base(
    pipe,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    checkpoints: Path | None = None,
    watch: Watch = Watch(),
) -> pd.DataFrame:
    """Fits the whole denoiser and the text encoder; returns the log. prompts: one per image of `encoded`."""
    parts = [pipe.unet, *diffusion.encoders(pipe)]
    parameters = [p for part in parts for p in part.requires_grad_(True).parameters()]
    encoded = replace(encoded, ids=diffusion.tokens(pipe, [*prompts, ""]).int())
    draws = [(Draws(pipe, encoded, recipe.seed, "base", recipe.caption_dropout), 1.0)]
    log = _fit_denoiser(pipe, parts, parameters, draws, recipe, "base", checkpoints, digest(*parameters), watch)
    for part in parts:
        part.requires_grad_(False)
    return log


def fit_word(
    pipe,
    encoded: Encoded,
    prompts: Sequence[str],
    recipe: Recipe,
    word: str,
    like: str,
    weights: np.ndarray | None = None,
    checkpoints: Path | None = None,
    watch: Watch = Watch(),
) -> pd.DataFrame:
    """Adds a word to the tokenizer and fits its embedding, nothing else; returns the log.

    Textual inversion (Gal et al., arXiv:2208.01618). prompts: one per image, with the word in them. like: known words
    whose mean embedding it starts from. weights: as of `fit_adapter`. Raises ValueError for a word that is known
    already, and for SDXL.
    """
    if diffusion.is_xl(pipe):
        raise ValueError("textual inversion is for pipelines with one text encoder; this is SDXL, which has two")
    if not pipe.tokenizer.add_tokens(word):
        raise ValueError(f"{word!r} is a token already: choose a word that no prompt has, such as <{word}>")
    place = pipe.tokenizer.convert_tokens_to_ids(word)
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    table = pipe.text_encoder.get_input_embeddings()
    known = pipe.tokenizer(like, add_special_tokens=False)["input_ids"]
    vector = torch.nn.Parameter(table.weight[known].detach().float().mean(0))
    table.weight.data[place] = vector.detach().to(table.weight.dtype)  # what was there is anything
    encoded = replace(encoded, ids=diffusion.tokens(pipe, [*prompts, ""]).int())
    draws = [(Draws(pipe, encoded, recipe.seed, "word", recipe.caption_dropout, weights), 1.0)]
    key = digest(*(value for part in (pipe.unet, pipe.text_encoder) for value in part.state_dict().values()), word)

    def put(_, given: tuple, looked_up: torch.Tensor) -> torch.Tensor:
        return torch.where((given[0] == place)[..., None], vector.to(looked_up.dtype), looked_up)

    handle = table.register_forward_hook(put)
    try:
        log = _fit_denoiser(pipe, [], [vector], draws, recipe, "word", checkpoints, key, watch)
    finally:
        handle.remove()
    table.weight.data[place] = vector.detach().to(table.weight.dtype)
    return log


def _fit_denoiser(
    pipe,
    parts: Sequence[torch.nn.Module],
    parameters: Sequence[torch.nn.Parameter],
    draws: Sequence[tuple[Draws, float]],
    recipe: Recipe,
    name: str,
    checkpoints: Path | None,
    key: str,
    watch: Watch,
) -> pd.DataFrame:
    """`fit` of the denoising loss on batches of `draws`, each with its weight; parts: what is in training mode."""
    device, unet = pipe.device, pipe.unet
    if recipe.compile or (recipe.compile is None and device.type == "cuda"):
        unet = torch.compile(pipe.unet)

    def lost(batch: dict[str, torch.Tensor], unet) -> torch.Tensor:
        if device.type == "cuda":
            batch = {kind: tensor.pin_memory() for kind, tensor in batch.items()}  # or the copy would wait for the step
        batch = {kind: tensor.to(device, non_blocking=True) for kind, tensor in batch.items()}
        with half(device):
            return denoising_loss(pipe, batch, recipe.snr_gamma, unet).sum()

    def loss(step: int, places: range) -> torch.Tensor:
        return sum(weight * lost(source.at(step, places, recipe.batch_size), unet) for source, weight in draws)

    def held() -> float:
        source, n = Draws(pipe, watch.held, recipe.seed, "held"), len(watch.held.latents)
        size = max(1, recipe.batch_size // recipe.accumulate)
        return mean_loss(lambda rows: lost(source.held(rows), pipe.unet), n, size)

    def look(done: int) -> float:
        for part in parts:
            part.eval()
        found = held() if watch.held else math.nan
        if watch.show:
            watch.show(done)
        for part in parts:
            part.train()
        return found

    for part in parts:
        part.train()
    if recipe.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    key = digest(key, *(source.key for source, _ in draws), str([weight for _, weight in draws]))
    try:
        return fit(parameters, loss, recipe, name, checkpoints, key, watch, look)
    finally:
        pipe.unet.disable_gradient_checkpointing()
        for part in parts:
            part.eval()


def save_adapter(pipe, folder: Path, log: pd.DataFrame, parameters: dict, trigger: str = "", data: str = "") -> None:
    """Writes the adapter in the diffusers layout (`pipe.load_lora_weights(folder)`), its log and its parameters.

    trigger: the words that call what was learnt, data: the hash of what it was learnt from (`Encoded.key`); both stand,
    with rank and alpha, in the file's metadata.
    """
    from peft.utils import get_peft_model_state_dict

    names = [n for n in ("unet", "text_encoder", "text_encoder_2") if getattr(getattr(pipe, n, None), "peft_config", 0)]
    shapes = {n: getattr(pipe, n).peft_config["default"] for n in names}
    layout = {}  # for peft; its other settings are its defaults, and not every version knows each
    for n, shape in shapes.items():
        layout |= {f"{n}.r": shape.r, f"{n}.lora_alpha": shape.lora_alpha}
        layout[f"{n}.target_modules"] = sorted(shape.target_modules)
    own = {"trigger": trigger, "data": data, "rank": str(shapes["unet"].r), "alpha": str(shapes["unet"].lora_alpha)}
    own |= {"format": "pt", "lora_adapter_metadata": json.dumps(layout)}
    folder.mkdir(parents=True, exist_ok=True)
    # peft's own names: diffusers would rename attention alone, and drop it when it reads the mixture
    layers = {f"{n}_lora_layers": get_peft_model_state_dict(getattr(pipe, n)) for n in names}
    pipe.save_lora_weights(folder, **layers, save_function=partial(_write, metadata=own))
    log.to_parquet(folder / "log.parquet", index=False)
    (folder / "parameters.json").write_text(json.dumps(parameters, indent=2) + "\n")


def _write(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """safetensors with its metadata in order, which the library writes in any: the same adapter is the same bytes."""
    data = save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    Path(path).write_bytes(data[:8] + text.ljust(end - 8) + data[end:])
