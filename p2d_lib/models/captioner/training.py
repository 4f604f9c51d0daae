"""How a captioner is fitted: in stages, with the weights that were best on val kept; interrupted stages resume."""

import contextlib
import copy
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from p2d_lib.files import atomic
from p2d_lib.models.captioner.network import MAX_CAPTION_TOKENS, Captioner, embed
from p2d_lib.models.checkpoints import read_state
from p2d_lib.seeds import derive

WARMUP = 0.06  # of a stage's steps
BATCH_SIZE = 32  # of the texts whose perplexity is measured
Pairs = tuple[np.ndarray, Sequence[str]]  # embeddings (n, views, dim) by `network.embed`, and n captions


@dataclass(frozen=True)
class Stage:
    """How one stage is fitted; the published stages are PUBLISHED_STAGES."""

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    blocks: tuple[int, ...]  # number of last blocks of GPT-2 that are trained, in equal parts of the steps
    prefix: bool = True  # whether the prefix is trained; the token table always is
    evaluate_every: int = 50  # steps between evaluations on val; a checkpoint is written at each
    patience: int = 3  # evaluations without a lower val loss after which the stage ends
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    clip: float = 1.0  # gradient norm

    def rate(self, step: int) -> float:
        """The learning rate at a step: linear warm-up, then half a cosine down to zero."""
        warmup = min(1.0, (step + 1) / max(1.0, WARMUP * self.steps))
        return self.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def lasting(self, steps: int) -> "Stage":
        """This stage with another number of steps; the number of evaluations stays the same."""
        return replace(self, steps=steps, evaluate_every=max(1, round(self.evaluate_every * steps / self.steps)))


# A: 20,304 broad pairs, three epochs; B: 3,302 pairs in the target style, twenty epochs, two blocks from the third on.
# Both are evaluated once an epoch.
PUBLISHED_STAGES = (
    Stage("A", 2538, 24, 1.2e-4, (0,), evaluate_every=846, label_smoothing=0.05),
    Stage("B", 4140, 16, 3.0e-5, (1, *[2] * 9), prefix=False, evaluate_every=207, weight_decay=0.0),
)
TINY_STAGES = (  # for the tiny GPT-2, on thousands of images; random weights learn another style as fast as the first
    Stage("A", 200, 32, 2e-3, (2,), evaluate_every=25),
    Stage("B", 200, 32, 2e-3, (1, *[2] * 4), prefix=False, evaluate_every=25),
)


def stages(gpt2: str, steps: Sequence[int]) -> tuple[Stage, Stage]:
    """Stages A and B for a GPT-2 ("tiny" or a Hugging Face id), lasting as many steps."""
    templates = TINY_STAGES if gpt2 == "tiny" else PUBLISHED_STAGES
    return tuple(stage.lasting(n) for stage, n in zip(templates, steps, strict=True))


def fit(
    captioner: Captioner, stage: Stage, train: Pairs, val: Pairs, *, seed: int, checkpoints: Path | None = None
) -> pd.DataFrame:
    """Fits one stage in place; the captioner ends with the weights that were best on val.

    train, val: embeddings (n, views, dim), float32, and n captions each; every step takes one view of an image, val the
    first. The loss counts the tokens of captions and their end token, neither prefix nor instruction. checkpoints: a
    folder; a stage that was interrupted resumes from there, on a CPU with the same bits. Returns the log, one row per
    evaluation: stage, step, loss (mean since the last evaluation), val_loss (nats per token), perplexity,
    learning_rate. Raises FloatingPointError for a loss that is not finite.
    """
    _unfreeze(captioner, stage, max(stage.blocks))
    state = _State(captioner, stage, train, val, seed, checkpoints)
    bar = tqdm(
        range(state.step, stage.steps), f"captioner {stage.name}", stage.steps, initial=state.step, mininterval=1
    )
    losses = []
    for step in bar if state.worse < stage.patience else ():
        losses.append(_step(state, step))
        if (step + 1) % stage.evaluate_every and step + 1 < stage.steps:
            continue
        state.evaluate(step, float(np.mean(losses)))
        losses = []
        if state.worse >= stage.patience:
            break
    captioner.load_state_dict(state.best["model"])
    captioner.requires_grad_(False).eval()
    return pd.DataFrame(state.log)


class _State:
    """A stage's data on the device, its optimizer, its log and its best weights so far, as checkpoints keep them."""

    def __init__(self, captioner: Captioner, stage: Stage, train: Pairs, val: Pairs, seed: int, folder: Path | None):
        self.captioner, self.stage, self.seed = captioner, stage, seed
        self.images = torch.from_numpy(train[0]).to(captioner.device)
        self.captions = tokens(captioner, train[1], len(train[0]))
        self.val_images = torch.from_numpy(val[0][:, 0]).to(captioner.device)
        self.val_captions = tokens(captioner, val[1], len(val[0]))
        self.parameters = [p for p in captioner.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, weight_decay=stage.weight_decay, fused=True)
        self.log, self.best, self.worse = [], None, 0  # worse: evaluations since the best one
        self.path = folder / f"{stage.name}.pt" if folder else None
        data = [self.images, self.captions, self.val_images, self.val_captions]
        self.key = _digest(json.dumps([asdict(stage), seed]), [*captioner.state_dict().values(), *data])
        if self.path and (saved := read_state(self.path, captioner.device)):
            self._resume(saved)

    @property
    def step(self) -> int:
        return self.log[-1]["step"] if self.log else 0

    def _resume(self, saved: dict) -> None:
        if saved["key"] == self.key:
            self.captioner.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.log, self.best, self.worse = saved["log"], saved["best"], saved["worse"]

    def evaluate(self, step: int, loss: float) -> None:
        """Measures the loss on val, notes it in the log and writes a checkpoint."""
        val_loss = mean_loss(self.captioner, self.val_images, self.val_captions, self.stage.batch_size)
        self.worse += 1
        if self.best is None or val_loss < self.best["val_loss"]:
            self.worse, self.best = 0, {"val_loss": val_loss, "model": copy.deepcopy(self.captioner.state_dict())}
        row = {"stage": self.stage.name, "step": step + 1, "loss": loss, "val_loss": val_loss}
        self.log.append({**row, "perplexity": math.exp(val_loss), "learning_rate": self.stage.rate(step)})
        if self.path:
            weights = {"model": self.captioner.state_dict(), "optimizer": self.optimizer.state_dict()}
            with atomic(self.path) as partial:
                torch.save(
                    {"key": self.key, **weights, "log": self.log, "best": self.best, "worse": self.worse}, partial
                )


def _step(state: _State, step: int) -> float:
    """One optimiser step; returns its loss."""
    captioner, stage, device = state.captioner.train(), state.stage, state.captioner.device
    _unfreeze(captioner, stage, stage.blocks[step * len(stage.blocks) // stage.steps])
    state.optimizer.param_groups[0]["lr"] = stage.rate(step)
    rng = np.random.default_rng(derive(state.seed, stage.name, step))
    rows = rng.choice(len(state.images), min(stage.batch_size, len(state.images)), False)
    view = rng.integers(state.images.shape[1], size=len(rows))
    half = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()
    with torch.random.fork_rng([device] if device.type == "cuda" else []), half:
        torch.manual_seed(derive(state.seed, stage.name, "dropout", step))
        value = loss(captioner, state.images[rows, view], state.captions[rows], stage.label_smoothing)
    state.optimizer.zero_grad()
    value.backward()
    nn.utils.clip_grad_norm_(state.parameters, stage.clip)
    state.optimizer.step()
    if not math.isfinite(value.item()):
        raise FloatingPointError(
            f"stage {stage.name}: the loss is {value.item()} at step {step}: lower its learning rate"
        )
    return value.item()


def _unfreeze(captioner: Captioner, stage: Stage, blocks: int) -> None:
    """Makes the last blocks, the token table and, where the stage trains it, the prefix trainable; nothing else."""
    captioner.requires_grad_(False)
    captioner.prefix.requires_grad_(stage.prefix)
    captioner.gpt2.transformer.wte.requires_grad_(True)  # tied to the output layer
    layers = captioner.gpt2.transformer.h
    for layer in layers[max(0, len(layers) - blocks) :]:
        layer.requires_grad_(True)


def loss(
    captioner: Captioner, embeddings: torch.Tensor, captions: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Mean cross-entropy (nats) of the captions' tokens (n, length), padded with -100; embeddings (n, dim)."""
    captions = captions[:, : (captions >= 0).sum(1).max()]
    logits = captioner(embeddings, captions.clamp(min=0))
    return F.cross_entropy(logits.flatten(0, 1).float(), captions.flatten(), label_smoothing=label_smoothing)


@torch.no_grad()
def mean_loss(captioner: Captioner, embeddings: torch.Tensor, captions: torch.Tensor, batch_size: int) -> float:
    """`loss` over a whole set, in batches, each token weighing the same."""
    captioner.eval()
    parts = zip(embeddings.split(batch_size), captions.split(batch_size), strict=True)
    total = sum(loss(captioner, images, words).item() * (words >= 0).sum().item() for images, words in parts)
    return total / (captions >= 0).sum().item()


def tokens(captioner: Captioner, captions: Sequence[str], n: int) -> torch.Tensor:
    """Tokens of n captions, each with its end token: int64 (n, longest), padded with -100."""
    if len(captions) != n:
        raise ValueError(f"{n} images and {len(captions)} captions: each image needs its own")
    ids = [ids[:MAX_CAPTION_TOKENS] for ids in captioner.tokenizer(list(captions))["input_ids"]]
    ends = [torch.tensor([*one, captioner.tokenizer.eos_token_id]) for one in ids]
    return nn.utils.rnn.pad_sequence(ends, batch_first=True, padding_value=-100).to(captioner.device)


def perplexity(captioner: Captioner, images: np.ndarray, texts: Sequence[str]) -> float:
    """exp of the mean negative log-likelihood of the texts' tokens given their images, uint8 (n, h, w, 3); >= 1."""
    captions = tokens(captioner, texts, len(images))
    embeddings = torch.from_numpy(embed(captioner, images, BATCH_SIZE)[:, 0]).to(captioner.device)
    return math.exp(mean_loss(captioner, embeddings, captions, BATCH_SIZE))


def _digest(text: str, tensors: Sequence[torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()
