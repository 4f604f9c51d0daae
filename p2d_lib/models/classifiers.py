"""Networks that classify dermoscopic images: a head for dx and, optionally, one for the vocabulary's features.

The scout of 03 and the classifiers of 06 are such networks.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from p2d_lib.device import generator
from p2d_lib.models.checkpoints import Checkpoint
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's weights expect
WEIGHT_DECAY = 0.05
MAX_PIXELS = 2**22  # classified at once: 256 images of 128 px, 16 of 512 px
JITTER = 0.1  # colours and brightness are scaled by 1 - JITTER to 1 + JITTER: cameras differ, but colour is diagnostic


class Classifier(nn.Module):
    """A backbone, a dx head (7) and, with n_features > 0, a feature head.

    Called with pixels in 0..1, float (b, 3, h, w); gives dx logits (b, 7), feature logits (b, n_features) and the
    penultimate embedding (b, dim).
    """

    def __init__(self, backbone: str, n_features: int = 0, pretrained: bool = True):
        super().__init__()
        self.backbone, self.n_features = backbone, n_features
        name, _, weights = backbone.partition(":")
        self.side = None  # px to which images are resized for the backbone; None: they are not
        if name == "tiny_resnet":
            self.body, self.dim = _tiny_resnet(), 128
        else:
            self.body, self.dim, self.side = _torchvision(name, weights if pretrained else "")
        self.dx = nn.Linear(self.dim, len(DX))
        self.features = nn.Linear(self.dim, n_features) if n_features else None
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.side and pixels.shape[-1] != self.side:
            pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", antialias=True)
        embedding = self.body((pixels - self.mean) / self.std)
        features = self.features(embedding) if self.features else embedding[:, :0]
        return self.dx(embedding), features, embedding


def build(backbone: str, n_features: int = 0, seed: int = 0) -> Classifier:
    """A classifier whose weights are initialised from the seed (a pretrained part has the weights of torchvision).

    backbone: "tiny_resnet" (0.3 M parameters, made for 64 px), or a torchvision model with the name of its weights
    after a colon: "resnet18", "resnet18:IMAGENET1K_V1", "vit_b_16:IMAGENET1K_V1"; those see 224 px. Raises ValueError
    for a name torchvision does not know.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "classifier"))
        return Classifier(backbone, n_features)


def fit(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: torch.device,
    features: np.ndarray | None = None,
    batches: np.ndarray | None = None,
    on_step: Callable[[int, dict], None] | None = None,
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
) -> pd.DataFrame:
    """Trains in place (AdamW, one-cycle rate) and gives the log: step, loss, learning_rate.

    images: uint8 (n, s, s, 3). labels: indices into `vocabulary.DX` (n,). features: targets in 0..1 (n, n_features);
    a NaN does not count. batches: indices of each step's images, (steps, batch_size); default `epochs`. The
    augmentation depends on seed and step alone, so that two fits on other batches are augmented alike. checkpoint: the
    fit continues from its state and ends with the same bits as without the interruption. Raises ValueError for batches
    of another shape.
    """
    batches = epochs(len(images), steps, batch_size, derive(seed, "draws")) if batches is None else batches
    if batches.shape != (steps, batch_size):
        raise ValueError(f"batches has shape {batches.shape}; expected {steps} steps of {batch_size} images")
    model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(steps, 2))
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    log = checkpoint.restore(parts, device) if checkpoint else []
    for step in tqdm(
        range(len(log), steps), desc="classifier", unit="step", mininterval=1, initial=len(log), total=steps,
        disable=not progress,
    ):  # fmt: skip
        rows = batches[step]
        pixels = augment(_pixels(images[rows], device), derive(seed, "augment", step))
        dx, feature_logits, _ = model(pixels)
        loss = F.cross_entropy(dx, torch.as_tensor(labels[rows], dtype=torch.long, device=device))
        if features is not None:
            loss = loss + _masked_bce(feature_logits, torch.as_tensor(features[rows], dtype=dx.dtype, device=device))
        optimizer.zero_grad()
        loss.backward()
        log.append({"step": step, "loss": loss.item(), "learning_rate": schedule.get_last_lr()[0]})
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(step, log[-1])
        if checkpoint and (checkpoint.due() or step + 1 == steps):
            checkpoint.store(parts, log)
    return pd.DataFrame(log)


@torch.inference_mode()
def predict(
    model: Classifier, images: np.ndarray, device: torch.device, batch_size: int = 256
) -> dict[str, np.ndarray]:
    """Probabilities and embeddings of images, uint8 (n, s, s, 3).

    float32: "p" (n, 7), in the order of `vocabulary.DX`, sums to 1; "features" (n, n_features) in 0..1; "embedding"
    (n, dim).
    """
    model.to(device, memory_format=torch.channels_last).eval()
    batch_size, parts = min(batch_size, max(1, MAX_PIXELS // images.shape[1] ** 2)), []
    for start in range(0, len(images), batch_size):
        dx, features, embedding = model(_pixels(images[start : start + batch_size], device))
        parts.append((dx.softmax(1), features.sigmoid(), embedding))
    return {
        name: torch.cat(part).float().cpu().numpy()
        for name, part in zip(("p", "features", "embedding"), zip(*parts, strict=True), strict=True)
    }


def save(model: Classifier, folder: Path) -> None:
    """Writes model.safetensors and classifier.json into a folder (made where missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"backbone": model.backbone, "n_features": model.n_features, "classes": DX}
    (folder / "classifier.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)


def load(folder: Path, device: torch.device) -> Classifier:
    """A saved classifier, ready to predict; nothing is downloaded. Raises FileNotFoundError naming the folder."""
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(f"{folder} holds no classifier ({WEIGHTS} and classifier.json)")
    config = json.loads((folder / "classifier.json").read_text())
    model = Classifier(config["backbone"], config["n_features"], pretrained=False)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.to(device).eval()


def epochs(n: int, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Batches in which each of n images comes once before any comes twice: indices (steps, batch_size)."""
    rng = np.random.default_rng(seed)
    needed = steps * batch_size
    orders = [rng.permutation(n) for _ in range(-(-needed // n))]
    return np.concatenate(orders)[:needed].reshape(steps, batch_size)


def balanced(labels: np.ndarray, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Batches in which each class is equally frequent: indices (steps, batch_size). See `images_of_classes`."""
    classes = np.unique(labels)
    classes_of_places = classes[epochs(len(classes), steps, batch_size, derive(seed, "classes"))]
    return images_of_classes(labels, classes_of_places, derive(seed, "images"))


def images_of_classes(labels: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """An image of each of the classes, of a class each image once before any twice: indices shaped as `classes`.

    labels (n,), classes (any shape): indices into `vocabulary.DX`. Raises ValueError for a class without images.
    """
    images = np.empty(classes.shape, int)
    for k in np.unique(classes):
        rows, places = np.flatnonzero(labels == k), classes == k
        if not len(rows):
            raise ValueError(f"a batch needs images of class {DX[k]}, but none of the labels is {DX[k]}")
        images[places] = rows[epochs(len(rows), 1, int(places.sum()), derive(seed, int(k)))[0]]
    return images


def augment(pixels: torch.Tensor, seed: int) -> torch.Tensor:
    """Random orientation (one of the square's eight) and colour scaling of each of (b, 3, s, s) in 0..1."""
    rng = generator(seed)
    flips = torch.rand(3, len(pixels), 1, 1, 1, generator=rng) < 0.5
    gains = 1 + JITTER * (2 * torch.rand(2, len(pixels), 3, 1, 1, generator=rng) - 1)
    flips, gains = flips.to(pixels.device), gains.to(pixels.device)
    for flip, turned in zip(flips, (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT), strict=True):
        pixels = torch.where(flip, turned(pixels), pixels)
    return (pixels * gains[0] * gains[1, :, :1]).clamp(0, 1)


WEIGHTS = "model.safetensors"


def _pixels(images: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255


def _masked_bce(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    known = targets.isfinite()
    loss = F.binary_cross_entropy_with_logits(logits, targets.nan_to_num(), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)])
        self.skip = nn.Identity() if inner == outer and stride == 1 else nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(inside)) + self.skip(x))


def _tiny_resnet() -> nn.Module:
    """He et al. 2016 at a fortieth of ResNet-18's size: a stem that quarters the sides, two stages of one block."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 7, 4, 3, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        _Residual(32, 64, 2),
        _Residual(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def _torchvision(name: str, weights: str) -> tuple[nn.Module, int, int]:
    """A torchvision classifier without its last layer, the width that layer saw and the pixels the model expects."""
    if name not in torchvision.models.list_models(torchvision.models):
        raise ValueError(f"no backbone {name!r}: write tiny_resnet or a torchvision classifier such as resnet18")
    model = torchvision.models.get_model(name, weights=weights or None)
    last, layer = [(path, part) for path, part in model.named_modules() if isinstance(part, nn.Linear)][-1]
    model.set_submodule(last, nn.Identity())
    side = torchvision.models.get_model_weights(name)[weights].transforms().crop_size[0] if weights else 224
    return model, layer.in_features, side
