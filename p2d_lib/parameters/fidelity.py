"""The parameters of 05_fidelity."""

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, PositiveInt

from p2d_lib.parameters.types import Distinct, Notebook, Weights
from p2d_lib.suggest import did_you_mean

EXTRACTORS = (
    *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
    *("inception", "dinov2_vitl14", "dermlip", "panderm", "scout"),
)


def _extractor(name: str) -> str:
    if name not in EXTRACTORS and not re.fullmatch("clip:.+", name):
        known = ", ".join(EXTRACTORS)
        raise ValueError(
            f"no extractor {name!r}{did_you_mean(name, EXTRACTORS)}; there are {known} and clip:ID with a "
            "model of open_clip, such as clip:timm/vit_large_patch14_clip_336.openai"
        )
    return name


def _named_apart(names: list[str]) -> list[str]:
    """Refuses two extractors that tables and figures would show under one name: the last part of a folder or id."""
    shown = {}
    for name in (name for name in names if name.startswith("clip:")):
        first = shown.setdefault(name.rsplit("/", 1)[-1].removeprefix("clip:"), name)
        if first != name:
            raise ValueError(f"{first} and {name} would have one name in tables: rename a folder, or leave one out")
    return names


ExtractorName = Annotated[str, AfterValidator(_extractor), Weights(before="clip:", of_open_clip=True)]


class Fidelity(Notebook):
    BY_MODEL: ClassVar = ("extractors",)

    extractors: Annotated[list[ExtractorName], Field(min_length=1), Distinct, AfterValidator(_named_apart)] = Field(
        ["efficientnet_lite0", "scout"],
        description="Networks whose features are compared; verdicts come from the first one.",
    )
    min_n: PositiveInt = Field(10, description='Images of a class; a smaller class is printed as "n too small".')
