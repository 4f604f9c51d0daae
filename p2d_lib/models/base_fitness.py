"""Why a pipeline cannot be a base, from its configuration alone: said before gigabytes of weights are loaded.

A base is Stable Diffusion 1, 2 or XL from text: a denoiser of as many channels as the autoencoder's latents, CLIP's
text encoders, and noise that is added in steps (no flow matching), with the noise or v predicted.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
CLASSES = {  # of each part
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "PatchAutoencoder"),
    "text_encoder": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "text_encoder_2": ("CLIPTextModel", "CLIPTextModelWithProjection"),
}
POINTER = "pointer.json"  # stands in a folder for a base that lies elsewhere
PREDICTIONS = ("epsilon", "v_prediction")
LFS = b"version https://git-lfs"


def misfit(classes: Mapping[str, str], configs: Mapping[str, Mapping]) -> str:
    """What keeps a pipeline from being a base; "" where nothing does.

    classes: part -> the name of its class. configs: part -> its configuration.
    """
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        if not classes.get(part):
            return f"it has no {part}; a text-to-image base of Stable Diffusion is needed"
    for part, fitting in CLASSES.items():
        if part in classes and classes[part] not in fitting:
            return f"its {part} is of class {classes[part]}; expected {' or '.join(fitting)}"
    denoiser, latents = configs["unet"], configs["vae"].get("latent_channels")
    if (channels := denoiser.get("in_channels")) != latents:
        return (
            f"its denoiser takes {channels} channels and its autoencoder makes {latents}: a base for inpainting or "
            "editing; give one for text to image"
        )
    scheduler = configs["scheduler"]
    if "beta_schedule" not in scheduler and scheduler.get("trained_betas") is None:
        return f"its scheduler is {classes['scheduler']}, which has no noise schedule (flow matching?)"
    if (prediction := scheduler.get("prediction_type", PREDICTIONS[0])) not in PREDICTIONS:
        return f"its denoiser predicts {prediction!r}; expected {' or '.join(PREDICTIONS)}"
    for name in ("num_train_timesteps", "beta_start", "beta_end"):
        if (value := scheduler.get(name)) is not None and not (isinstance(value, int | float) and value > 0):
            return f"its scheduler has {name} {value!r}; expected a number above 0"
    widths = [configs[part].get("hidden_size") for part in ("text_encoder", "text_encoder_2") if part in configs]
    if wrong := [width for width in widths if not isinstance(width, int)]:
        return f"its text encoder has hidden_size {wrong[0]!r}; expected a whole number"
    if isinstance(width := denoiser.get("cross_attention_dim"), int) and width != sum(widths):
        return f"its denoiser takes text embeddings of width {width}, and its text encoder makes {sum(widths)}"
    return ""


def misfit_of_folder(folder: Path) -> str:
    """`misfit` of a folder in the diffusers layout, from its .json files; also what is wrong with its weight files.

    A folder that only points to a base is fit.
    """
    if (folder / POINTER).exists():
        return ""
    index, problem = _json(folder / "model_index.json")
    if problem:
        inside = next((path.parent.name for path in sorted(folder.glob("*/model_index.json"))), "")
        nested = f" ({inside} in it has one: name that folder)" if inside else ""
        return f"{problem}{nested}; a folder in the diffusers layout is needed (a single .safetensors file is none)"
    if (pipeline := index.get("_class_name")) not in PIPELINES:
        return f"its pipeline is {pipeline}; expected {' or '.join(PIPELINES)}"
    classes = {part: entry[1] for part, entry in index.items() if isinstance(entry, list) and len(entry) == 2}
    classes, configs = {part: str(name) for part, name in classes.items() if name}, {}
    if "tokenizer" in classes and not (folder / "tokenizer").is_dir():
        return "it has no folder tokenizer; copy the base again, with all its folders"
    for part in (*CLASSES, "scheduler"):
        if part in classes:
            name = "scheduler_config.json" if part == "scheduler" else "config.json"
            configs[part], problem = _json(folder / part / name)
            if problem := problem or _unreadable_weights(folder / part, part):
                return problem
    return misfit(classes, configs)


def _json(path: Path) -> tuple[dict, str]:
    """The object in a file, or what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        return {}, f"{path.parent.name}/{path.name} cannot be read ({reason})"
    return (content, "") if isinstance(content, dict) else ({}, f"{path.parent.name}/{path.name} holds no object")


def _unreadable_weights(folder: Path, part: str) -> str:
    if part == "scheduler":
        return ""
    files = [path for ending in ("safetensors", "bin") for path in sorted(folder.glob(f"*.{ending}"))]
    for path in files:
        try:
            with path.open("rb") as stream:
                start = stream.read(len(LFS))
            if start == LFS:
                return f"{part}/{path.name} is a pointer of Git LFS; fetch the file (git lfs pull)"
            if path.suffix == ".safetensors":
                safe_open(path, "np")  # which reads what the file says of its length, and no weights
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            return f"{part}/{path.name} is no whole file of weights ({reason}); download or copy it again"
    whole = [path for path in files if path.name.count(".") == 1]
    if not whole:
        held = f"only {files[0].name}" if files else "no weights"
        return f"{part} holds {held}; save the base without variant (pipe.save_pretrained(folder))"
    return ""
