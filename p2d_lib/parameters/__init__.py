"""What each notebook may be given, and the profiles (params/*.yaml) that give it.

A profile lists, per notebook, every parameter; `extends: smoke` takes another profile's values where it gives none.
Unknown names, wrong types and impossible values are refused with the nearest valid name before anything runs.
"""

import ast
import difflib
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from p2d_lib.generators import BASELINES

PROFILES = Path(__file__).resolve().parents[2] / "params"
LAYOUTS = Path(__file__).parents[1] / "prep" / "layouts"

Count = Annotated[int, Field(gt=0)]
CountOrNone = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Cost = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]


def _distinct(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("each may be named only once")
    return values


def _source(name: str) -> str:
    sources = ["phantom", *sorted(path.stem for path in LAYOUTS.glob("*.yaml"))]
    if name not in sources and not name.endswith((".yaml", ".yml")):
        raise ValueError(f"no such source{_nearest(name, sources)}; there are {', '.join(sources)}, or your own .yaml")
    return name


class ParameterError(Exception):
    """A parameter that no notebook knows, or a value it cannot take."""


class _Notebook(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: CountOrNone


class Prep(_Notebook):
    source: Annotated[str, AfterValidator(_source)]  # "phantom", a layout's name or the .yaml file of your own
    data: str  # the set's folder; "" asks P2D_HAM10000, for ham10000
    on_bad: Literal["fail", "quarantine"]  # what cannot be used stops the run, or is listed and left out
    min_entropy: Annotated[float, Field(ge=0, le=8)]  # bits of the grey histogram; train images below are left out
    n_images: Count  # of the phantom
    tail: Annotated[float, Field(ge=0, le=1)]  # class counts ~ HAM10000's ** tail: 1 its long tail, 0 balanced
    camera: Literal["clinic", "atlas"]  # the phantom's optics
    tone_effect: Annotated[float, Field(ge=0, le=1)]  # of the phantom: share of melanomas that are moved to dark skin
    plants: dict[Literal["duplicated_lesions", "near_duplicates", "mislabelled", "blurred", "empty"], Count]
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=8)]  # px, of the resized squares
    test_size: Fraction  # of lesions
    val_size: Fraction  # of the lesions that are left
    split_seed: CountOrNone


class Describe(_Notebook):
    describers: Annotated[  # the first valid description of an image speaks for it, a person's edit before all
        list[Literal["template", "captioner", "vlm", "api"]], Field(min_length=1), AfterValidator(_distinct)
    ]
    edits_file: str  # CSV of people's edits; "": none
    worded_as: Literal["phrases", "sentence", "json", "seven_point", "abcd"]  # how prompts are worded
    caption_mode: Literal["none", "concepts", "rewritten"]
    rewriter: Literal["rules", "api"]  # of caption_mode rewritten
    max_features: Annotated[int, Field(ge=1, le=22)]
    max_tokens: Annotated[int, Field(ge=8, le=512)]  # of a prompt: what the text encoder reads (CLIP 75)
    top_concepts: Annotated[int, Field(ge=1, le=22)]  # the most frequent in train images are said, the others dropped
    gpt2: str  # the captioner's: "tiny" and any GPT-2 of the hub are fitted; or the folder of a published captioner
    captioner_clip: str  # "tiny" (fitted too), or what open_clip opens, such as hf-hub:redlessone/DermLIP_ViT-B-16
    captioner_digest: str  # SHA-256 that a published captioner's weights must have; "": any
    clip_steps: Count  # of the tiny vision encoder
    broad_wording: Literal["phrases", "sentence"]  # that the captioner's stage A learns from
    captioner_steps: Annotated[list[Count], Field(min_length=2, max_length=2)]  # of stages A and B
    prefix_tokens: Count
    captions_per_image: Count  # that a captioner's scores are the mean of
    vlm_model: str  # a hub id or folder
    vlm_adapter: str  # LoRA for it; "": none
    vlm_answers: Literal["constrained", "repaired"]
    api_model: str  # at the server that P2D_API_BASE_URL names
    api_allow_upload: bool  # nothing leaves this machine without it
    api_usd_per_million: Annotated[list[Cost], Field(min_length=2, max_length=2)]  # tokens in, tokens out
    api_max_cost: Cost  # USD; 0: no ceiling
    api_concurrency: Count
    n_described: CountOrNone  # images that captioner, vlm and api describe, test before val before train; 0: all
    bert_model: str  # for BERTScore: a hub id or folder; "": left out

    @model_validator(mode="after")
    def _what_describers_need(self):
        asks_api = "api" in self.describers or (self.caption_mode, self.rewriter) == ("rewritten", "api")
        if "vlm" in self.describers and not self.vlm_model:
            raise ValueError("vlm_model: '': describers name vlm; give a hub id or a folder")
        if asks_api and not self.api_model:
            raise ValueError("api_model: '': describers or rewriter name api; give a model of your server")
        if self.api_max_cost and not any(self.api_usd_per_million):
            raise ValueError("api_usd_per_million: without prices api_max_cost cannot be kept to")
        if (self.caption_mode, self.rewriter) == ("rewritten", "rules") and self.worded_as != "phrases":
            raise ValueError(f"worded_as: {self.worded_as!r}: the rules rewrite phrases alone; let rewriter be api")
        return self


class Finetune(_Notebook):
    base: str  # "tiny" (shipped), "random" (tiny, untrained), a folder or a Hugging Face id
    base_steps: CountOrNone
    base_learning_rate: Rate
    lora_rank: Count
    lora_alpha: Cost  # the adapter counts alpha / rank times; 0: once
    lora_targets: Literal["attention", "attention+convolutions"]
    lora_dropout: Annotated[float, Field(ge=0, lt=1)]
    lora_text_encoder: bool  # an adapter for the text encoders too
    lora_steps: Count
    learning_rate: Rate  # of the adapter
    batch_size: Count  # of all diffusion training
    accumulate: Count  # parts that a batch is computed in
    gradient_checkpointing: bool
    schedule: Literal["cosine", "constant"]
    snr_gamma: Annotated[float, Field(gt=0)]  # min-SNR weighting
    caption_dropout: Annotated[float, Field(ge=0, lt=1)]
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay of the averaged weights
    prior_per_class: CountOrNone  # images that the base draws first (DreamBooth)
    prior_weight: Cost
    look_every: Count  # epochs between looks at val and at samples
    trackers: Annotated[list[Literal["tensorboard", "wandb"]], AfterValidator(_distinct)]
    baselines: Annotated[list[Literal[*BASELINES]], AfterValidator(_distinct)]
    baseline_variant: Literal["tiny", "full"]
    baseline_size: Annotated[int, Field(ge=32, le=256, multiple_of=8)]  # px
    baseline_text_encoder: str  # "tiny", a folder or a Hugging Face id
    baseline_steps: Count  # of each stage
    baseline_learning_rate: Rate
    scout_backbone: str
    scout_steps: Count
    alignment_steps: Count


class Sample(_Notebook):
    per_class: Count
    others_per_class: Count  # drawn without the adapter and by each baseline, to compare with
    plan_mode: Literal["balanced", "proportional", "random", "curriculum"]  # how many of each class
    prompt_sampling: Literal["empirical", "jitter", "balanced"]  # of train prompts: as they are, moved, rare ones more
    guidance_scale: Annotated[float, Field(ge=0, le=30)]
    guidance_interval: Annotated[list[Cost], Field(min_length=2, max_length=2)]  # noise levels (sigma) at which it acts
    baseline_guidance: Annotated[float, Field(ge=0, le=30)]  # of those from scratch, at all noise levels
    solver: Literal["dpm++2m", "ddim", "euler"]
    num_inference_steps: Count
    batch_size: Count
    shard: Annotated[list[CountOrNone], Field(min_length=2, max_length=2)]  # i, n: this process draws every n-th image
    alignment_quantile: Annotated[float, Field(ge=0, lt=1)]  # of each class's images, the least fitting are refused
    memorisation_table: str  # CSV of an audit (image_id, memorised: True or False); "": none
    rows_a_tar: CountOrNone  # of WebDataset tars beside the images; 0: none
    sweep_guidance: Annotated[list[Cost], Field(min_length=1)]
    sweep_steps: Annotated[list[Count], Field(min_length=1)]
    sweep_per_class: Count
    planted_copies: CountOrNone  # train images among the synthetic ones, for the check for copies to find

    @model_validator(mode="after")
    def _shard_and_interval(self):
        if not self.shard[0] < self.shard[1]:
            raise ValueError(f"shard: {self.shard}: write [i, n] with i from 0 to n - 1")
        if not self.guidance_interval[0] < self.guidance_interval[1]:
            raise ValueError(f"guidance_interval: {self.guidance_interval}: the lower noise level comes first")
        return self


class Fidelity(_Notebook):
    extractor: str  # "scout", or a folder that holds clean-fid's inception-2015-12-05.pt


class Classify(_Notebook):
    arms: Annotated[
        list[Literal["real", "real+replay", "synthetic", "mixed"]], Field(min_length=2), AfterValidator(_distinct)
    ]
    backbone: str
    seeds: Annotated[int, Field(ge=2)]
    steps: Count
    batch_size: Count
    learning_rate: Rate
    synthetic_share: Fraction  # of each batch of real+replay and mixed: the part that is balanced over the classes


class Readers(_Notebook):
    n_images: Annotated[int, Field(ge=14, multiple_of=14)]
    sheets: str  # folder of filled sheets; "" is study_filled of the run, or the shipped example where there is none


class Fairness(_Notebook):
    min_n: Count  # lesions; below it a group is printed as "n too small"


MODELS = {
    "01_prep": Prep,
    "02_describe": Describe,
    "03_finetune": Finetune,
    "04_sample": Sample,
    "05_fidelity": Fidelity,
    "06_classify": Classify,
    "07_readers": Readers,
    "08_fairness": Fairness,
}


def profile(name: str, run: str = "", overrides: tuple[str, ...] = ()) -> dict[str, dict]:
    """The validated parameters of all notebooks: {notebook: {name: value}}.

    name: a file of params/. run: the run's name, default the profile's. overrides: "06_classify.seeds=5", values in
    YAML. Raises ParameterError.
    """
    given = _load(name)
    for override in overrides:
        key, equals, value = override.partition("=")
        notebook, dot, parameter = key.partition(".")
        if not (equals and dot):
            raise ParameterError(f"--set {override}: write it as NOTEBOOK.PARAMETER=VALUE, e.g. 06_classify.seeds=5")
        if notebook not in MODELS:
            raise ParameterError(f"--set {override}: no notebook {notebook!r}{_nearest(notebook, MODELS)}")
        given.setdefault(notebook, {})[parameter] = yaml.safe_load(value)
    common = {"run": run or name, **given.pop("common", {})}
    if run:
        common["run"] = run
    if unknown := set(given) - set(MODELS):
        raise ParameterError(f"params/{name}.yaml: no notebook {min(unknown)!r}{_nearest(min(unknown), MODELS)}")
    values = {
        notebook: check(notebook, {**common, **given.get(notebook, {})}, f"params/{name}.yaml").model_dump()
        for notebook in MODELS
    }
    drawn, shown = values["04_sample"]["per_class"], values["07_readers"]["n_images"] // 14
    if values["04_sample"]["plan_mode"] == "balanced" and drawn <= shown:
        raise ParameterError(
            f"params/{name}.yaml: 04_sample.per_class: {drawn}: 07_readers.n_images shows {shown} of a class, "
            "and some must be left for the network that learns the difference"
        )
    return values


def _load(name: str) -> dict:
    path = PROFILES / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in PROFILES.glob("*.yaml"))
        raise ParameterError(f"no profile {name!r}{_nearest(name, known)}; there are {', '.join(known)}")
    given = yaml.safe_load(path.read_text())
    if parent := given.pop("extends", None):
        inherited = _load(parent)
        given = {key: {**inherited.get(key, {}), **given.get(key, {})} for key in {**inherited, **given}}
    return given


def check(notebook: str, values: dict, where: str = "parameters") -> _Notebook:
    """The parameters of one notebook as its model. Raises ParameterError naming the parameter and what is wrong."""
    model = MODELS[notebook]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # about several parameters together; it names the first itself
            raise ParameterError(f"{where}: {notebook}.{first['msg'].removeprefix('Value error, ')}") from None
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            problem = f"there is no such parameter{_nearest(name, model.model_fields)}"
        elif first["type"] == "missing":
            problem = "it is missing"
        else:
            said = first["msg"].removeprefix("Value error, ")
            problem = f"{first['input']!r}: {said[0].lower()}{said[1:]}"
        raise ParameterError(f"{where}: {notebook}.{name}: {problem}") from None


def of_notebook(notebook: str, namespace: dict) -> _Notebook:
    """The parameters that a notebook's `parameters` cell and papermill have set.

    namespace: the notebook's globals(). A name that papermill injected and no parameter has is refused (papermill
    itself only warns).
    """
    injected = [cell for cell in namespace.get("In", []) if cell.startswith("# Parameters\n")]
    names = {node.id for cell in injected for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)}
    names = {name for name in names if name in namespace} | set(MODELS[notebook].model_fields)
    return check(
        notebook, {name: namespace[name] for name in names if name in namespace}, f"notebooks/{notebook}.ipynb"
    )


def _nearest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else ""
