"""The parameters of 01_prep."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveInt

from p2d_lib.parameters.types import Fraction, Notebook, ShareFrom0To1
from p2d_lib.suggest import did_you_mean

SOURCES = ("phantom", "ham10000", "ham10000_test", "isic2019", "pad_ufes_20", "fitzpatrick17k", "ph2")


def _source(name: str) -> str:
    if name not in SOURCES and not name.endswith((".yaml", ".yml")):
        hint = did_you_mean(name, SOURCES)
        raise ValueError(f"no such source{hint}; there are {', '.join(SOURCES)}, or your own layout file (.yaml)")
    return name


class Prep(Notebook):
    HEADINGS: ClassVar = {
        "source": "The raw set",
        "n_images": "The phantom, where it is the raw set",
        "image_size": "Resizing and splitting",
    }

    source: Annotated[str, AfterValidator(_source)] = Field(
        "phantom",
        description="phantom, ham10000, ham10000_test, isic2019, pad_ufes_20, fitzpatrick17k, ph2, or a layout file.",
    )
    data: str = Field(
        "", description='Folder of the raw set. "" takes the variable P2D_HAM10000 (source ham10000 only).'
    )
    on_bad: Literal["fail", "quarantine"] = Field(
        "fail", description="Unusable rows and files stop the run, or they are listed and left out."
    )
    min_entropy: Annotated[float, Field(ge=0, le=8)] = Field(
        0.0, description="Bits of the grey histogram; train images below this entropy are left out."
    )

    n_images: PositiveInt = Field(1400, description="Number of images.")
    tail: ShareFrom0To1 = Field(
        0.5, description="Class counts follow HAM10000's counts ** tail: 1 is as long-tailed, 0 is balanced."
    )
    camera: Literal["clinic", "atlas", "both"] = Field("clinic", description="Optics and image quality.")
    tone_effect: ShareFrom0To1 = Field(0.0, description="Share of melanomas that are moved to dark skin.")
    dark_skin: ShareFrom0To1 = Field(0.0, description="Share of all lesions that are moved to dark skin.")
    dark_melanomas_to_test: ShareFrom0To1 = Field(
        0.0,
        description="Share of the dark-skin melanomas of train that move to test, so that train under-represents them.",
    )
    plants: dict[Literal["duplicated_lesions", "near_duplicates", "mislabelled", "blurred", "empty"], PositiveInt] = (
        Field({}, description="Faults to plant, kind: number; the audit must find them.")
    )

    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=8)] = Field(
        64, description="Side of the resized squares, px."
    )
    test_size: Fraction = Field(0.2, description="Share of lesions in the test split.")
    val_size: Fraction = Field(1 / 9, description="Share of the remaining lesions in the val split.")
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        42, description="Seed of the split; 0.2, 1/9 and 42 reproduce HAM10000's published split."
    )
