"""Backbones of classifiers by name: a network without its last layer, and the pixels that it expects.

    tiny_resnet                     0.3 M parameters, made for 64 px
    three_conv                      after Shavlokhova et al., Front Med 2023 (GLIDE on HAM10000)
    efficientnet_lite0:IMAGENET1K   weights from a pip package, no download; also efficientnet_lite1
    resnet18:IMAGENET1K_V1          torchvision's name and weights
    timm/convnext_tiny:in12k        timm's name and weights

Without a colon a network starts from random weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from p2d_lib.suggest import did_you_mean

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as most published weights expect
LITE = "efficientnet_lite"
LITE_WEIGHTS = "IMAGENET1K"


@dataclass(frozen=True)
class Backbone:
    """body: pixels (b, 3, h, w), normalised by mean and std, -> embedding (b, dim). side: px of the squares that its
    weights were fitted to; None: any."""

    body: nn.Module
    dim: int
    side: int | None = None
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD


def backbone(name: str, pretrained: bool = True) -> Backbone:
    """The backbone of a name as above; pretrained: False gives its geometry alone, so nothing is read or downloaded.

    Raises ValueError as `check` does.
    """
    check(name)
    network, _, weights = name.partition(":")
    if network in SMALL:
        return SMALL[network]()
    if network.startswith(LITE):
        return _efficientnet_lite(network, weights if pretrained else "")
    if network.startswith("timm/"):
        return _timm(network.removeprefix("timm/"), weights, pretrained)
    return _torchvision(network, weights, pretrained)


def check(name: str) -> None:
    """Raises ValueError, with what there is, for an unknown network or for weights that it does not have."""
    network, _, weights = name.partition(":")
    if network in SMALL:
        offered = []
    elif network.startswith(LITE):
        from p2d_lib.models import efficientnet_lite  # here, since timm takes long to import

        if network not in efficientnet_lite.SIDES:
            raise ValueError(f"no backbone {name!r}; of its kind there are {', '.join(efficientnet_lite.SIDES)}")
        offered = [LITE_WEIGHTS]
    elif network.startswith("timm/"):
        import timm

        network = network.removeprefix("timm/")
        if not timm.is_model(network):
            raise ValueError(f"timm has no network {network!r}{did_you_mean(network, timm.list_models())}")
        offered = sorted(tagged.partition(".")[2] for tagged in timm.list_pretrained(f"{network}.*"))
    else:
        known = torchvision.models.list_models(torchvision.models)
        if network not in known:
            near = did_you_mean(network, [*SMALL, f"{LITE}0", f"{LITE}1", *known])
            raise ValueError(
                f"no backbone {network!r}{near}; write tiny_resnet, efficientnet_lite0:{LITE_WEIGHTS}, a classifier of "
                "torchvision such as resnet18, or timm/NAME"
            )
        offered = list(torchvision.models.get_model_weights(network).__members__)
    if weights and weights not in offered:
        raise ValueError(f"{network} has no weights {weights!r}; there are {', '.join(offered) or 'none'}")


def _efficientnet_lite(network: str, weights: str) -> Backbone:
    import timm

    from p2d_lib.models import efficientnet_lite

    body = efficientnet_lite.build(network) if weights else timm.create_model(f"tf_{network}")
    body.reset_classifier(0)
    return Backbone(body, body.num_features, efficientnet_lite.SIDES[network], (127 / 255,) * 3, (128 / 255,) * 3)


def _timm(network: str, weights: str, pretrained: bool) -> Backbone:
    import timm

    name = f"{network}.{weights}" if weights else network
    body = timm.create_model(name, pretrained=bool(weights) and pretrained, num_classes=0)
    config = body.pretrained_cfg
    return Backbone(body, body.num_features, config["input_size"][-1], config["mean"], config["std"])


def _torchvision(network: str, weights: str, pretrained: bool) -> Backbone:
    model = torchvision.models.get_model(network, weights=weights if weights and pretrained else None)
    last, layer = [(path, part) for path, part in model.named_modules() if isinstance(part, nn.Linear)][-1]
    model.set_submodule(last, nn.Identity())
    kinds = torchvision.models.get_model_weights(network)
    side = kinds[weights].transforms().crop_size[0] if weights else 224
    return Backbone(model, layer.in_features, side)


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)])
        self.skip = nn.Identity() if inner == outer and stride == 1 else nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = F.relu_(self.norms[0](self.first(x)))  # in place: a new array costs more than the arithmetic
        return F.relu_(self.norms[1](self.second(inside)).add_(self.skip(x)))


def _tiny_resnet() -> Backbone:
    """He et al. 2016 at a fortieth of ResNet-18's size: a stem that quarters the sides, two stages of one block."""
    body = nn.Sequential(
        nn.Conv2d(3, 32, 7, 4, 3, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        _Residual(32, 64, 2),
        _Residual(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return Backbone(body, 128)


def _three_conv() -> Backbone:
    """Three convolutions with max-pooling and one hidden layer, from random weights.

    After Shavlokhova et al. (doi:10.3389/fmed.2023.1231436), who classified real and synthetic images by three
    convolutional layers; the widths here, and that sides are pooled to 4 before the hidden layer, are ours.
    """
    widths, layers = (3, 32, 64, 128), []
    for inner, outer in pairwise(widths):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(widths[-1] * 16, 128), nn.ReLU())
    return Backbone(body, 128)


SMALL: dict[str, Callable[[], Backbone]] = {"tiny_resnet": _tiny_resnet, "three_conv": _three_conv}
