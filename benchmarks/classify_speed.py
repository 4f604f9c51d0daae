"""Images a second that a classifier is trained on: torchvision's ImageFolder and DataLoader against p2d_lib.

    python benchmarks/classify_speed.py [--images 1500] [--size 128] [--steps 150] [--rounds 3] [--cores 2] [--cpu]

Both train the same tiny_resnet with batches of 32 on the same PNGs, with the same kinds of augmentation, in turn; the
median of the rounds counts. The plain side decodes each image in each epoch, in two worker processes, and augments with
torchvision's transforms one by one. Ours decodes once into a file of raw pixels, which counts as part of its time, and
augments batches of tensors. Both may use --cores threads. --cpu counts the seconds of the processor, those of worker
processes included, and not those of the clock: for a machine that others use at the same time.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib import images
from p2d_lib.image_store import store
from p2d_lib.models import augmentation, classifiers
from p2d_lib.vocabulary import DX

BATCH, RATE = 32, 1e-3


def write(folder: Path, n: int, size: int) -> list[Path]:
    """n noisy PNGs in one folder a class, as ImageFolder wants them."""
    rng, paths = np.random.default_rng(0), []
    for k in range(n):
        path = folder / DX[k % len(DX)] / f"{k:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.save(path, (rng.normal(150, 12, (size, size, 3)) + 5 * (k % 7)).clip(0, 255).astype(np.uint8))
        paths.append(path)
    return paths


def plain(folder: Path, steps: int, cores: int) -> None:
    """The usual loop."""
    augmented = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomAffine(180, (0.1, 0.1), (0.8, 1.25), interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.ColorJitter(0.1, 0.1, 0.1),
            transforms.ToTensor(),
        ]
    )
    files = ImageFolder(str(folder), augmented)
    loader = DataLoader(files, BATCH, shuffle=True, num_workers=cores, drop_last=True, persistent_workers=True)
    model = classifiers.build("tiny_resnet").train()
    optimizer, step = torch.optim.AdamW(model.parameters(), lr=RATE), 0
    while step < steps:
        for pixels, labels in loader:
            loss = F.cross_entropy(model(pixels)[0], labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == steps:
                break


def ours(paths: list[Path], cache: Path, steps: int) -> None:
    pixels = store(paths, cache)
    labels = np.array([DX.index(path.parent.name) for path in paths])
    classifiers.fit(
        classifiers.build("tiny_resnet"), pixels, labels, steps=steps, batch_size=BATCH, learning_rate=RATE, seed=0,
        device=torch.device("cpu"), augmentation=augmentation.TRANSFORMS, progress=False,
    )  # fmt: skip


def _processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--size", type=int, default=128, help="px of the squares")
    parser.add_argument("--steps", type=int, default=150, help="about three epochs by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--cores", type=int, default=2, help="threads of each side, and worker processes of the plain one"
    )
    parser.add_argument("--cpu", action="store_true", help="count the processor's seconds")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    clock = _processor_seconds if options.cpu else time.perf_counter
    seconds = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as place:
        paths = write(Path(place) / "images", options.images, options.size)
        for k in range(options.rounds):
            for name in seconds:
                started = clock()
                if name == "plain":
                    plain(Path(place) / "images", options.steps, options.cores)
                else:
                    ours(paths, Path(place) / f"cache{k}", options.steps)
                seconds[name].append(clock() - started)
                print(f"{name}: {options.steps * BATCH / seconds[name][-1]:.0f} images a second", flush=True)
    print(f"ratio {statistics.median(seconds['plain']) / statistics.median(seconds['ours']):.2f}")


if __name__ == "__main__":
    main()
