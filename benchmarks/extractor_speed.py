"""EfficientNet-Lite0 on one CPU thread: images a second, plain in batches of 32 against ours (fused, batches of 4).

    .venv/bin/python benchmarks/extractor_speed.py

Both sides resize the same 192 images of 64 px to 224 px and run in turn; seconds are CPU seconds. Prints the largest
difference of features and, last, `ratio <number>`.
"""

import argparse
import time

import numpy as np
import torch
from tqdm import tqdm

from p2d_lib.models.extractors import Extractor, efficientnet

NAME, PLAIN_BATCH = "efficientnet_lite0", 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = np.random.default_rng(0).integers(0, 256, (options.images, 64, 64, 3), np.uint8)
    network = efficientnet.build(NAME)
    network.reset_classifier(0)

    @torch.inference_mode()
    def plain() -> np.ndarray:
        parts = [images[start : start + PLAIN_BATCH] for start in range(0, len(images), PLAIN_BATCH)]
        return np.concatenate([network(efficientnet.pixels(part, efficientnet.SIDES[NAME])).numpy() for part in parts])

    sides = {"plain": plain, "ours": lambda: Extractor(NAME, torch.device("cpu"))(images)}
    features, seconds = {}, {name: [] for name in sides}
    for _ in tqdm(range(options.rounds), unit="round"):
        for name, embed in sides.items():
            start = time.process_time()
            features[name] = embed()
            seconds[name].append(time.process_time() - start)
    best = {name: min(values) for name, values in seconds.items()}
    print(*(f"{name} {len(images) / value:.1f} images a second" for name, value in best.items()), sep=", ")
    print(f"largest difference of a feature {np.abs(features['plain'] - features['ours']).max():.1e}")
    print(f"ratio {best['plain'] / best['ours']:.2f}")


if __name__ == "__main__":
    main()
