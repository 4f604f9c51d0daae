"""The parameters of 06_classify."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from p2d_lib.parameters.prep import SOURCES
from p2d_lib.parameters.sample import GuidanceScale
from p2d_lib.parameters.types import Distinct, Fraction, LearningRate, Notebook, ShareBelow1
from p2d_lib.suggest import did_you_mean

ARMS = ("real", "real+replay", "real+classical", "synthetic", "mixed", "pretrain", "curriculum", "published")
WITH_RATIO, WITH_SELECTION = ("real+replay", "mixed", "pretrain", "curriculum"), ("synthetic", "mixed", "pretrain")
PROMPT_DESCRIBERS = ("captioner", "vlm", "api", "measured", "truth")  # the last two are the template's
PROMPT_SOURCES = ("class-name", "random", *PROMPT_DESCRIBERS, "sentence", "rewritten")
LAYOUT_FILES = (".yaml", ".yml")
PHANTOM, CAMERAS = SOURCES[0], ("clinic", "atlas", "both")


def arm_parts(name: str) -> tuple[str, str, float | None]:
    """Kind, selection ("": the adapter's images as 04 sampled them) and ratio (None: none is named) of an arm:
    "mixed:sentence@0.5x". What can be selected says `classify.image_sets`.

    Raises ValueError for another name, and for a selection or a ratio of an arm that has none.
    """
    kind, selection, ratio = re.fullmatch(r"([^:@]*)(?::([\w.-]+))?(?:@(\d*\.?\d+)x)?|.*", name).groups(default="")
    if kind not in ARMS:
        raise ValueError(f"no arm {name!r}; there are {', '.join(ARMS)}, with a ratio mixed@0.5x, of other images "
                         "mixed:base, mixed:captioner, mixed:sentence, mixed:skin-tones, mixed:guidance-2")  # fmt: skip
    if ratio and (kind not in WITH_RATIO or float(ratio) == 0):
        raise ValueError(f"arm {name!r}: a ratio above 0 of synthetic to real images have {', '.join(WITH_RATIO)} only")
    if selection and kind not in WITH_SELECTION:
        raise ValueError(f"arm {name!r}: other synthetic images can be named for {', '.join(WITH_SELECTION)} only")
    return kind, selection, float(ratio) if ratio else None


def _arm(name: str) -> str:
    arm_parts(name)
    return name


def external_parts(entry: str) -> tuple[str, str]:
    """The layout ("": none is named) and the folder, or camera, of an entry of `external`. A folder may hold a "="."""
    layout, is_named, folder = entry.partition("=")
    layout = layout.strip()
    if not is_named or ("/" in layout and not layout.endswith(LAYOUT_FILES)):
        return "", entry.strip()
    return layout, folder.strip()


def _external(entry: str) -> str:
    layout, folder = external_parts(entry)
    if layout == PHANTOM:
        if folder not in CAMERAS:
            raise ValueError(f"{entry!r}: the phantom has no camera {folder!r}; there are {', '.join(CAMERAS)}")
        return entry
    if layout and layout not in SOURCES[1:] and not layout.endswith(LAYOUT_FILES):
        near = did_you_mean(layout, SOURCES[1:])
        raise ValueError(f"{entry!r}: no layout {layout!r}{near}; write LAYOUT=FOLDER, with one of "
                         f"{', '.join(SOURCES[1:])} or your own layout file (.yaml)")  # fmt: skip
    if not folder:
        raise ValueError(f"{entry!r} names no folder; write FOLDER or LAYOUT=FOLDER")
    return entry


class Classify(Notebook):
    HEADINGS: ClassVar = {
        "arms": "Which arms are compared",
        "external": "Where else they are tested",
        "backbone": "The network",
        "steps": "The budget, equal for all arms",
        "guidance_sweep": "Which guidance makes the best training images",
        "recipe_steps": "Dropout and class weights, and the study of pooled images",
        "prompt_sources": "What a wrong description costs",
    }
    BY_MODEL: ClassVar = ("backbone", "steps", "batch_size", "optimizer", "learning_rate")

    arms: Annotated[list[Annotated[str, AfterValidator(_arm)]], Field(min_length=2), Distinct] = Field(
        ["real", "real+replay", "synthetic", "mixed", "pretrain", "published"],
        description="Arms of real, real+replay, real+classical, synthetic, mixed, pretrain, curriculum, published.",
    )
    seeds: Annotated[int, Field(ge=2)] = Field(3, description="Paired trainings of each arm.")
    synthetic_share: Fraction = Field(
        0.5, description="Share of synthetic (or replayed) images in arms that name no ratio; 0.5 is a ratio of 1."
    )
    curriculum_rounds: Annotated[int, Field(ge=2)] = Field(
        3, description="Parts of a training of the arm curriculum; after each, new images follow the errors on val."
    )

    external: Annotated[list[Annotated[str, AfterValidator(_external)]], Distinct] = Field(
        ["phantom=atlas"],
        description="Folders in HAM10000's layout, LAYOUT=FOLDER (isic2019=/data/isic), or phantom=CAMERA.",
    )
    external_images: PositiveInt = Field(150, description="Images of a phantom external set.")
    planted_overlap: NonNegativeInt = Field(
        3, description="Altered train images put into a phantom external set; the check for overlap must find them."
    )

    backbone: str = Field(
        "tiny_resnet",
        description="tiny_resnet, three_conv, or a network and its weights: efficientnet_lite0:IMAGENET1K.",
    )
    input_size: NonNegativeInt = Field(0, description="Side to which the network resizes images, px; 0: its own.")
    dropout: ShareBelow1 = Field(0.0, description="Dropout before the last layer.")
    test_time_flips: bool = Field(False, description="Average the readings of an image and its three mirror images.")

    steps: PositiveInt = Field(170, description="Optimiser steps.")
    batch_size: PositiveInt = Field(32, description="Images per step.")
    optimizer: Literal["adamw", "adam"] = Field(
        "adamw", description="AdamW with weight decay and a one-cycle rate, or Adam with a constant rate."
    )
    learning_rate: LearningRate = Field(0.002, description="Learning rate; with adamw its peak.")
    class_weights: Literal["none", "capped", "uncapped"] = Field(
        "none", description="Weights of classes in the loss: inverse frequencies, capped at 3 or not."
    )
    augmentation: Annotated[list[Literal["flip", "colour", "turn", "shift", "zoom"]], Distinct] = Field(
        ["flip", "colour"], description="Augmentation of training images; real+classical always has all five."
    )
    patience: NonNegativeInt = Field(
        0, description="Evaluations on val without a better macro-F1 before a training stops; 0: it never does."
    )
    evaluate_every: PositiveInt = Field(100, description="Steps between two such evaluations.")

    guidance_sweep: Annotated[list[GuidanceScale], Distinct] = Field(
        [1.0, 2.0, 5.0], description="Guidance scales at which the adapter samples training images; empty: no sweep."
    )
    guidance_arm: Literal["synthetic", "mixed"] = Field("synthetic", description="Arm that each scale is tried in.")
    guidance_per_class: PositiveInt = Field(6, description="Images per class at each scale.")
    guidance_seeds: Annotated[int, Field(ge=2)] = Field(2, description="Paired trainings at each scale.")
    guidance_steps: PositiveInt = Field(60, description="Optimiser steps of each of these trainings.")

    recipe_steps: NonNegativeInt = Field(
        20, description="Optimiser steps of each training with other dropout and class weights; 0: no such trainings."
    )
    recipe_seeds: Annotated[int, Field(ge=2)] = Field(2, description="Paired trainings of each of these six recipes.")
    study_backbone: str = Field("three_conv", description="Network of the study of pooled images (GLIDE: three_conv).")
    study_steps: NonNegativeInt = Field(40, description="Most optimiser steps of its two trainings; 0: no study.")
    study_learning_rate: LearningRate = Field(1e-3, description="Their constant learning rate.")
    study_patience: PositiveInt = Field(3, description="Evaluations without a better macro-F1 before one stops.")
    study_evaluate_every: PositiveInt = Field(10, description="Steps between two such evaluations.")

    prompt_sources: Annotated[list[Literal[*PROMPT_SOURCES]], Distinct] = Field(
        ["class-name", "random", "captioner", "measured", "truth", "sentence", "rewritten"],
        description="Whose words are compared.",
    )
    prompts_per_class: PositiveInt = Field(8, description="Train cases of each class that each of them words.")
