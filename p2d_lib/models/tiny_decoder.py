"""The convolutional part of the tiny base's decoder: what it adds to the linear reconstruction of each patch."""

import torch
from torch import nn


class Block(nn.Module):
    """Two 3 x 3 convolutions whose result is added to their input (He et al., CVPR 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.SiLU(), _convolution(channels, channels), nn.SiLU(), _convolution(channels, channels)
        )
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.body(maps)


class Details(nn.Sequential):
    """Latents (n, c, h, w) -> what a linear decoder of patches misses: (n, 3, patch * h, patch * w), zero at first.

    Patches see their neighbours, so lines go on from one to the next. Each level doubles the side (pixel shuffle: Shi
    et al., CVPR 2016). width: channels at the side of the latents; half as many at each finer level. blocks: at each
    level, of which there are log2(patch) + 1. Borders are padded with their own values: zeros would darken them.
    """

    def __init__(self, latent_channels: int, width: int, blocks: tuple[int, ...]):
        layers = [_convolution(latent_channels, width)]
        for level, number in enumerate(blocks):
            if level:
                layers += [nn.SiLU(), _convolution(width, 2 * width), nn.PixelShuffle(2)]
                width //= 2
            layers += [Block(width) for _ in range(number)]
        last = _convolution(width, 3)
        nn.init.zeros_(last.weight)
        super().__init__(*layers, nn.SiLU(), last)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")
    nn.init.zeros_(convolution.bias)
    return convolution
