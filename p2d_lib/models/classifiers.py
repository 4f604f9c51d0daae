"""Networks that classify dermoscopic images: a head for dx and, optionally, one for the vocabulary's features.

The scout of 03 and the classifiers of 06 are such networks.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from p2d_lib.models.augmentation import BASIC
from p2d_lib.models.checkpoints import Checkpoint
from p2d_lib.models.class_batches import epochs
from p2d_lib.models.classifier_backbones import backbone as backbone_of
from p2d_lib.models.classifier_training import StepLoss, Training, floats
from p2d_lib.models.early_stopping import EarlyStopping
from p2d_lib.models.weights import WeightsError, not_finite, reason
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

MAX_PIXELS = 2**22  # classified at once: 256 images of 128 px, 16 of 512 px
WEIGHTS = "model.safetensors"
ANEW = "run the notebook that made it again"
FLIPS = ((), (-1,), (-2,), (-1, -2))  # axes


class Classifier(nn.Module):
    """A backbone, a dx head (7) and, with n_features > 0, a feature head.

    Called with pixels in 0..1, float (b, 3, h, w); gives dx logits (b, 7), feature logits (b, n_features) and the
    penultimate embedding (b, dim). backbone, pretrained: of `classifier_backbones.backbone`. side: px to which images
    are resized; 0: to what the backbone's weights were fitted to. dropout: share of the embedding that is set to 0 for
    the heads in training.
    """

    def __init__(
        self, backbone: str, n_features: int = 0, pretrained: bool = True, side: int = 0, dropout: float = 0.0
    ):
        super().__init__()
        self.backbone, self.n_features = backbone, n_features
        built = backbone_of(backbone, pretrained)
        self.body, self.dim, self.side = built.body, built.dim, side or built.side
        self.dropout = nn.Dropout(dropout)
        self.dx = nn.Linear(self.dim, len(DX))
        self.features = nn.Linear(self.dim, n_features) if n_features else None
        self.register_buffer("mean", torch.tensor(built.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(built.std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.side and pixels.shape[-1] != self.side:
            pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", antialias=True)
        embedding = self.body((pixels - self.mean).div_(self.std))
        kept = self.dropout(embedding)
        features = self.features(kept) if self.features else embedding[:, :0]
        return self.dx(kept), features, embedding


def build(backbone: str, n_features: int = 0, seed: int = 0, side: int = 0, dropout: float = 0.0) -> Classifier:
    """A classifier whose weights are initialised from the seed, but for a part with published weights.

    See `Classifier`. Raises ValueError for a backbone that `classifier_backbones.backbone` does not know.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "classifier"))
        return Classifier(backbone, n_features, side=side, dropout=dropout)


def fit(
    model: Classifier,
    images: np.ndarray | torch.Tensor,
    labels: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: torch.device,
    features: np.ndarray | None = None,
    batches: np.ndarray | None = None,
    optimizer: str = "adamw",
    augmentation: Sequence[str] = BASIC,
    weights: np.ndarray | None = None,
    stopping: EarlyStopping | None = None,
    averaging: float = 0.0,
    precision: str = "float32",
    on_step: Callable[[int, dict], None] | None = None,
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
) -> pd.DataFrame:
    """Trains in place and gives the log: step, loss, learning_rate; val_loss (nats), val_macro_f1 where evaluated.

    images: uint8 (n, s, s, 3), or such a tensor on the device. labels: indices into `vocabulary.DX` (n,). features:
    targets in 0..1 (n, n_features); a NaN does not count. batches: indices of each step's images, (steps, batch_size);
    default `epochs`. optimizer: "adamw" with weight decay and a one-cycle rate, or "adam" with a constant one.
    augmentation: of `augmentation.augment`. weights: of the classes in the loss (7,). stopping: the model ends with the
    best weights on val, and the fit may stop before its last step. averaging: decay of a moving average of the weights;
    the average is then evaluated, and the model ends with it; 0: none. precision: of `device.half`. Augmentation and
    dropout depend on seed and step alone, so that two fits on other batches are augmented alike. checkpoint: the fit
    continues from its state and ends with the same bits as without the interruption. Raises ValueError for batches of
    another shape or an unknown optimizer.
    """
    batches = epochs(len(images), steps, batch_size, derive(seed, "draws")) if batches is None else batches
    if batches.shape != (steps, batch_size):
        raise ValueError(f"batches has shape {batches.shape}; expected {steps} steps of {batch_size} images")
    model.to(device, memory_format=torch.channels_last).train()
    weights = None if weights is None else torch.as_tensor(weights, dtype=torch.float32, device=device)
    loss_of = StepLoss(model, images, labels, features, batches, weights, augmentation, precision, seed, device)
    training = Training(model, optimizer, learning_rate, steps, averaging, stopping)
    log = checkpoint.restore(training.parts, device) if checkpoint else []
    bar = tqdm(
        range(len(log), steps), "classifier", steps, initial=len(log), unit="step", mininterval=1, disable=not progress
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step in bar:
            if stopping and stopping.stopped:
                break
            loss = loss_of(step)
            log.append({"step": step, "loss": loss.item(), "learning_rate": training.update(loss)})
            if stopping and stopping.due(step, steps):
                log[-1] |= _evaluate(training.result, stopping, device)
                model.train()
            if on_step:
                on_step(step, log[-1])
            if checkpoint and (checkpoint.due() or step + 1 == steps):
                checkpoint.store(training.parts, log)
    training.end()
    return pd.DataFrame(log)


def _evaluate(model: Classifier, stopping: EarlyStopping, device: torch.device) -> dict[str, float]:
    p = predict(model, stopping.images, device)["p"]
    of_truth = p[np.arange(len(p)), stopping.labels].clip(1e-12)
    return {"val_loss": float(-np.log(of_truth).mean()), "val_macro_f1": stopping.note(p.argmax(1), model)}


@torch.inference_mode()
def predict(
    model: Classifier, images: np.ndarray, device: torch.device, batch_size: int = 256, flips: bool = False
) -> dict[str, np.ndarray]:
    """Probabilities and embeddings of images, uint8 (n, s, s, 3), or such a tensor on the device.

    float32: "p" (n, 7), in the order of `vocabulary.DX`, sums to 1; "features" (n, n_features) in 0..1; "embedding"
    (n, dim). flips: each is the mean over the image and its mirror images along each axis and along both.
    """
    model.to(device, memory_format=torch.channels_last).eval()
    batch_size, parts = min(batch_size, max(1, MAX_PIXELS // (model.side or images.shape[1]) ** 2)), []
    for start in range(0, len(images), batch_size):
        pixels = floats(images[start : start + batch_size], device)
        of_flips = []
        for axes in FLIPS if flips else FLIPS[:1]:
            dx, features, embedding = model(pixels.flip(axes))
            of_flips.append((dx.softmax(1), features.sigmoid(), embedding))
        parts.append([torch.stack(part).mean(0) for part in zip(*of_flips, strict=True)])
    return {
        name: torch.cat(part).float().cpu().numpy()
        for name, part in zip(("p", "features", "embedding"), zip(*parts, strict=True), strict=True)
    }


def save(model: Classifier, folder: Path) -> None:
    """Writes model.safetensors and classifier.json into a folder (made where missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"backbone": model.backbone, "n_features": model.n_features, "side": model.side, "classes": DX}
    (folder / "classifier.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)


def load(folder: Path, device: torch.device) -> Classifier:
    """A saved classifier, ready to predict; nothing is downloaded. Raises FileNotFoundError naming the folder, and
    WeightsError for what cannot be read, is of other classes, or holds a value that is not finite."""
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(f"{folder} holds no classifier ({WEIGHTS} and classifier.json)")
    try:
        config = json.loads((folder / "classifier.json").read_text())
        classes = config["classes"]
        model = Classifier(config["backbone"], config["n_features"], pretrained=False, side=config.get("side") or 0)
        tensors = load_file(folder / WEIGHTS)
        model.load_state_dict(tensors)
    except Exception as error:  # what json, torch and safetensors meet in damaged files
        raise WeightsError(f"{folder}: no readable classifier ({reason(error)}); {ANEW}") from None
    if tuple(classes) != DX:
        raise WeightsError(
            f"{folder}: its classes are {', '.join(classes)}, expected {', '.join(DX)} in this order; {ANEW}"
        )
    if name := not_finite(tensors):
        raise WeightsError(f"{folder / WEIGHTS}: {name} holds a value that is not finite; {ANEW}")
    return model.to(device).eval()
