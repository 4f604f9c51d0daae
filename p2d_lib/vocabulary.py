"""What can be stated of a dermoscopic image: diagnoses, dermoscopic features, body sites, skin tones.

Diagnoses and their long tail: HAM10000 (Tschandl, Rosendahl, Kittler, Sci Data 2018, doi:10.1038/sdata.2018.161).
Features: the 22 scores that the original prompt2derm asked a multimodal LLM for, each in 0..1
(0 = absent or lightest, 1 = marked or darkest).
Codes: vocabulary_codes.csv, beside this file, each with the public file that states it.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

DX = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
DX_NAMES = {
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
HAM10000_LESIONS = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}
MALIGNANT = ("akiec", "bcc", "mel")

SITES = (
    "abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity",
    "neck", "scalp", "trunk", "unknown", "upper extremity",
)  # fmt: skip
SEXES = ("female", "male", "unknown")
DX_TYPES = ("histo", "follow_up", "consensus", "confocal", "unknown")


@dataclass(frozen=True)
class Feature:
    """One scored feature of a dermoscopic image."""

    name: str  # column name
    field: str  # what the original prompt2derm calls it in its JSON replies
    kind: str  # structure | colour | shape | skin | artefact
    phrase: str  # the words of a prompt for it, where it is present

    @property
    def title(self) -> str:
        """Its name for people: the phrase; of the skin tone that is only one of six."""
        return "skin tone" if self.name == "background_skin_tone" else self.phrase


_FEATURES = (
    Feature("atypical_pigment_network", "atypical_pigment_network", "structure", "atypical pigment network"),
    Feature("blue_whitish_veil", "blue_whitish_veil", "structure", "blue-whitish veil"),
    Feature("atypical_vascular_pattern", "atypical_vascular_pattern", "structure", "atypical vessels"),
    Feature("irregular_dots_globules", "irregular_dots_globules", "structure", "irregular dots and globules"),
    Feature("irregular_streaks", "irregular_streaks", "structure", "irregular streaks"),
    Feature("irregular_blotches", "irregular_blotches", "structure", "irregular blotches"),
    Feature("regression_structures", "regression_structures", "structure", "regression structures"),
    Feature("asymmetry", "Asymmetry", "shape", "asymmetric shape"),
    Feature("border_irregularity", "Border Irregularity", "shape", "irregular border"),
    Feature("light_brown", "light_brown", "colour", "light brown"),
    Feature("dark_brown", "dark_brown", "colour", "dark brown"),
    Feature("black", "black", "colour", "black"),
    Feature("red", "red", "colour", "red"),
    Feature("white", "white", "colour", "white"),
    Feature("color_variation", "Color Variation", "colour", "varied colors"),
    Feature("lesion_shape_multicomponent", "lesion_shape_multicomponent", "shape", "multicomponent pattern"),
    Feature("evolving", "Evolving", "shape", "evolving"),
    Feature("background_skin_contrast", "background_skin_contrast", "skin", "high contrast to the skin"),
    Feature("background_skin_tone", "background_skin_tone", "skin", "dark skin"),
    Feature("hair_amount", "hair_amount", "artefact", "hair"),
    Feature("ruler_presence", "ruler_presence", "artefact", "ruler"),
    Feature("ink_markings", "ink_markings", "artefact", "ink markings"),
)
FEATURES = {feature.name: feature for feature in _FEATURES}
FEATURE_GROUPS = {  # the headings of a form, and the kinds of features below each
    "Structures": ("structure",),
    "Shape": ("shape",),
    "Colors": ("colour",),
    "Skin and what lies on it": ("skin", "artefact"),
}


class _About(BaseModel):
    """Whose lesion it is and where; None and "unknown" mean that it is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dx: Literal[DX] | None = None
    localization: Literal[SITES] = "unknown"
    age: Annotated[float, Field(ge=0, le=120)] | None = None  # years
    sex: Literal[SEXES] = "unknown"


_SCORE = Annotated[float, Field(ge=0, le=1)] | None
Lesion = create_model("Lesion", __base__=_About, **{name: (_SCORE, None) for name in FEATURES})
Lesion.__doc__ = (
    "What can be stated of one image, typed: dx, site, age, sex and the features' scores in 0..1; None: unknown."
)


@dataclass(frozen=True)
class Code:
    """What a concept is called in UMLS and SNOMED CT; "" where no code was found, and `note` says so."""

    concept: str  # a dx, a feature, a site, a sex, a Fitzpatrick type (I to VI)
    kind: str  # dx | feature | site | sex | fitzpatrick
    umls_cui: str
    snomed_ct: str
    source: str  # what states the codes
    note: str  # how far the code's meaning is from the concept's, where it is not the same


@cache
def codes() -> dict[tuple[str, str], Code]:
    """The codes of every concept, by (kind, concept): "unknown" is a site and a sex."""
    with Path(__file__).with_name("vocabulary_codes.csv").open(encoding="utf-8", newline="") as table:
        return {(row["kind"], row["concept"]): Code(**row) for row in csv.DictReader(table)}
