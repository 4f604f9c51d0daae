"""Synthetic images a second: the diffusers pipeline against p2d_lib.sample, on the same model, prompts and seeds.

    python benchmarks/sample_speed.py                # the tiny base at 64 px
    python benchmarks/sample_speed.py --adapter      # with a low-rank adapter loaded, of random weights: speed alone
    python benchmarks/sample_speed.py --sd15 --batch 16    # Stable Diffusion 1.5's geometry, random weights, 512 px

One at a time: a pipeline call of 50 steps a prompt. Batched: the pipeline at our number of steps, with our solver.
Ours: `generate.generate` with the guidance of params/smoke.yaml. All write PNGs, in turn; the median of the rounds
counts, and each round samples other images. All rounds' images of the base are then compared with the phantom: Fréchet
distance to 700 real images in the features of a network fitted on 2100 others, and how often it reads the class asked
for. `--guidance` is the pipelines', everywhere: of 1, 2, 3 and 4 the tiny base is best with 2, by distance and class
together.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib import images
from p2d_lib.device import generator, set_up
from p2d_lib.finetune.adapter import ATTENTION
from p2d_lib.instruments.distances import frechet
from p2d_lib.models import class_batches, classifiers, generate, pipelines, sampling, tiny_base
from p2d_lib.prep import phantom
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words.render import render

FITTED, FITTING = 2100, 800  # images and steps of the network that judges
REAL = 700  # images that it compares with
ALONE = 50  # steps of a pipeline call by default
OURS = {"guidance_scale": 5.0, "guidance_interval": (1.0, 3.0)}  # as in params/smoke.yaml


def render_phantom(n: int, first: int) -> tuple[np.ndarray, list[str]]:
    """Images of n lesions, the classes in turn, as the tiny base knows them: uint8 (n, 64, 64, 3), and prompts."""
    squares, prompts = [], []
    for k in range(first, first + n):
        rng = np.random.default_rng(derive(6, "sample", k))
        lesion = phantom.make_lesion(rng, DX[k % len(DX)])
        picture, _ = phantom.render(lesion, phantom.make_view(rng, "atlas"), (128, 96))
        squares.append(np.asarray(images.square(Image.fromarray(picture), 64)))
        scores = {name: lesion.truth.get(f"true_{name}") for name in FEATURES}
        known = {name: score for name, score in scores.items() if score is not None and np.isfinite(score)}
        prompts.append(render(Lesion(dx=lesion.dx, **known)))
    return np.stack(squares), prompts


def sd15(device: torch.device) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5 with random weights and the tiny model's tokenizer."""
    tiny = tiny_base.tiny_pipeline(0)
    tiny.tokenizer.model_max_length = 77
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
        )
    )
    parts = {"unet": unet, "vae": vae, "text_encoder": text}
    pipe = StableDiffusionPipeline(
        **{**tiny.components, **{name: part.eval() for name, part in parts.items()}}, requires_safety_checker=False
    )
    return pipe.to(device, pipelines.fast_dtype(device))


def add_adapter(pipe: StableDiffusionPipeline) -> None:
    """A low-rank adapter that does something, as load_lora_weights leaves it."""
    torch.manual_seed(0)
    pipe.unet.add_adapter(LoraConfig(r=8, lora_alpha=8, target_modules=list(ATTENTION), init_lora_weights=False))


def call(pipe, plan: pd.DataFrame, folder: Path, batch: int, steps: int, guidance: float, size: int) -> None:
    """What a script around a pipeline does."""
    for start in range(0, len(plan), batch):
        rows = plan.iloc[start : start + batch]
        sampled = pipe(
            rows["prompt"].tolist(), generator=[generator(seed) for seed in rows["seed"]], guidance_scale=guidance,
            num_inference_steps=steps, height=size, width=size,
        ).images  # fmt: skip
        for image, file in zip(sampled, generate.files(rows, folder), strict=True):
            image.save(file)


def rates(sides: dict, plan: pd.DataFrame, rounds: int, batch: int, place: Path) -> dict[str, float]:
    """Images a second of each side: the median over the rounds, each of which samples another part of the plan.

    sides: a function of a plan and a folder, and how many images of a part it samples.
    """
    speeds = {name: [] for name in sides}
    for name, (sample, n) in sides.items():  # what the first call costs: kernels chosen, graphs compiled
        folder = place / f"first {name}"
        folder.mkdir()
        sample(plan[: min(n, batch)], folder)
    for k in range(rounds):
        part = plan[k * len(plan) // rounds : (k + 1) * len(plan) // rounds]
        for name, (sample, n) in sides.items():
            (place / name).mkdir(exist_ok=True)
            started = time.perf_counter()
            sample(part[:n], place / name)
            speeds[name].append(min(n, len(part)) / (time.perf_counter() - started))
            print(f"{name}: {speeds[name][-1]:.2f} images a second", flush=True)
    return {name: statistics.median(values) for name, values in speeds.items()}


def judge(sets: dict[str, np.ndarray], device: torch.device) -> None:
    """Prints how near each set is to real images, and how often a network fitted on others reads the class asked for.

    sets: uint8 (n, 64, 64, 3), of the classes in turn.
    """
    labels = np.arange(FITTED) % len(DX)
    network = classifiers.build("tiny_resnet")
    classifiers.fit(
        network, render_phantom(FITTED, 0)[0], labels, steps=FITTING, batch_size=32, learning_rate=2e-3, seed=0,
        device=device, batches=class_batches.balanced(labels, FITTING, 32, 0), progress=False,
    )  # fmt: skip
    reference = classifiers.predict(network, render_phantom(REAL, FITTED)[0], device)["embedding"]
    for name, pixels in sets.items():
        read = classifiers.predict(network, pixels, device)
        right = (read["p"].argmax(1) == np.arange(len(pixels)) % len(DX)).mean()
        print(f"{name}: Fréchet distance {frechet(reference, read['embedding']):.2f}, class as asked {right:.3f}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=112, help="of a round")
    parser.add_argument("--alone", type=int, default=7, help="of them are sampled one at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=15, help="of the batched pipeline and of ours")
    parser.add_argument("--guidance", type=float, default=2.0, help="of the pipelines")
    parser.add_argument("--size", type=int, default=0, help="px; default what the model was made for")
    parser.add_argument("--adapter", action="store_true")
    parser.add_argument("--sd15", action="store_true")
    options = parser.parse_args(arguments)
    device = set_up()

    pipe = sd15(device) if options.sd15 else pipelines.load("tiny", device, pipelines.fast_dtype(device))
    if options.adapter:
        add_adapter(pipe)
    theirs = StableDiffusionPipeline(
        **{**pipe.components, "scheduler": sampling.SOLVERS["dpm++2m"].from_config(pipe.scheduler.config)},
        requires_safety_checker=False,
    )
    theirs.set_progress_bar_config(disable=True)
    size = options.size or pipe.unet.config.sample_size * pipe.vae_scale_factor
    guided = {"guidance": options.guidance, "size": size}
    compiled = device.type == "cuda"
    settings = {"num_inference_steps": options.steps, "batch_size": options.batch, "size": size, **OURS}
    ours = generate.pipeline_generators(pipe, compiled, **settings)
    sides = {
        "one at a time": (partial(call, theirs, batch=1, steps=ALONE, **guided), options.alone),
        "batched": (partial(call, theirs, batch=options.batch, steps=options.steps, **guided), options.images),
        "ours": (partial(generate.generate, ours), options.images),
    }
    pictures, prompts = render_phantom(options.images * options.rounds, 700_000)
    plan = pd.DataFrame({"image_id": [f"{k:05d}" for k in range(len(prompts))], "prompt": prompts})
    plan = plan.assign(seed=range(len(plan)), generator="adapter" if options.adapter else "base")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rate = rates(sides, plan, options.rounds, options.batch, place)
        if not (options.sd15 or options.adapter):
            sampled = {name: images.load(generate.files(plan, place / name)) for name in ("batched", "ours")}
            judge({"real": pictures, **sampled}, device)
    print(f"ours to one at a time {rate['ours'] / rate['one at a time']:.2f}")
    print(f"ratio {rate['ours'] / rate['batched']:.2f}")


if __name__ == "__main__":
    main()
