"""Training images a second: a loop like diffusers' train_text_to_image_lora.py against p2d_lib.finetune.

    python benchmarks/train_speed.py                       # the tiny model at 64 px
    python benchmarks/train_speed.py --precision bfloat16  # both sides, on a CPU with avx512_bf16 or amx_bf16
    python benchmarks/train_speed.py --sd15                # Stable Diffusion 1.5's geometry, random weights, 512 px

Both fit an adapter of rank 8 to the attention, with AdamW, in the same precision (bfloat16 on a GPU, else float32), to
the same files, in turn; the median of the rounds counts. On a CPU seconds are those of the process, which other work
hardly changes. The script's loop opens and resizes the files, encodes the images and reads the prompts at every step.
Ours does so once, which is timed apart. The files are grainy JPEGs of 600 x 450 px of 260 KB, as HAM10000's; with
--prepared, PNGs of the size that is trained at. Also says what share of the rate of a large matrix product, measured
here, ours reaches.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from transformers import CLIPTextConfig, CLIPTextModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib import images
from p2d_lib.device import PRECISIONS, half, set_up
from p2d_lib.finetune import adapter, latents, loop
from p2d_lib.models import encoding, pipelines, tiny_base

PROMPT = "dermoscopic image of melanoma, atypical pigment network, blue-white veil, on the back"
RANK, RATE, WARM = 8, 1e-4, 5  # the first steps compile and fill caches: they do not count


def sd15() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5 with random weights."""
    tokenizer = tiny_base.tiny_pipeline(0).tokenizer
    tokenizer.model_max_length = 77
    words = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4, layers_per_block=2,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, sample_size=512,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=vae, unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768), tokenizer=tokenizer,
        text_encoder=CLIPTextModel(words), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    )  # fmt: skip


def plain(pipe, files: list[Path], options: argparse.Namespace, device: torch.device) -> float:
    """Images a second of the script's loop: everything from the file to the step, at every step."""
    pipe.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(adapter.ATTENTION)))
    trained = [p for p in pipe.unet.parameters() if p.requires_grad]
    for p in trained:
        p.data = p.data.float()
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    prepared = transforms.Compose(
        [
            transforms.Resize(options.size),
            transforms.CenterCrop(options.size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    ids = encoding.tokens(pipe, [PROMPT])[0]
    read = [(file, ids) for file in files]

    def batch(rows: list) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.stack([prepared(Image.open(file).convert("RGB")) for file, _ in rows])
        return pixels, torch.stack([ids for _, ids in rows])

    loader = torch.utils.data.DataLoader(read, options.batch_size, shuffle=True, collate_fn=batch, drop_last=True)
    pipe.unet.train()
    step, started = 0, 0.0
    while True:
        for pixels, ids in loader:
            if step == WARM:
                started = now(device)
            if step == WARM + options.steps:
                return options.steps * options.batch_size / (now(device) - started)
            with half(device, options.precision):
                clean = pipe.vae.encode(pixels.to(device, pipe.vae.dtype)).latent_dist.sample()
                clean = clean * pipe.vae.config.scaling_factor
                noise = torch.randn_like(clean)
                times = torch.randint(pipe.scheduler.config.num_train_timesteps, (len(clean),), device=device)
                velocity = pipe.scheduler.config.prediction_type == "v_prediction"
                target = pipe.scheduler.get_velocity(clean, noise, times) if velocity else noise
                words = pipe.text_encoder(ids.to(device))[0]
                predicted = pipe.unet(pipe.scheduler.add_noise(clean, noise, times), times, words).sample
                loss = torch.nn.functional.mse_loss(predicted.float(), target.float())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if not math.isfinite(loss.item()):  # the script shows each loss, which waits for the device
                raise FloatingPointError(f"the loss is not finite at step {step}")
            step += 1


def ours(pipe, files: list[Path], options: argparse.Namespace, cache: Path) -> tuple[float, float]:
    """Images a second of our loop, and of the encoding before it."""
    started = now(pipe.device)
    pixels = np.stack([images.read(file, options.size) for file in files])
    encoded = latents.encode(pipe, pixels, [PROMPT] * len(files), cache)
    encoding = len(files) / (now(pipe.device) - started)
    marks = []  # taken where the loop has waited for the device
    monitoring = loop.Monitoring(every=WARM, preview=lambda done: marks.append((done, now(pipe.device))))
    steps = WARM * (1 + math.ceil(options.steps / WARM))
    recipe = loop.Recipe(
        steps=steps, batch_size=options.batch_size, learning_rate=RATE, seed=0, precision=options.precision
    )
    adapter.fit_adapter(pipe, encoded, recipe, RANK, targets="attention", monitoring=monitoring)
    (first, begun), (last, ended) = marks[0], marks[-1]
    return (last - first) * options.batch_size / (ended - begun), encoding


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large square matrix product, the best of ten."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(10):
        started = now(device)
        a @ b
        seconds.append(now(device) - started)
    return 2 * side**3 / min(seconds)


def operations(pipe, size: int, device: torch.device, precision: str) -> float:
    """Of the denoiser, forwards and backwards with the adapter it has, for one image."""
    side = size // pipe.vae_scale_factor
    noisy = torch.randn(1, pipe.unet.config.in_channels, side, side, device=device, dtype=pipe.unet.dtype)
    words = encoding.encode_prompts(pipe, [PROMPT])["embeddings"].to(noisy.dtype)
    with FlopCounterMode(display=False) as counted, half(device, precision):
        pipe.unet(noisy, torch.tensor([1], device=device), words).sample.sum().backward()
    return counted.get_total_flops()


def _picture(rng: np.random.Generator, shape: tuple[int, int]) -> Image.Image:
    """Smooth colours with grain: a JPEG costs what its details do."""
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(shape, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 10, (shape[1], shape[0], 3))
    return Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8))


def now(device: torch.device) -> float:
    """Seconds: of this process on a CPU, by the clock on a GPU, which is waited for."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd15", action="store_true", help="Stable Diffusion 1.5's geometry instead of the tiny model")
    parser.add_argument("--size", type=int, help="px, default 64, or 512 with --sd15")
    parser.add_argument("--prepared", action="store_true", help="files of the size that is trained at")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--steps", type=int, default=30, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    options.size = options.size or (512 if options.sd15 else 64)
    device = set_up()
    in_half = options.precision == "bfloat16" or (options.precision == "auto" and device.type == "cuda")
    dtype = torch.bfloat16 if in_half else torch.float32  # of what is not trained

    rates = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kind, shape = ("png", (options.size, options.size)) if options.prepared else ("jpg", (600, 450))
        files = [folder / f"{k}.{kind}" for k in range(options.images)]
        for k, file in enumerate(files):
            _picture(np.random.default_rng(k), shape).save(file, quality=99)
        print(f"{len(files)} files of {np.mean([file.stat().st_size for file in files]) / 1000:.0f} KB")
        if options.sd15:
            sd15().save_pretrained(folder / "sd15")
        base = folder / "sd15" if options.sd15 else "tiny"
        for k in range(options.rounds):
            pipe = pipelines.load(base, device, dtype)
            for part in (pipe.vae, pipe.unet):
                part.to(memory_format=torch.contiguous_format)  # as the script leaves it
            rates["plain"].append(plain(pipe, files, options, device))
            print(f"plain: {rates['plain'][-1]:.2f} images/s", flush=True)
            pipe = pipelines.load(base, device, dtype)
            rate, encoding = ours(pipe, files, options, folder / f"latents{k}")
            rates["ours"].append(rate)
            print(f"ours: {rate:.2f} images/s, after encoding at {encoding:.2f} images/s, once", flush=True)
        share = operations(pipe, options.size, device, options.precision) * statistics.median(rates["ours"])
        share /= matmul_rate(device, dtype)
    kind = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{kind}, {str(dtype).removeprefix('torch.')}: ours computes at {share:.0%} of the rate of a large product")
    print(f"ratio {statistics.median(rates['ours']) / statistics.median(rates['plain']):.2f}")


if __name__ == "__main__":
    main()
