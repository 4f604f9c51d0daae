"""The parameters of 04_sample."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from p2d_lib.parameters.fidelity import ExtractorName
from p2d_lib.parameters.types import NoiseInterval, Notebook, ShareBelow1

GuidanceScale = Annotated[float, Field(ge=0, le=30)]
Guidance = Annotated[GuidanceScale, Field(description="Classifier-free guidance; 1 and less: none.")]
GuidanceInterval = Annotated[NoiseInterval, Field(description="Noise levels (sigma) between which guidance acts.")]
BaselineGuidance = Annotated[
    GuidanceScale, Field(description="Guidance of the baselines trained from scratch, at all noise levels.")
]
DenoisingSteps = Annotated[int, Field(ge=1, le=1000, description="Denoising steps per image.")]  # schedules have 1000


class Sample(Notebook):
    HEADINGS: ClassVar = {
        "per_class": "What is sampled",
        "guidance_scale": "How it is sampled",
        "alignment_quantile": "What is accepted and published",
        "worst_case_prompts": "Several images a prompt, for the memorisation audit of 05",
        "readout_per_class": "Images that test single words",
        "counterfactual_pairs": "Counterfactual pairs, for 08",
        "sweep_guidance": "The sweep of guidance and steps",
    }
    BY_MODEL: ClassVar = (
        "guidance_scale", "guidance_interval", "baseline_guidance", "num_inference_steps", "batch_size",
        "sweep_guidance", "sweep_steps",
    )  # fmt: skip

    per_class: PositiveInt = Field(48, description="Images of the adapter per class.")
    others_per_class: PositiveInt = Field(24, description="Images of the base and of each baseline per class.")
    plan_mode: Literal["balanced", "proportional", "random", "curriculum"] = Field(
        "balanced", description="Counts per class; curriculum: more of what the scout misreads."
    )
    prompt_sampling: Literal["empirical", "jitter", "balanced"] = Field(
        "empirical", description="Prompts of train images as they are, with scores moved, or rare ones more often."
    )

    guidance_scale: Guidance = 5.0
    guidance_interval: GuidanceInterval = Field([1.0, 3.0])
    baseline_guidance: BaselineGuidance = 2.0
    solver: Literal["dpm++2m", "ddim", "euler"] = Field("dpm++2m", description="Solver of the reverse diffusion.")
    num_inference_steps: DenoisingSteps = 15
    batch_size: PositiveInt = Field(32, description="Images sampled at once.")
    shard: Annotated[list[NonNegativeInt], Field(min_length=2, max_length=2)] = Field(
        [0, 1], description="[i, n]: this process samples batches i, i + n, i + 2n, ...; n processes share the work."
    )

    alignment_quantile: ShareBelow1 = Field(
        0.0, description="Share of each class's images, those with the lowest alignment, that is refused."
    )
    memorisation_table: str = Field(
        "", description="CSV of a memorisation audit (image_id, memorised, and sha256 if known), beside that of 05."
    )
    rows_a_tar: NonNegativeInt = Field(0, description="Images per WebDataset tar; 0: no tars.")
    planted_copies: NonNegativeInt = Field(
        0, description="Train images put among the synthetic ones; the check for copies must find them."
    )

    worst_case_prompts: NonNegativeInt = Field(
        24, description="Train prompts, and as many val prompts for control, that are sampled several times; 0: none."
    )
    worst_case_seeds: PositiveInt = Field(4, description="Images for each of these prompts.")

    readout_per_class: PositiveInt = Field(
        60, description="Real train images per class, one of a lesion, that fit the readout of single words and pairs."
    )
    random_per_class: NonNegativeInt = Field(
        12, description="Images per class whose prompts name features that chance has assigned; 0: no test of words."
    )
    compositions: NonNegativeInt = Field(
        8, description="Compositions of class and feature that train lacks, and as many that it has; 0: none."
    )
    composition_seeds: PositiveInt = Field(3, description="Images of each of these compositions.")
    counterfactual_pairs: NonNegativeInt = Field(
        2, description="Lesions per class of which one attribute is changed (skin tone, hair, ruler); 0: none."
    )

    sweep_guidance: Annotated[list[NonNegativeFloat], Field(min_length=1)] = Field(
        [1.0, 3.0, 5.0, 8.0], description="Guidance scales."
    )
    sweep_steps: Annotated[list[DenoisingSteps], Field(min_length=1)] = Field([8, 15], description="Denoising steps.")
    sweep_per_class: PositiveInt = Field(4, description="Images per class at each point of the sweep.")
    sweep_extractor: ExtractorName = Field(
        "efficientnet_lite0", description="Independent network whose features judge the sweep and read single words."
    )

    @model_validator(mode="after")
    def _pairs_have_a_control(self):
        if self.counterfactual_pairs and not (self.worst_case_prompts and self.worst_case_seeds > 1):
            raise ValueError(
                f"counterfactual_pairs: {self.counterfactual_pairs}: pairs are judged by images of one prompt and "
                "several seeds: set worst_case_prompts to 1 or more and worst_case_seeds to 2 or more, or this to 0"
            )
        return self

    @model_validator(mode="after")
    def _shard_is_one_of_n(self):
        if not self.shard[0] < self.shard[1]:
            raise ValueError(f"shard: {self.shard}: write [i, n] with i from 0 to n - 1")
        return self
