"""Vision-language readers at LLaVA-Med's size, on one GPU: how fast are reading and fitting, in how much memory?

    python benchmarks/vlm_gpu.py               # LLaVA-Med v1.5's geometry in bfloat16; some minutes of an H100
    python benchmarks/vlm_gpu.py --checkpoint  # the same through a checkpoint in its own layout: 30 GB of disk, slower
    python benchmarks/vlm_gpu.py --four-bit    # that checkpoint with weights of 4 bits (bitsandbytes)
    python benchmarks/vlm_gpu.py --small       # a tiny geometry on the CPU

The geometry is that of microsoft/llava-med-v1.5-mistral-7b: Mistral-7B and CLIP ViT-L/14 at 336 px. The weights are
random and made on the device; the tokenizer cuts words into bytes and a few pairs, so that diagnoses have several
tokens, as they have in Mistral's. What is built, read and fitted goes through the library's own functions, with the
LoRA of params/paper.yaml, on one repeated batch. That they read and fit rightly is tested in tests/models and
tests/readers.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText, CLIPImageProcessor, CLIPVisionConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib import images
from p2d_lib.device import set_up
from p2d_lib.models import llava_med, vlm, vlm_likelihood, vlm_tiny, vlm_training
from p2d_lib.prep import phantom
from p2d_lib.readers.vqa_records import QUESTIONS
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

PAPER = yaml.safe_load((Path(__file__).resolve().parents[1] / "params" / "paper.yaml").read_text())["07_readers"]
QUESTION = next(iter(QUESTIONS.values()))
COMMON = {
    "model_type": llava_med.ORIGINAL, "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch", "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu",
    "sliding_window": None, "rope_theta": 1e6, "max_position_embeddings": 32768, "vocab_size": 32000,
}  # fmt: skip
LLAVA_MED = (
    COMMON | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
              "num_key_value_heads": 8},
    {"image_size": 336, "patch_size": 14, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
     "num_attention_heads": 16, "projection_dim": 768},
)  # fmt: skip
SMALL = (
    COMMON | {"vocab_size": 400, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2},
    {"image_size": 56, "patch_size": 14, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
     "num_attention_heads": 4},
)  # fmt: skip
ORIGINAL_NAMES = (  # what a tensor's name begins with in transformers, and in LLaVA-Med's own checkpoint
    ("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
    ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
    ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
    ("model.language_model.", "model."),
)
BATCH = PAPER["vlm_batch_size"]
Result = TypeVar("Result")


def build(geometry: tuple[dict, dict], device: torch.device) -> vlm.Vlm:
    """A model of that geometry with random weights: bfloat16 on a GPU, else float32."""
    tokenizer = vlm_tiny.byte_level_tokenizer([QUESTION.replace(", ".join(DX), "")])
    llava_med.add_tokens(tokenizer)
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    config = llava_med.configuration(geometry[0], CLIPVisionConfig(**geometry[1]), image_token_id)
    config.text_config.initializer_range = config.text_config.hidden_size**-0.5  # so that it has opinions at any width
    torch.manual_seed(0)
    with device:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    processor = llava_med.processor(preparation(config.vision_config.image_size), tokenizer, config)
    return vlm.Vlm(model.eval().requires_grad_(False), processor, "random weights")


def preparation(side: int) -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def through_checkpoint(model: vlm.Vlm, geometry: tuple[dict, dict], four_bit: bool, folder: Path) -> vlm.Vlm:
    """The model as it comes back from a checkpoint in LLaVA-Med's own layout, which is converted and loaded."""
    device, tower, original = model.device, folder / "clip", folder / "original"
    preparation(geometry[1]["image_size"]).save_pretrained(tower)
    CLIPVisionConfig(**geometry[1]).save_pretrained(tower)
    original.mkdir()
    (original / "config.json").write_text(json.dumps(geometry[0] | {"mm_vision_tower": str(tower)}))
    model.processor.tokenizer.save_pretrained(original)
    tensors = model.model.state_dict()
    save_file({original_name(name): tensor for name, tensor in tensors.items()}, original / "model.safetensors")
    tensors.clear()
    model.model.to("meta")  # else the GPU would hold the model twice
    return vlm.load(llava_med.in_transformers_layout(str(original), folder / "converted"), device, four_bit=four_bit)


def original_name(name: str) -> str:
    for new, old in ORIGINAL_NAMES:
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def render(n: int, side: int) -> np.ndarray:
    """Phantom images of n lesions, the classes in turn: uint8 (n, side, side, 3)."""
    squares = []
    for k in range(n):
        rng = np.random.default_rng(derive(0, "reader", k))
        picture, _ = phantom.render(phantom.make_lesion(rng, DX[k % len(DX)]), phantom.make_view(rng, "atlas"))
        squares.append(np.asarray(images.square(Image.fromarray(picture), side)))
    return np.stack(squares)


def measured(what: str, unit: str, n: int, device: torch.device, work: Callable[[], Result]) -> Result:
    """Does the work; prints how many units of it a second, and the GPU's peak memory. Returns the work's result."""
    reset_peak(device)
    began = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    print(f"{what}: {n / (time.perf_counter() - began):.2f} {unit} a second{peak(device)}", flush=True)
    return result


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak(device: torch.device) -> str:
    return f", peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if device.type == "cuda" else ""


def likelihoods(model: vlm.Vlm, pictures: np.ndarray, batch_size: int) -> np.ndarray:
    """Log-likelihoods of the diagnoses in nats a token: (n, 7)."""
    sums, lengths = vlm_likelihood.log_likelihoods(model, pictures, QUESTION, DX, batch_size)
    return sums / lengths


def read(model: vlm.Vlm, pictures: np.ndarray, options: argparse.Namespace) -> None:
    """Reads the pictures by likelihood and in words; prints rates, and how far a batch differs from images alone."""
    size, device, n = options.read_at_once, model.device, len(pictures)
    likelihoods(model, pictures[:size], size)  # the first call chooses kernels
    batched = measured("by likelihood", "images", n, device, lambda: likelihoods(model, pictures, size))
    in_words = partial(vlm.generate, model, pictures, QUESTION, options.tokens, size)
    measured(f"in words, {options.tokens} tokens", "images", n, device, in_words)
    alone = likelihoods(model, pictures[: options.alone], 1)
    apart = np.abs(alone - batched[: options.alone]).max() / np.ptp(batched)
    print(f"images alone and in a batch: likelihoods {apart:.1e} of their range apart", flush=True)


def fit(model: vlm.Vlm, pictures: np.ndarray, options: argparse.Namespace) -> None:
    """Fits LoRA layers on one repeated batch; prints seconds a step, peak memory and the losses."""
    device, times = model.device, []

    def load(rows: np.ndarray) -> np.ndarray:
        times.append(time.perf_counter())
        return pictures[rows]

    reset_peak(device)
    recipe = vlm_training.Recipe(options.steps, PAPER["vlm_learning_rate"], BATCH, options.at_once)
    answers = [DX[k % len(DX)] for k in range(BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        log = vlm_training.fit(model, load, [QUESTION] * BATCH, answers, recipe, Path(folder), 0)["loss"]
    seconds = np.diff(times[:: BATCH // options.at_once])  # the Trainer waits for each step's loss
    print(f"fitting: {np.median(seconds):.3f} s a step of {BATCH} images, {options.at_once} at once{peak(device)}")
    print(f"losses: {' '.join(f'{loss:.2f}' for loss in log)}", flush=True)


def readings(options: argparse.Namespace, device: torch.device) -> None:
    """Takes and prints all readings: of the model as it comes, of a fit, and of the model with its LoRA layers."""
    geometry = SMALL if options.small else LLAVA_MED
    model = measured("building", "models", 1, device, lambda: build(geometry, device))
    print(f"{sum(parameter.numel() for parameter in model.model.parameters()):,} weights")
    if options.checkpoint or options.four_bit:
        with tempfile.TemporaryDirectory() as folder:
            back = partial(through_checkpoint, model, geometry, options.four_bit, Path(folder))
            model = measured("writing, converting and loading a checkpoint", "models", 1, device, back)
    pictures = render(max(options.images, BATCH), geometry[1]["image_size"])
    read(model, pictures[: options.images], options)
    rank, alpha = (8, 16) if options.small else (PAPER["vlm_lora_rank"], PAPER["vlm_lora_alpha"])
    model = vlm_training.with_lora(model, rank, alpha, 0.05, seed=0)
    fit(model, pictures[:BATCH], options)
    read(model, pictures[: options.images], options)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64, help="that are read")
    parser.add_argument("--read-at-once", type=int, default=PAPER["vlm_read_at_once"])
    parser.add_argument("--alone", type=int, default=8, help="of them are also read one at a time")
    parser.add_argument("--tokens", type=int, default=8, help="of an answer in words")
    parser.add_argument("--steps", type=int, default=12, help="of the fit")
    parser.add_argument("--at-once", type=int, default=PAPER["vlm_at_once"], help=f"of a step's {BATCH} images")
    parser.add_argument("--checkpoint", action="store_true")
    parser.add_argument("--four-bit", action="store_true")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    if options.small:
        options.images, options.alone, os.environ["P2D_DEVICE"] = 12, 4, "cpu"
    device, began = set_up(), time.perf_counter()
    if device.type != "cuda" and not options.small:
        print(
            "PyTorch finds no NVIDIA GPU here; --small shows on a CPU that all readings can be taken", file=sys.stderr
        )
        return 2
    print(torch.cuda.get_device_name() if device.type == "cuda" else "a CPU", flush=True)
    readings(options, device)
    print(f"{time.perf_counter() - began:.0f} s after the imports")
    return 0


if __name__ == "__main__":
    sys.exit(main())
