"""Early stopping: the weights of the best evaluation on val, and when to stop looking for better ones."""

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn


class EarlyStopping:
    """Keeps the weights whose macro-F1 on val is best, and stops a fit that has not found better ones for a while.

    images, labels: of val; uint8 (n, s, s, 3) and indices (n,). every: steps between two evaluations. patience:
    evaluations without a better macro-F1 after which the fit stops. The macro-F1 is the mean over the classes of val.
    Raises ValueError without val images.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, every: int, patience: int):
        if not len(labels):
            raise ValueError("early stopping needs images of the val split, and there are none; set patience to 0")
        self.images, self.labels, self.every, self.patience = images, np.asarray(labels), every, patience
        self.best, self.since, self.weights = -1.0, 0, None

    def due(self, step: int, steps: int) -> bool:
        """Whether the weights after a step (from 0) of `steps` are evaluated; the last ones always are."""
        return (step + 1) % self.every == 0 or step + 1 == steps

    def note(self, predicted: np.ndarray, model: nn.Module) -> float:
        """Takes the classes that the model predicts of the val images (n,); gives their macro-F1."""
        score = float(f1_score(self.labels, predicted, labels=np.unique(self.labels), average="macro", zero_division=0))
        self.since += 1
        if score > self.best:
            self.best, self.since = score, 0
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return score

    @property
    def stopped(self) -> bool:
        return self.since >= self.patience

    def restore(self, model: nn.Module) -> None:
        """Gives the model the best weights."""
        model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, float | int | dict[str, torch.Tensor] | None]:
        return {"best": self.best, "since": self.since, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.since, self.weights = state["best"], state["since"], state["weights"]
