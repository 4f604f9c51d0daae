"""The parameters of 06_classify."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from p2d_lib.parameters.types import Distinct, Fraction, LearningRate, Notebook


class Classify(Notebook):
    HEADINGS: ClassVar = {"arms": "Which arms are compared", "backbone": "The budget, equal for all arms"}
    BY_MODEL: ClassVar = (
        "backbone",
        "steps",
        "batch_size",
        "learning_rate",
    )

    arms: Annotated[list[Literal["real", "real+replay", "synthetic", "mixed"]], Field(min_length=2), Distinct] = Field(
        ["real", "real+replay", "synthetic", "mixed"], description="Training sets of the classifiers."
    )
    seeds: Annotated[int, Field(ge=2)] = Field(3, description="Paired trainings of each arm.")
    synthetic_share: Fraction = Field(
        0.5, description="Share of each batch of real+replay and mixed that is balanced over the classes."
    )

    backbone: str = Field(
        "tiny_resnet", description="tiny_resnet, or a torchvision model and its weights: resnet18:IMAGENET1K_V1."
    )
    steps: PositiveInt = Field(250, description="Optimiser steps.")
    batch_size: PositiveInt = Field(32, description="Images per step.")
    learning_rate: LearningRate = Field(0.002, description="Peak learning rate.")
