"""The judge that a decoder is fitted against: small discriminators on features of a frozen ImageNet network.

Discriminators that read a pretrained network at several depths need few images (Sauer et al., Projected GANs Converge
Faster, arXiv:2111.01007). The network is efficientnet_lite1: efficientnet_lite0, by which 05 measures, and
efficientnet_lite2 are not used in any training.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from p2d_lib.models import efficientnet_lite

NETWORK, STAGES = "efficientnet_lite1", (0, 1, 2, 4)  # whose outputs are read
ENLARGED = 2  # times, before the network reads them: it was trained on images of 240 px
CHANNELS = (3, 16, 24, 40, 112)  # of the pixels, and of the output of each stage
WIDTHS = (16, 16, 24, 32, 48)  # of the discriminator of each


class Features(nn.Module):
    """Pixels (n, 3, s, s) in -1..1 -> a list: these pixels, and each stage's output, float (n, c, h, w)."""

    def __init__(self):
        super().__init__()
        self.network = efficientnet_lite.build(NETWORK).requires_grad_(False)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        maps = F.interpolate(pixels, scale_factor=ENLARGED, mode="bilinear", align_corners=False)
        maps = maps.contiguous(memory_format=torch.channels_last)
        maps = self.network.bn1(self.network.conv_stem(maps))
        features = [pixels]
        for place, stage in enumerate(self.network.blocks[: STAGES[-1] + 1]):
            maps = stage(maps)
            if place in STAGES:
                features.append(maps)
        return features


class Discriminator(nn.Module):
    """One head for each output of `Features`: maps of scores (n, 1, h, w), high where an image looks real."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(_head(*sizes) for sizes in zip(CHANNELS, WIDTHS, strict=True))

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        return [head(maps) for head, maps in zip(self.heads, features, strict=True)]


def _head(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(channels, width, 3, padding=1)), nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(2 * width, 1, 1)),
    )  # fmt: skip
