"""The parameters of 06_classify."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from p2d_lib.generators import GENERATORS
from p2d_lib.parameters.prep import SOURCES
from p2d_lib.parameters.sample import GuidanceScale
from p2d_lib.parameters.types import Distinct, Fraction, LearningRate, Notebook, ShareBelow1
from p2d_lib.suggest import did_you_mean
from p2d_lib.words.render import TEMPLATES

ARMS = ("real", "real+replay", "real+classical", "synthetic", "mixed", "pretrain", "curriculum", "published")
REPLAY = "real+replay"
WITH_RATIO, WITH_SELECTION = (REPLAY, "mixed", "pretrain", "curriculum"), ("synthetic", "mixed", "pretrain")
PROMPT_DESCRIBERS = ("captioner", "vlm", "api", "file", "measured", "truth")  # the last two are the template's
REWRITTEN, GUIDANCE, SKIN_TONES = "rewritten", "guidance-", "skin-tones"  # see `classify.variants`
CLASS_NAME = "class-name"
SELECTIONS = (*GENERATORS, *PROMPT_DESCRIBERS, *TEMPLATES, REWRITTEN, CLASS_NAME, SKIN_TONES)  # and guidance-SCALE
PROMPT_SOURCES = (CLASS_NAME, "random", *PROMPT_DESCRIBERS, "sentence", REWRITTEN)
LAYOUT_FILES = (".yaml", ".yml")
PHANTOM, CAMERAS = SOURCES[0], ("clinic", "atlas", "both")


def arm_parts(name: str) -> tuple[str, str, float | None]:
    """Kind, selection ("": the adapter's images as 04 sampled them) and ratio (None: none is named) of an arm:
    "mixed:sentence@0.5x". What can be selected says `classify.image_sets`; of REPLAY nothing but SKIN_TONES can.
    guidance-2.0 is guidance-2.

    Raises ValueError for another name or scale, and for a selection or a ratio of an arm that has none.
    """
    kind, selection, ratio = re.fullmatch(r"([^:@]*)(?::([\w.-]+))?(?:@(\d*\.?\d+)x)?|.*", name).groups(default="")
    if kind not in ARMS:
        raise ValueError(f"no arm {name!r}; there are {', '.join(ARMS)}, with a ratio mixed@0.5x, of other images "
                         "mixed:base, mixed:captioner, mixed:class-name, mixed:sentence, mixed:guidance-2")  # fmt: skip
    if ratio and (kind not in WITH_RATIO or float(ratio) == 0):
        raise ValueError(f"arm {name!r}: a ratio above 0 of synthetic to real images have {', '.join(WITH_RATIO)} only")
    if selection and kind not in WITH_SELECTION and (kind, selection) != (REPLAY, SKIN_TONES):
        raise ValueError(f"arm {name!r}: other synthetic images can be named for {', '.join(WITH_SELECTION)} only, "
                         f"and what is replayed as {REPLAY}:{SKIN_TONES} only")  # fmt: skip
    if selection.startswith(GUIDANCE):
        selection = f"{GUIDANCE}{guidance_scale(selection):g}"
    return kind, selection, float(ratio) if ratio else None


def guidance_scale(selection: str) -> float:
    """The scale of guidance-2 or guidance-3.5. Raises ValueError for any other text."""
    try:
        scale = float(selection.removeprefix(GUIDANCE))
    except ValueError:
        scale = -1.0
    if not 0 <= scale <= 30:
        raise ValueError(f"{selection!r}: write {GUIDANCE}2 or {GUIDANCE}3.5, with a guidance scale from 0 to 30")
    return scale


def _arm(name: str) -> str:
    """An arm that a user may name: its synthetic images are some that a run can have."""
    selection = arm_parts(name)[1]
    if selection and selection not in SELECTIONS and not selection.startswith(GUIDANCE):
        raise ValueError(
            f"arm {name!r}: no synthetic images are called {selection!r}{did_you_mean(selection, SELECTIONS)}; there "
            f"are {', '.join(SELECTIONS)} and {GUIDANCE}2 (any scale)"
        )
    return name


def share_of(arm: str, share: float) -> float:
    """Of a batch, the second part (0..1; see `classify.arms`): r / (1 + r) where the arm's name has a ratio r of
    synthetic to real images, all of a batch of `synthetic`, else the share that is given."""
    kind, _, ratio = arm_parts(arm)
    if kind == "synthetic":
        return 1.0
    return share if ratio is None else ratio / (1 + ratio)


def second_part(arm: str, share: float, batch_size: int) -> int:
    """Images in the second part of a batch (see `classify.arms`). Raises ValueError where one of the parts is empty.

    share: of the second part, where the arm's name has no ratio.
    """
    share = share_of(arm, share)
    n = round(share * batch_size)
    if arm_parts(arm)[0] != "synthetic" and not 0 < n < batch_size:
        raise ValueError(
            f"arm {arm!r}: a batch of {batch_size} images is too small for a share of {share:.3f}; raise batch_size, "
            "or take the arm out"
        )
    return n


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


def _named_apart(entries: list[str]) -> list[str]:
    """Refuses two external sets that tables would show under one name, the last part of the folder."""
    shown = {}
    for entry in entries:
        first = shown.setdefault(Path(entry).name, entry)
        if first != entry:
            raise ValueError(f"{first} and {entry} would have one name in tables: rename a folder, or leave one out")
    return entries


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

    external: Annotated[list[Annotated[str, AfterValidator(_external)]], Distinct, AfterValidator(_named_apart)] = (
        Field(
            ["phantom=atlas"],
            description="Folders in HAM10000's layout, LAYOUT=FOLDER (isic2019=/data/isic), or phantom=CAMERA.",
        )
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
        description="Whose words are tried.",
    )
    prompts_per_class: PositiveInt = Field(8, description="Train cases of each class that each of them words.")

    @model_validator(mode="after")
    def _arms_differ_and_have_both_parts(self):
        contents = {}
        for arm in self.arms:
            kind, selection, _ = arm_parts(arm)
            content = kind, selection or GENERATORS[0], share_of(arm, self.synthetic_share)
            if (first := contents.setdefault(content, arm)) != arm:
                raise ValueError(f"arms: {first} and {arm} are the same arm: take one of them out")
            if kind != "published":  # whose batches have one part
                try:
                    second_part(arm, self.synthetic_share, self.batch_size)
                except ValueError as error:
                    raise ValueError(f"arms: {error}") from None
        return self
