"""How fast the phantom is rendered, and how hard its classes are: mean colour against a small network.

    python benchmarks/phantom_band.py [--images 3000] [--steps 1500]

One core. Lesions of all classes in equal numbers, a fifth of them held out; a logistic regression on the mean RGB of
each image and a tiny_resnet (64 px, batches of 32, balanced) are fitted on the others. Balanced accuracy, chance 0.143;
the aim is under 0.45 for the colour and 0.75 to 0.92 for the network. The ratio is network to colour.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib.images import square
from p2d_lib.models import class_batches, classifiers
from p2d_lib.prep import phantom
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX


def render_set(n: int, size: tuple[int, int]) -> np.ndarray:
    """n images of n lesions, the classes in turn: uint8 (n, 64, 64, 3)."""
    started, squares = time.process_time(), []
    for k in range(n):
        rng = np.random.default_rng(derive(5, "band", k))
        lesion = phantom.make_lesion(rng, DX[k % len(DX)])
        picture, _ = phantom.render(lesion, phantom.make_view(rng, "clinic"), size)
        squares.append(np.asarray(square(Image.fromarray(picture), 64)))
    rate = n / (time.process_time() - started)
    print(f"{size[0]} x {size[1]} px: {rate:.0f} images a second of one core, each of a lesion of its own", flush=True)
    return np.stack(squares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    render_set(100, (256, 192))
    images = render_set(options.images, (128, 96))
    labels = np.arange(len(images)) % len(DX)
    test = np.arange(len(images)) // len(DX) % 5 == 0

    colours = images.mean((1, 2))
    linear = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    by_colour = balanced_accuracy_score(labels[test], linear.fit(colours[~test], labels[~test]).predict(colours[test]))
    print(f"mean RGB, logistic regression: {by_colour:.3f}")

    network, cpu = classifiers.build("tiny_resnet"), torch.device("cpu")
    classifiers.fit(
        network, images[~test], labels[~test], steps=options.steps, batch_size=32, learning_rate=2e-3, seed=0,
        device=cpu, batches=class_batches.balanced(labels[~test], options.steps, 32, 0), progress=False,
    )  # fmt: skip
    read = classifiers.predict(network, images[test], cpu)["p"].argmax(1)
    by_network = balanced_accuracy_score(labels[test], read)
    print(f"tiny_resnet, {options.steps} steps: {by_network:.3f}")
    print(f"ratio {by_network / by_colour:.2f}")


if __name__ == "__main__":
    main()
