"""Low-rank adapters (LoRA): loaded whole or not at all, and merged into the weights for sampling."""

import copy
from pathlib import Path

from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from p2d_lib.artefacts import ADAPTER_WEIGHTS
from p2d_lib.models.pipelines import encoders
from p2d_lib.models.weights import WeightsError, not_finite, reason

ANEW = "run 03_finetune again, or put the adapter's own file back"


def load(pipe: DiffusionPipeline, folder: Path) -> None:
    """Adds the adapter in a folder (diffusers layout) to a pipeline that has none.

    diffusers leaves out layers that the pipeline lacks, and takes NaN for a weight: images would be those of the base,
    or black. Raises weights.WeightsError, which names the file, for one that is missing, unreadable, made for another
    base, incomplete, or holds a value that is not finite.
    """
    path = Path(folder) / ADAPTER_WEIGHTS
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file; {ANEW}")
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors has errors of its own for bytes, and Python's for what is read
        raise WeightsError(f"{path}: not a readable safetensors file ({reason(error)}); {ANEW}") from None
    if name := not_finite(tensors):
        raise WeightsError(f"{path}: {name} holds a value that is not finite; {ANEW}")
    try:
        pipe.load_lora_weights(folder, weight_name=ADAPTER_WEIGHTS)
    except Exception as error:  # of diffusers, peft and torch: KeyError, ValueError, RuntimeError, TypeError, …
        raise WeightsError(
            f"{path}: does not fit the base ({reason(error)}): it was made for another base, or is no adapter in "
            f"the diffusers layout; {ANEW}"
        ) from None
    loaded = sum("lora_" in name for part in (pipe.unet, *encoders(pipe)) for name in part.state_dict())
    held = sum("alpha" not in name.rpartition(".")[2] for name in tensors)
    if not held or loaded != held:
        raise WeightsError(
            f"{path}: holds {held} tensors, and the base takes {loaded} of such an adapter: it was made for another "
            f"base, or is incomplete; {ANEW}"
        )


def merge(pipe: DiffusionPipeline, adapter: bool = True, compiled: bool = False) -> DiffusionPipeline:
    """A pipeline without adapter layers: the adapter is merged into copies of the weights or, with adapter False,
    left out of them.

    It samples the same images (up to float rounding) in less time, since nothing is computed beside a layer; `pipe`
    stays as it is. compiled: torch.compile the denoiser, worth its minute on a GPU. Raises ValueError where there is no
    adapter to merge.
    """
    parts = {name: part for name, part in pipe.components.items() if part is pipe.unet or part in encoders(pipe)}
    adapted = [name for name, part in parts.items() if getattr(part, "peft_config", None)]
    if adapter and not adapted:
        raise ValueError("the pipeline holds no adapter: load one with load_lora_weights")
    copies = {name: copy.deepcopy(part) for name, part in parts.items() if name == "unet" or name in adapted}
    other = type(pipe)(**pipe.components | copies)
    if adapter:
        other.fuse_lora(components=adapted)
    if adapted:
        other.unload_lora_weights()
    if compiled:
        other.unet.compile()
    other.set_progress_bar_config(disable=True)
    return other
