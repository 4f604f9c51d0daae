"""The parameters of 07_readers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from p2d_lib.parameters import server
from p2d_lib.parameters.fidelity import ExtractorName
from p2d_lib.parameters.types import ClipName, Distinct, LearningRate, Notebook, ShareBelow1, ShareFrom0To1, Weights

VLM_STEPS = (
    "brought into transformers' layout where it is a LLaVA-Med, read as it comes, fitted on train (LoRA), read again"
)


class Readers(Notebook):
    HEADINGS: ClassVar = {
        "n_images": "The reader study",
        "margin": "What people's answers are tested for",
        "detector_extractor": "The detector of synthetic images",
        "vlm_model": "Vision-language models",
        "vlm_lora_rank": "Its LoRA, fitted on train",
        "clip_models": "Other readers of the same images",
    }
    BY_MODEL: ClassVar = (
        "vlm_max_new_tokens", "vlm_read_at_once", "vlm_lora_rank", "vlm_lora_alpha", "vlm_epochs", "vlm_learning_rate",
        "vlm_batch_size", "vlm_at_once", "vlm_mirrored", "clip_models",
    )  # fmt: skip

    n_images: Annotated[int, Field(ge=14, multiple_of=14)] = Field(
        140, description="Images of the study, half of them synthetic; a multiple of 14 (7 classes, 2 kinds)."
    )
    n_readers: PositiveInt = Field(3, description="People who may read it; each has an order of the images.")
    n_repeated: Annotated[int, Field(ge=0, multiple_of=2)] = Field(
        14, description="Images that each reader sees twice, for agreement within a reader."
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

    detector_extractor: ExtractorName = Field(
        "efficientnet_lite0", description="Independent network whose features it reads, as the first of 05."
    )

    vlm_model: Annotated[str, Weights(use=VLM_STEPS)] = Field(
        "tiny",
        description='Hub id, id@revision or folder of an image-text-to-text model; "tiny": made here; "": none.',
    )
    vlm_four_bit: bool = Field(
        False, description="Weights of 4 bits in the language model, for a small GPU (bitsandbytes; docs/HOWTO.md)."
    )
    vlm_max_new_tokens: PositiveInt = Field(6, description="Longest answer in words, in tokens.")
    vlm_read_at_once: PositiveInt = Field(64, description="Images that it reads at a time.")
    vlm_likelihood: Literal["sum", "per token", "minus prior"] = Field(
        "sum", description="How the likelihoods of the seven diagnoses are compared."
    )
    vlm_letters: bool = Field(
        True, description="Ask about the test images with lettered options too, in all seven rotations of them."
    )
    vlm_base_steps: PositiveInt = Field(150, description="Steps in which the tiny model's vision tower learns to see.")
    vlm_base_epochs: PositiveFloat = Field(
        1.5, description="Passes over train in which the tiny model learns to write."
    )

    vlm_lora_rank: PositiveInt = Field(16, description="Rank of the LoRA layers.")
    vlm_lora_alpha: PositiveInt = Field(32, description="LoRA's alpha; the layers are scaled by alpha / rank.")
    vlm_lora_dropout: ShareBelow1 = Field(0.05, description="Dropout in the LoRA layers.")
    vlm_epochs: PositiveFloat = Field(2.0, description="Passes over train.")
    vlm_learning_rate: LearningRate = Field(0.003, description="Peak learning rate.")
    vlm_batch_size: PositiveInt = Field(16, description="Images that a step learns from, over all GPUs.")
    vlm_at_once: PositiveInt = Field(16, description="Of them, images on one GPU at a time.")
    vlm_mirrored: bool = Field(True, description="Train images are mirrored by chance (published: they are not).")

    clip_models: Annotated[list[ClipName], Field(min_length=1), Distinct] = Field(
        ["alignment"],
        description='Zero-shot CLIPs: names that open_clip loads; "alignment": the alignment model of 03.',
    )
    api_model: server.ApiModel
    api_allow_upload: server.ApiAllowUpload
    api_usd_per_million: server.ApiUsdPerMillion
    api_max_cost: server.ApiMaxCost
    api_concurrency: server.ApiConcurrency
    api_max_tokens: server.ApiMaxTokens
    api_timeout: server.ApiTimeout

    @model_validator(mode="after")
    def _fit_together(self):
        if self.vlm_batch_size % self.vlm_at_once:
            raise ValueError(
                f"vlm_at_once: {self.vlm_at_once}: write a number that divides vlm_batch_size, {self.vlm_batch_size}"
            )
        if self.detector_extractor == "scout":
            raise ValueError("detector_extractor: 'scout': write an independent network; the scout stands beside it")
        server.check_ceiling(self.api_max_cost, self.api_usd_per_million)
        return self
