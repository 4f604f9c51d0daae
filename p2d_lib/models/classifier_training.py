"""What a training of a classifier is made of: its loss, and the state that each step changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from p2d_lib.device import half
from p2d_lib.models.augmentation import augment
from p2d_lib.models.early_stopping import EarlyStopping
from p2d_lib.seeds import derive

OPTIMIZERS = ("adamw", "adam")
WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class StepLoss:
    """The loss of each step: cross-entropy of dx, in nats, plus the binary one of the known features, if there are any.

    The fields are what `classifiers.fit` takes under these names. Images, labels and batches may change during a
    training: each step reads them as they are then.
    """

    model: nn.Module
    images: np.ndarray | torch.Tensor
    labels: np.ndarray
    features: np.ndarray | None
    batches: np.ndarray
    weights: torch.Tensor | None
    augmentation: Sequence[str]
    precision: str
    seed: int
    device: torch.device

    def __call__(self, step: int) -> torch.Tensor:
        rows = self.batches[step]
        torch.manual_seed(derive(self.seed, "dropout", step))
        pixels = floats(self.images[rows], self.device)
        pixels = augment(pixels, derive(self.seed, "augment", step), self.augmentation)
        with half(self.device, self.precision):
            dx, feature_logits, _ = self.model(pixels)
            loss = F.cross_entropy(dx, self._tensor(self.labels[rows], torch.long), self.weights)
            if self.features is not None:
                loss = loss + _masked_bce(feature_logits, self._tensor(self.features[rows], feature_logits.dtype))
        return loss

    def _tensor(self, values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(values, dtype=dtype, device=self.device)


class Training:
    """A model in training. parts: what a checkpoint holds of it, by name; result: the model that is read and kept.

    optimizer, learning_rate, steps, averaging, stopping: as `classifiers.fit` takes them. Raises ValueError for an
    unknown optimizer.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: str,
        learning_rate: float,
        steps: int,
        averaging: float,
        stopping: EarlyStopping | None,
    ):
        self.model, self.stopping = model, stopping
        self.optimizer, self.schedule = _optimizer(model, optimizer, learning_rate, steps)
        self.average = _average(model, averaging) if averaging else None
        self.result = self.average.module if self.average else model
        parts = {"model": model, "optimizer": self.optimizer, "schedule": self.schedule}
        self.parts = parts | {
            name: part for name, part in (("stopping", stopping), ("average", self.average)) if part is not None
        }

    def update(self, loss: torch.Tensor) -> float:
        """One step of the optimizer, of its schedule and of the average; gives the learning rate of the step."""
        rate = self.schedule.get_last_lr()[0]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.model)
        return rate

    def end(self) -> None:
        """Gives the model its final weights: the best on val where it was evaluated, else the average, if any."""
        if self.stopping:
            self.stopping.restore(self.model)
        elif self.average:
            self.model.load_state_dict(self.result.state_dict())


def floats(images: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Images, uint8 (b, s, s, 3), as pixels in 0..1: float (b, 3, s, s) on the device.

    Channel by channel in memory: the normalisation of a network is several times faster so.
    """
    return torch.as_tensor(images).to(device).permute(0, 3, 1, 2).contiguous().float().div_(255)


def _optimizer(
    model: nn.Module, name: str, learning_rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    if name == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(steps, 2))
    if name == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"no optimizer {name!r}; there are {', '.join(OPTIMIZERS)}")


def _average(model: nn.Module, decay: float) -> AveragedModel:
    """Weights and statistics of the batches: average = decay * average + (1 - decay) * model, after each step."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _masked_bce(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    known = targets.isfinite()
    loss = F.binary_cross_entropy_with_logits(logits, targets.nan_to_num(), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
