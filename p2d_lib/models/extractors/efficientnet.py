"""The features of EfficientNet-Lite with ImageNet weights: independent of any run."""

from pathlib import Path

import numpy as np
import torch
from timm.layers import BatchNormAct2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from p2d_lib.files import sha256
from p2d_lib.models import discriminator
from p2d_lib.models.efficientnet_lite import SIDES, build, weights
from p2d_lib.models.extractors.kind import ANTIALIASED, Kind, Loaded, resized, softmax

NOTES = {
    discriminator.NETWORK: "ImageNet weights; the decoder of the tiny base is fitted against its features, so it is no "
    "independent judge of such images"
}


def pixels(images: np.ndarray, side: int) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> (n, 3, side, side), (x - 127) / 128 as in training."""
    return (resized(images, side) - 127) / 128


def kind(name: str, folder: Path | None = None) -> Kind:
    """A key of SIDES; its features are the 1,280 numbers before its last layer. folder: not used."""
    return Kind(
        title=f"EfficientNet-{name.removeprefix('efficientnet_').capitalize()}",
        note=NOTES.get(name, "ImageNet weights; it has never seen an image of this project"),
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
