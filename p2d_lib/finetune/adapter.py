"""Fits a low-rank adapter (LoRA) to a pipeline, and saves it in the diffusers layout."""

import json
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from p2d_lib.artefacts import result_parameters
from p2d_lib.finetune.batches import TrainingBatches
from p2d_lib.finetune.denoiser import fit_denoiser
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.finetune.loop import NO_MONITORING, Monitoring, Recipe
from p2d_lib.models import pipelines
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.seeds import derive

# Modules that get LoRA weights. "attention" is the usual choice (Hu et al., arXiv:2106.09685); we add convolutions
# because dermatoscopes differ in optics and colour.
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TARGETS = {
    "attention": ATTENTION,
    "attention+convolutions": (
        *ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj",
        "conv_in", "conv1", "conv2", "conv_shortcut", "conv", "conv_out",
    ),
}  # fmt: skip
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


def fit_adapter(
    pipe,
    encoded: Encoded,
    recipe: Recipe,
    rank: int,
    weights: np.ndarray | None = None,
    checkpoints: Checkpoints | None = None,
    alpha: float | None = None,
    targets: Literal["attention", "attention+convolutions"] = "attention+convolutions",
    dropout: float = 0.0,
    prior: Encoded | None = None,
    prior_weight: float = 1.0,
    monitoring: Monitoring = NO_MONITORING,
) -> pd.DataFrame:
    """Adds a low-rank adapter to the denoiser and fits it; returns the log.

    encoded: where it holds tokens, the attention of the text encoders gets an adapter too. weights: float (n,), how
    often each image enters a batch relative to the others; default equally often. alpha: the update is scaled by
    alpha / rank; default rank. dropout: of the adapter's inputs, 0..1. prior: images of each class that the base itself
    sampled, with their prompts; prior_weight times their loss is added, so that what the base knows of the class is
    kept (DreamBooth, Ruiz et al., arXiv:2208.12242).
    """
    from peft import LoraConfig

    modules = [pipe.unet, *(pipelines.encoders(pipe) if encoded.ids is not None else [])]
    shape = {"r": rank, "lora_alpha": rank if alpha is None else alpha, "lora_dropout": dropout}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "adapter"))
        for module in modules:
            module.requires_grad_(False)
            names = TARGETS[targets] if module is pipe.unet else TEXT_TARGETS
            module.add_adapter(LoraConfig(**shape, target_modules=list(names)))
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.data = p.data.float()  # a base in half precision still gets exact updates
    batches = [(TrainingBatches(pipe, encoded, recipe.seed, "adapter", recipe.caption_dropout, weights), 1.0)]
    if prior:
        batches.append((TrainingBatches(pipe, prior, recipe.seed, "prior", recipe.caption_dropout), prior_weight))
    key = digest(*(value for module in modules for value in module.state_dict().values()), str(shape))
    return fit_denoiser(pipe, modules, parameters, batches, recipe, "adapter", checkpoints, key, monitoring)


def save_adapter(pipe, folder: Path, log: pd.DataFrame, parameters: dict, trigger: str = "", data: str = "") -> None:
    """Writes the adapter in the diffusers layout (`pipe.load_lora_weights(folder)`), its log and its parameters.

    trigger: the words that every training prompt begins with. data: the digest of the training set (`Encoded.key`).
    Both stand, with rank and alpha, in the file's metadata. The log is written without its seconds: the same training
    leaves the same bytes, in a run of whatever name.
    """
    from peft.utils import get_peft_model_state_dict

    names = [n for n in ("unet", "text_encoder", "text_encoder_2") if getattr(getattr(pipe, n, None), "peft_config", 0)]
    configs = {n: getattr(pipe, n).peft_config["default"] for n in names}
    layout = {}  # for peft; its other settings are its defaults, and not every version has each
    for n, config in configs.items():
        layout |= {f"{n}.r": config.r, f"{n}.lora_alpha": config.lora_alpha}
        layout[f"{n}.target_modules"] = sorted(config.target_modules)
    unet = configs["unet"]
    metadata = {"trigger": trigger, "data": data, "rank": str(unet.r), "alpha": str(unet.lora_alpha)}
    metadata |= {"format": "pt", "lora_adapter_metadata": json.dumps(layout)}
    folder.mkdir(parents=True, exist_ok=True)
    # under peft's names: diffusers would rename attention alone, and drop it when it reads the mixture
    layers = {f"{n}_lora_layers": get_peft_model_state_dict(getattr(pipe, n)) for n in names}
    pipe.save_lora_weights(folder, **layers, save_function=partial(_write_safetensors, metadata=metadata))
    log.drop(columns="seconds").to_parquet(folder / "log.parquet", index=False)
    (folder / "parameters.json").write_text(json.dumps(result_parameters(parameters), indent=2) + "\n")


def _write_safetensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Writes safetensors with its metadata sorted, since the library orders it differently in every process.

    Without this, equal adapters would differ in bytes, and 04 would run again after each training.
    """
    data = save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    Path(path).write_bytes(data[:8] + text.ljust(end - 8) + data[end:])
