"""Fits a low-rank adapter (LoRA) to a pipeline, and saves it in the diffusers layout."""

import json
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from p2d_lib.finetune.batches import Draws
from p2d_lib.finetune.denoiser import fit_denoiser
from p2d_lib.finetune.latents import Encoded, digest
from p2d_lib.finetune.loop import NO_WATCH, Recipe, Watch
from p2d_lib.models import pipelines
from p2d_lib.seeds import derive

# What the adapter may change: attention (Hu et al., arXiv:2106.09685) and, since optics and colours differ, the rest.
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
    checkpoints: Path | None = None,
    alpha: float | None = None,
    targets: Literal["attention", "attention+convolutions"] = "attention+convolutions",
    dropout: float = 0.0,
    prior: Encoded | None = None,
    prior_weight: float = 1.0,
    watch: Watch = NO_WATCH,
) -> pd.DataFrame:
    """Adds a low-rank adapter to the denoiser and fits it; returns the log.

    encoded: where it holds tokens, the text encoders get an adapter too, to their attention. weights: how often each
    image is drawn, relative to the others; default equally often. alpha: the adapter counts alpha / rank times; default
    rank. dropout: of the adapter's inputs. prior: images that the base drew of the class, with its prompt: their loss,
    prior_weight times, keeps the class from being forgotten (DreamBooth, Ruiz et al., arXiv:2208.12242).
    """
    from peft import LoraConfig

    parts = [pipe.unet, *(pipelines.encoders(pipe) if encoded.ids is not None else [])]
    shape = {"r": rank, "lora_alpha": rank if alpha is None else alpha, "lora_dropout": dropout}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "adapter"))
        for part in parts:
            part.requires_grad_(False)
            own = TARGETS[targets] if part is pipe.unet else TEXT_TARGETS
            part.add_adapter(LoraConfig(**shape, target_modules=list(own)))
    parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
    for p in parameters:
        p.data = p.data.float()  # a base in half precision still gets exact updates
    draws = [(Draws(pipe, encoded, recipe.seed, "adapter", recipe.caption_dropout, weights), 1.0)]
    if prior:
        draws.append((Draws(pipe, prior, recipe.seed, "prior", recipe.caption_dropout), prior_weight))
    key = digest(*(value for part in parts for value in part.state_dict().values()), str(shape))
    return fit_denoiser(pipe, parts, parameters, draws, recipe, "adapter", checkpoints, key, watch)


def save_adapter(pipe, folder: Path, log: pd.DataFrame, parameters: dict, trigger: str = "", data: str = "") -> None:
    """Writes the adapter in the diffusers layout (`pipe.load_lora_weights(folder)`), its log and its parameters.

    trigger: the words that call what was learnt, data: the hash of what it was learnt from (`Encoded.key`); both stand,
    with rank and alpha, in the file's metadata.
    """
    from peft.utils import get_peft_model_state_dict

    names = [n for n in ("unet", "text_encoder", "text_encoder_2") if getattr(getattr(pipe, n, None), "peft_config", 0)]
    shapes = {n: getattr(pipe, n).peft_config["default"] for n in names}
    layout = {}  # for peft; its other settings are its defaults, and not every version knows each
    for n, shape in shapes.items():
        layout |= {f"{n}.r": shape.r, f"{n}.lora_alpha": shape.lora_alpha}
        layout[f"{n}.target_modules"] = sorted(shape.target_modules)
    own = {"trigger": trigger, "data": data, "rank": str(shapes["unet"].r), "alpha": str(shapes["unet"].lora_alpha)}
    own |= {"format": "pt", "lora_adapter_metadata": json.dumps(layout)}
    folder.mkdir(parents=True, exist_ok=True)
    # peft's own names: diffusers would rename attention alone, and drop it when it reads the mixture
    layers = {f"{n}_lora_layers": get_peft_model_state_dict(getattr(pipe, n)) for n in names}
    pipe.save_lora_weights(folder, **layers, save_function=partial(_write, metadata=own))
    log.to_parquet(folder / "log.parquet", index=False)
    (folder / "parameters.json").write_text(json.dumps(parameters, indent=2) + "\n")


def _write(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """safetensors with its metadata in order, which the library writes in any: the same adapter is the same bytes."""
    data = save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    Path(path).write_bytes(data[:8] + text.ljust(end - 8) + data[end:])
