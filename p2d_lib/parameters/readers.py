"""The parameters of 07_readers."""

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from p2d_lib.parameters.types import Notebook, ShareFrom0To1


class Readers(Notebook):
    HEADINGS: ClassVar = {
        "n_images": "The reader study",
        "margin": "What people's answers are tested for",
    }

    n_images: Annotated[int, Field(ge=14, multiple_of=14)] = Field(
        140, description="Images of the study, half of them synthetic; a multiple of 14 (7 classes, 2 kinds)."
    )
    n_readers: PositiveInt = Field(3, description="People who may read it; each has an order of the images.")
    n_repeated: Annotated[int, Field(ge=0, multiple_of=2)] = Field(
        14, description="Images that each reader sees twice, for the agreement with himself."
    )
    blocks: PositiveInt = Field(
        1, description="Blocks of images of which a reader sees one; 1: every reader sees all images."
    )
    shared: ShareFrom0To1 = Field(0.5, description="Share of the images that all readers see, where there are blocks.")
    realism_scale: bool = Field(
        False, description='Ask how real an image looks (1 to 7) in place of "real or synthetic?" and the confidence.'
    )
    sheets: str = Field(
        "", description='Folder of filled sheets; "": study_filled of the run, else the shipped example.'
    )
    published: str = Field(
        "", description='The published readings of the ISIC 2018 test images by people (.csv); "": none.'
    )

    margin: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.1, description="Difference from chance, or between real and synthetic images, that would not matter."
    )
    area: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.65, description="Area under the ROC curve whose discovery the power figure is about."
    )
    power_replicates: PositiveInt = Field(50, description="Simulated studies for each point of the power figure.")
