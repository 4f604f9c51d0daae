"""Diffusion pipelines: loaded from what ships, a folder or the Hugging Face hub, and saved."""

import copy
import json
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import logging
from transformers.utils import logging as transformers_logging

from p2d_lib.files import read_record
from p2d_lib.models import weights
from p2d_lib.models.base_fitness import POINTER, misfit, misfit_of_folder
from p2d_lib.models.tiny_base import TINY, _pipeline, tiny_pipeline

logging.set_verbosity_error()  # diffusers warns about the missing safety checker at every load
logging.disable_progress_bar()
transformers_logging.disable_progress_bar()


class BaseError(Exception):
    """A base that cannot be loaded; the message names it."""


def load(
    base: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> StableDiffusionPipeline:
    """A pipeline, in evaluation mode, on `device`: Stable Diffusion 1, 2 or XL.

    base: "tiny" (the weights that ship), "random" (`tiny_pipeline(seed)`), a folder in the diffusers layout, a folder
    with a pointer that `save_or_point` wrote, a Hugging Face id or id@revision. Raises BaseError when it does not
    exist, and when a pointer leads to other weights than it did when it was written.
    """
    pointer, recorded = Path(base) / POINTER, {}
    if pointer.exists():
        recorded = read_record(pointer)
        if not isinstance(recorded.get("base"), str):
            raise BaseError(f"{pointer}: is no pointer to a base; remove it, or run 03_finetune again")
        base = str(weights.Source(recorded["base"], recorded.get("commit")))
    pipe = tiny_pipeline(seed) if str(base) == "random" else _from_source(str(base), dtype)
    if "weights_sha256" in recorded and (now := _sha256(pipe)) != recorded["weights_sha256"]:
        raise BaseError(
            f"{pointer}: the weights of {base!r} have changed: their SHA-256 was {recorded['weights_sha256']} and is "
            f"{now} now; put the former weights back, or run 03_finetune again"
        )
    pipe = pipe.to(device, dtype)
    for part in (pipe.vae, pipe.unet, *encoders(pipe)):
        part.eval().requires_grad_(False)
    for part in (pipe.vae, pipe.unet):
        part.to(memory_format=torch.channels_last)
    return pipe


def _from_source(base: str, dtype: torch.dtype) -> DiffusionPipeline:
    """The pipeline that a name other than "random" means; `pipe.source` says where it was loaded from."""
    try:
        source = weights.Source(str(TINY)) if base == "tiny" else weights.resolve(base)
        problem = "" if source.commit else misfit_of_folder(Path(source.name))
        if not problem:
            pipe = DiffusionPipeline.from_pretrained(
                source.name, **source.options, dtype=dtype, safety_checker=None, feature_extractor=None,
                requires_safety_checker=False,
            )  # fmt: skip
            problem = misfit(*_classes_and_configs(pipe)) or _not_finite(pipe)
    except Exception as error:  # of whatever diffusers, transformers or safetensors stumble over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BaseError(
            f"base {base!r} cannot be loaded ({reason}): give tiny, random, a folder in the diffusers layout, or a "
            "Hugging Face id (id@revision for one commit) that this machine can download"
        ) from None
    if problem:
        raise BaseError(f"base {base!r}: {problem}")
    for tokenizer, encoder in zip((pipe.tokenizer, getattr(pipe, "tokenizer_2", None)), encoders(pipe), strict=False):
        # where tokenizer_config.json does not say it, transformers puts 10^30
        tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    pipe.set_progress_bar_config(disable=True)
    pipe.source = weights.Source("tiny") if base == "tiny" else source
    return pipe


def _classes_and_configs(pipe: DiffusionPipeline) -> tuple[dict[str, str], dict[str, dict]]:
    parts = {name: part for name, part in pipe.components.items() if part is not None}
    configs = {name: part.config for name, part in parts.items() if hasattr(part, "config")}
    classes = {name: type(part).__name__ for name, part in parts.items()}
    return classes, {name: config if hasattr(config, "items") else config.to_dict() for name, config in configs.items()}


def _not_finite(pipe: DiffusionPipeline) -> str:
    """Which weights no image can come from; "" where there are none."""
    for part in (pipe.vae, pipe.unet, *encoders(pipe)):
        if name := weights.not_finite(part.state_dict()):
            return (
                f"{name} of its {type(part).__name__} holds a value that is not finite; download or copy the base again"
            )
    return ""


def is_xl(pipe: DiffusionPipeline) -> bool:
    """Whether a pipeline has SDXL's two text encoders (Podell et al., arXiv:2307.01952)."""
    return getattr(pipe, "text_encoder_2", None) is not None


def encoders(pipe: DiffusionPipeline) -> list[torch.nn.Module]:
    """The text encoders of a pipeline: one, or SDXL's two."""
    return [pipe.text_encoder, pipe.text_encoder_2] if is_xl(pipe) else [pipe.text_encoder]


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type to sample in: half precision where there is a GPU for it."""
    return torch.float16 if device.type == "cuda" else torch.float32


def save(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Writes a pipeline in the diffusers layout, weights in half precision as safetensors; `pipe` stays as it is."""
    halves = {name: copy.deepcopy(getattr(pipe, name)).half() for name in ("vae", "unet", "text_encoder")}
    _pipeline(**halves, tokenizer=pipe.tokenizer, scheduler=pipe.scheduler).save_pretrained(folder)


def save_or_point(pipe: StableDiffusionPipeline, folder: Path, trained: bool) -> None:
    """Writes a pipeline that was trained here, else a pointer to where it was loaded from: weights are kept once.

    The pointer holds the base's folder or Hugging Face id, the id's commit and the SHA-256 of the weights, by which
    `load` notices a change. trained: whether the pipeline's weights differ from the loaded ones. Raises ValueError for
    a pointer to a pipeline that an adapter was added to, whose weights the digest would describe.
    """
    if trained or not hasattr(pipe, "source"):
        return save(pipe, folder)
    if any(getattr(part, "peft_config", None) for part in (pipe.unet, *encoders(pipe))):
        raise ValueError("write the pointer to the base before an adapter is added to it")
    folder.mkdir(parents=True)
    record = {"base": pipe.source.name, "commit": pipe.source.commit, "weights_sha256": _sha256(pipe)}
    (folder / POINTER).write_text(json.dumps(record, indent=1) + "\n")


def _sha256(pipe: DiffusionPipeline) -> str:
    return weights.sha256(pipe.vae, pipe.unet, *encoders(pipe))
