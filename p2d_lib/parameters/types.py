"""What the parameters of all notebooks have in common: their base class and the types that pydantic does not have."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
ShareFrom0To1 = Annotated[float, Field(ge=0, le=1)]
ShareBelow1 = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]

LARGEST = 2**63  # as numpy counts
LONGEST_TEXT = 1000  # letters: what is longer is no path and no name


def _plain(value: object) -> object:
    """A value whose texts, also those in lists, can be names and paths, and whose numbers can be counted to. Raises
    ValueError."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, int) and text >= LARGEST:
            raise ValueError(f"is too large a number; write less than {LARGEST:,}")
        if isinstance(text, str) and any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text):
            raise ValueError("holds a control character, or a letter that is not in UTF-8; write plain text")
        if isinstance(text, str) and len(text) > LONGEST_TEXT:
            raise ValueError(f"is {len(text)} letters long; write {LONGEST_TEXT} at most")
    return value


def _distinct(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("each may be named only once")
    return values


LONGEST_NAME = 100  # letters of a run's name: file systems take 255 in all, and names of files are made from it
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # what Windows takes for a device
TAKEN = ("reference", "readme.md")  # what lies in tables/ and figures/ beside the folders of runs


def folder_name(name: str) -> str:
    """The name of a run, if a folder can have it on every system. Raises ValueError, which says what is wrong."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError("write a name of letters, digits, '.', '_' and '-' that starts with a letter or digit")
    if name.endswith(".") or DEVICES.fullmatch(name) or name.lower() in TAKEN:
        raise ValueError("cannot be the name of a folder on every system, or is taken; write another name")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"is {len(name)} letters long; write {LONGEST_NAME} at most")
    return name


def _increasing(values: list) -> list:
    if not values[0] < values[1]:
        raise ValueError("the lower noise level comes first")
    return values


NoiseInterval = Annotated[
    list[Annotated[float, Field(ge=0, allow_inf_nan=True)]],
    Field(min_length=2, max_length=2),
    AfterValidator(_increasing),
]
Distinct = AfterValidator(_distinct)
"""Annotation of a list: no value twice."""


@dataclass(frozen=True)
class Weights:
    """Annotation of a parameter, or of a list's items, whose values name weights: a folder, a hub id or id@revision.

    before: what stands before either; other values are names that are known here. of_open_clip: values are names as
    open_clip takes them: a folder, "hf-hub:" and a hub id, or a model of its own list. use: what a notebook does with
    them, in the order of its steps; --dry-run prints it.
    """

    before: str = ""
    of_open_clip: bool = False
    use: str = ""


WeightsName = Annotated[str, Weights()]
ClipName = Annotated[str, Weights(of_open_clip=True)]


class Notebook(BaseModel):
    """The parameters of one notebook. Values are checked strictly (no "3" for 3) and unknown names are refused.

    A field's default is the value of the smoke profile, its description one sentence: params/smoke.yaml and the
    notebook's parameters cell are generated from both. HEADINGS: field -> the heading above it in these two. BY_MODEL:
    the fields whose good value depends on the model; smoke's was chosen for the tiny ones, so that a profile with other
    models gives its own (a test checks it for paper.yaml).
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    _plain_texts = field_validator("*")(_plain)
    HEADINGS: ClassVar[dict[str, str]] = {}
    BY_MODEL: ClassVar[tuple[str, ...]] = ()

    run: Annotated[str, AfterValidator(folder_name)] = Field(
        "smoke", description="Name of the run; its artefacts lie in data/runs/<run>."
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of the run; each image, arm and fold derives its own from it."
    )
