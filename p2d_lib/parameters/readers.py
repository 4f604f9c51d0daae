"""The parameters of 07_readers."""

from typing import Annotated

from pydantic import Field

from p2d_lib.parameters.types import Notebook


class Readers(Notebook):
    n_images: Annotated[int, Field(ge=14, multiple_of=14)] = Field(
        140, description="Images of the study, half of them synthetic; a multiple of 14 (7 classes, 2 kinds)."
    )
    sheets: str = Field(
        "", description='Folder of filled sheets; "": study_filled of the run, else the shipped example.'
    )
