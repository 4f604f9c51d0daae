"""Fits the scout: a small network that predicts diagnosis and dermoscopic features from an image."""

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score

from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.training_set import Split
from p2d_lib.models import class_batches, classifiers
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.vocabulary import FEATURES


def fit_scout(
    train: Split,
    backbone: str,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
) -> tuple[classifiers.Classifier, pd.DataFrame]:
    """The scout and its log (step, loss, learning_rate). backbone: of `classifiers.build`.

    Each class enters batches equally often, so that the rare ones shape its features too.
    """
    scout = classifiers.build(backbone, len(FEATURES), seed=seed)
    settings = f"{steps} {batch_size} {learning_rate} {seed}"
    key = digest(train, settings, *scout.state_dict().values()) if checkpoints else ""
    log = classifiers.fit(
        scout, train.pixels, train.labels, steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed,
        device=device, features=train.features, batches=class_batches.balanced(train.labels, steps, batch_size, seed),
        checkpoint=checkpoints and checkpoints.of("scout", key),
    )  # fmt: skip
    return scout, log


def balanced_accuracy(scout: classifiers.Classifier, split: Split, device: torch.device) -> float:
    """Mean over classes of the share of images that are read right (0..1; chance is 1 / classes)."""
    return balanced_accuracy_score(split.labels, np.argmax(classifiers.predict(scout, split.pixels, device)["p"], 1))
