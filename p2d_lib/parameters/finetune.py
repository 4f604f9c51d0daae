"""The parameters of 03_finetune."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from p2d_lib.device import PRECISIONS
from p2d_lib.generators import BASELINES
from p2d_lib.parameters.sample import BaselineGuidance, DenoisingSteps, Guidance, GuidanceInterval
from p2d_lib.parameters.types import ClipName, Distinct, LearningRate, Notebook, ShareBelow1, WeightsName
from p2d_lib.vocabulary import FEATURES

CAPTION_OPTIONS = ("rewritten", "concepts", "entropy", "encoder")


def _caption_variant(name: str) -> str:
    network, *options = name.split("+")
    if network not in BASELINES[:2] or not set(options) <= set(CAPTION_OPTIONS) or len({*options}) < len(options):
        raise ValueError(
            f"{name!r}: write {' or '.join(BASELINES[:2])}, and behind it what differs from plain captions, each once: "
            f"+{', +'.join(CAPTION_OPTIONS)}"
        )
    return name


def _mean_and_spread(values: list[float]) -> list[float]:
    if values and (len(values) != 2 or values[1] <= 0):
        raise ValueError(f"{values}: write [mean, spread] with a spread above 0, such as [0.0, 1.0], or []")
    return values


class Finetune(Notebook):
    HEADINGS: ClassVar = {
        "reviewed_only": "The training data",
        "base": "The base model",
        "lora_rank": "The adapter (LoRA)",
        "batch_size": "Diffusion training: base, adapter and baselines",
        "prior_per_class": "Prior preservation (DreamBooth)",
        "guidance_scale": "Sample images: previews, examples and prior preservation",
        "evaluate_every": "Progress",
        "baselines": "The baselines",
        "caption_study": "Caption augmentation and caption filters",
        "scout_backbone": "The scout and the alignment model",
    }
    BY_MODEL: ClassVar = (
        "base", "lora_rank", "lora_steps", "learning_rate", "batch_size", "snr_gamma", "emphasis", "guidance_scale",
        "guidance_interval", "baseline_guidance", "num_inference_steps", "evaluate_every", "baseline_variant",
        "baseline_size", "baseline_text_encoder", "baseline_steps", "baseline_learning_rate", "cascade_steps",
        "cascade_batch_size", "cascade_learning_rate", "scout_backbone", "scout_steps", "scout_batch_size",
        "scout_learning_rate", "alignment_model",
    )  # fmt: skip

    reviewed_only: bool = Field(
        False, description="Train only on images whose description a person has accepted or edited."
    )

    base: WeightsName = Field(
        "tiny", description='"tiny" (ships here), "random" (tiny, untrained), a folder, hub id or id@revision.'
    )
    base_steps: NonNegativeInt = Field(0, description="Training steps of the base's denoiser and text encoder.")
    base_learning_rate: LearningRate = Field(0.001, description="Learning rate of the base.")
    base_times: Annotated[list[float], AfterValidator(_mean_and_spread)] = Field(
        [], description="Mean and spread of the logit of the base's noise times; empty: times are spread evenly."
    )
    decoder_steps: NonNegativeInt = Field(
        0, description="Training steps of a tiny base's decoder, after its denoiser; 0: it stays as it is."
    )

    lora_rank: PositiveInt = Field(8, description="Rank of the LoRA matrices.")
    lora_alpha: NonNegativeFloat = Field(
        0.0, description="The LoRA update is scaled by alpha / rank; 0 means alpha = rank (scale 1)."
    )
    lora_targets: Literal["attention", "attention+convolutions"] = Field(
        "attention+convolutions", description="Layers that get LoRA matrices."
    )
    lora_dropout: ShareBelow1 = Field(0.0, description="Dropout on the input of the LoRA matrices.")
    lora_text_encoder: bool = Field(False, description="Also fit LoRA matrices in the text encoders.")
    lora_steps: PositiveInt = Field(350, description="Training steps of the adapter.")
    learning_rate: LearningRate = Field(0.0007, description="Learning rate of the adapter.")

    batch_size: PositiveInt = Field(32, description="Images per optimiser step.")
    accumulate: PositiveInt = Field(1, description="Gradient accumulation steps that a batch is split into.")
    gradient_checkpointing: bool = Field(False, description="Recompute activations: less memory, more time.")
    precision: Literal[*PRECISIONS] = Field(
        "auto", description="Of a training step: auto is bfloat16 on a GPU that can, float32 elsewhere."
    )
    schedule: Literal["cosine", "constant"] = Field("cosine", description="Learning rate after the warm-up.")
    snr_gamma: PositiveFloat = Field(
        20.0, description="Bound of the loss weight: min-SNR for noise prediction, truncated SNR + 1 for v-prediction."
    )
    caption_dropout: ShareBelow1 = Field(
        0.1, description="Share of images trained with an empty prompt, for classifier-free guidance."
    )
    ema: ShareBelow1 = Field(0.999, description="Decay of the moving average of the weights, which is saved.")
    emphasis: dict[Literal[*FEATURES], PositiveFloat] = Field(
        {"hair_amount": 3.0},
        description="Features: images whose prompts name them are trained on so many times as often.",
    )

    prior_per_class: NonNegativeInt = Field(
        0, description="Images per class that the base samples, to train on beside the real ones; 0: none."
    )
    prior_weight: NonNegativeFloat = Field(1.0, description="Weight of their loss.")

    guidance_scale: Guidance = 5.0
    guidance_interval: GuidanceInterval = Field([1.0, 3.0])
    baseline_guidance: BaselineGuidance = 2.0
    num_inference_steps: DenoisingSteps = 15

    evaluate_every: PositiveInt = Field(
        4, description="Epochs between two evaluations (val loss, preview images, curve)."
    )
    curve_images: NonNegativeInt = Field(
        0, description="Images that the base samples at each evaluation, for its Fréchet distance; 0: none."
    )
    checkpoint_minutes: NonNegativeFloat = Field(
        10.0, description="Minutes between two checkpoints; a killed run continues from the last one."
    )
    trackers: Annotated[list[Literal["tensorboard", "wandb"]], Distinct] = Field(
        [], description="Experiment trackers that also log the training."
    )

    baselines: Annotated[list[Literal[*BASELINES]], Distinct] = Field(
        list(BASELINES), description="Generators trained for comparison."
    )
    baseline_variant: Literal["tiny", "full"] = Field("tiny", description="Size of their networks.")
    baseline_size: Annotated[int, Field(ge=32, le=256, multiple_of=8)] = Field(
        64, description="Side of the images they learn and make, px."
    )
    baseline_text_encoder: WeightsName = Field(
        "tiny", description='Their text encoder: "tiny", a folder, hub id or id@revision, such as PubMedBERT.'
    )
    baseline_steps: PositiveInt = Field(80, description="Training steps of each of their stages.")
    baseline_learning_rate: LearningRate = Field(0.002, description="Their learning rate.")
    cascade_steps: NonNegativeInt = Field(0, description="Training steps of the cascade's networks; 0: baseline_steps.")
    cascade_batch_size: NonNegativeInt = Field(0, description="Images per step of the cascade; 0: batch_size.")
    cascade_learning_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Learning rate of the cascade; 0: baseline_learning_rate."
    )

    caption_study: Annotated[list[Annotated[str, AfterValidator(_caption_variant)]], Distinct] = Field(
        [], description="Variants that are compared, such as scratch-unet and scratch-unet+rewritten; empty: none."
    )
    caption_seeds: PositiveInt = Field(3, description="Trainings of each variant; with one there are no intervals.")
    caption_steps: PositiveInt = Field(80, description="Training steps of each variant.")
    caption_images: Annotated[int, Field(ge=20)] = Field(100, description="Images of val prompts that each samples.")
    caption_concepts: Annotated[int, Field(ge=1, le=22)] = Field(
        4, description="Captions of +concepts name only this many features, the most frequent in train images."
    )
    caption_entropy: ShareBelow1 = Field(
        0.1, description="Share of train images, those of least entropy, that +entropy leaves out."
    )
    caption_encoder: WeightsName = Field("tiny", description="Text encoder of +encoder, as baseline_text_encoder.")

    scout_backbone: str = Field(
        "tiny_resnet", description="tiny_resnet, or a torchvision model and its weights: resnet18:IMAGENET1K_V1."
    )
    scout_steps: PositiveInt = Field(300, description="Training steps of the scout.")
    scout_batch_size: PositiveInt = Field(32, description="Images per step of the scout.")
    scout_learning_rate: LearningRate = Field(0.002, description="Learning rate of the scout.")
    alignment_model: ClipName = Field(
        "tiny",
        description='"tiny" (fitted here) or a published open_clip model as it is: hf-hub:ORGANISATION/MODEL.',
    )
    alignment_steps: PositiveInt = Field(200, description="Training steps of the tiny alignment model.")
    alignment_batch_size: PositiveInt = Field(64, description="Pairs per step of the tiny alignment model.")
