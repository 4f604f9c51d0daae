"""Backbones by name: each is what its name says, and what no name says is refused with a hint."""

import pytest
import torch
import torchvision

from p2d_lib.models import classifiers
from p2d_lib.models.classifier_backbones import backbone
from p2d_lib.models.extractors import efficientnet


@pytest.mark.parametrize(
    ("name", "dim", "side"),
    [
        ("tiny_resnet", 128, None),
        ("three_conv", 128, None),
        ("resnet18", 512, 224),
        ("efficientnet_lite0", 1280, 224),
        ("timm/resnet10t", 512, 176),
    ],
)
def test_each_kind_of_name_builds_a_body_that_gives_an_embedding(name, dim, side):
    built = backbone(name)
    assert (built.dim, built.side) == (dim, side)
    assert built.body.eval()(torch.rand(2, 3, 64, 64)).shape == (2, dim)


def test_efficientnet_with_weights_embeds_as_the_independent_eye_does_and_without_them_does_not():
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    images = (pixels * 255).round().byte().permute(0, 2, 3, 1).numpy()
    reference = efficientnet.kind("efficientnet_lite0").load(torch.device("cpu")).embed(images)
    for name, equal in (("efficientnet_lite0:IMAGENET1K", True), ("efficientnet_lite0", False)):
        model = classifiers.build(name).eval()
        with torch.inference_mode():
            embedding = model((pixels * 255).round() / 255)[2]
        assert torch.allclose(embedding, torch.from_numpy(reference), atol=1e-3) == equal


def test_three_conv_has_three_convolutions():
    body = backbone("three_conv").body
    assert sum(isinstance(part, torch.nn.Conv2d) for part in body.modules()) == 3


def test_a_side_of_its_own_replaces_that_of_the_weights():
    model, shapes = classifiers.build("resnet18", side=96), []
    model.body.register_forward_pre_hook(lambda _, arguments: shapes.append(arguments[0].shape[-1]))
    model.eval()(torch.rand(1, 3, 64, 64))
    assert shapes == [96]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", r"no backbone 'resnet19'[;:] did you mean"),
        ("resnet18:IMAGENET", "resnet18 has no weights 'IMAGENET'; there are IMAGENET1K_V1"),
        ("tiny_resnet:IMAGENET1K_V1", "tiny_resnet has no weights 'IMAGENET1K_V1'; there are none"),
        (
            "efficientnet_lite7:IMAGENET1K",
            "no backbone 'efficientnet_lite7:IMAGENET1K'; of its kind there are efficientnet_lite0",
        ),
        ("timm/resnet19", r"timm has no network 'resnet19'[;:] did you mean"),
        ("timm/resnet18:a9_in1k", "resnet18 has no weights 'a9_in1k'; there are a"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_what_there_is(name, message):
    with pytest.raises(ValueError, match=message):
        backbone(name)


def test_geometry_alone_needs_no_weights(monkeypatch):
    def fails(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(efficientnet, "build", fails)
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", fails)
    for name in ("efficientnet_lite0:IMAGENET1K", "resnet18:IMAGENET1K_V1"):
        backbone(name, pretrained=False)
