"""How well HAM10000 can be read by a network with ImageNet weights, beside the published macro-F1 of 0.69 to 0.77.

    python benchmarks/ham10000_band.py path/to/ham10000 --cache FOLDER [--size 112] [--epochs 3]

The published split by lesion (7,130 train, 890 val and 1,995 test images). efficientnet_lite0 is fine-tuned at --size
px with the library's own `classifiers.fit`, a class as frequent as the square root of its number of images. The weights
of the best val macro-F1 read the test images, averaged over flips. Beside it the cheap reference: a linear head on
frozen features at 224 px, its penalty chosen on val. Intervals resample lesions. The ratio is the macro-F1 of the
fine-tuned network to that of the frozen one. Features and training lie in --cache, so that an interrupted call goes on.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib.images import square
from p2d_lib.instruments import intervals, scores
from p2d_lib.models import augmentation, class_batches, classifiers
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.early_stopping import EarlyStopping
from p2d_lib.models.extractors import Extractor
from p2d_lib.prep import raw, splits
from p2d_lib.report.tables import interval
from p2d_lib.schemas import SPLITS
from p2d_lib.vocabulary import DX

NETWORK, CPU = "efficientnet_lite0", torch.device("cpu")
PENALTIES = (1e-3, 1e-2, 1e-1)  # LogisticRegression's C
AT_ONCE = 256  # images decoded and embedded together
BATCH, RATE, DROPOUT = 32, 1e-3, 0.2


def squares(raw_set: raw.RawSet, size: int, cache: Path) -> np.ndarray:
    """The central squares of all images, uint8 (n, size, size, 3), mapped from a file that is made once."""
    file, names = cache / f"squares-{size}.npy", raw_set.metadata["image_id"]
    if not file.exists():
        partial = file.with_suffix(".partial")
        pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(names), size, size, 3))
        for row, name in enumerate(tqdm(names, desc="squares", mininterval=5)):
            pixels[row] = square(raw_set.images[name].image(at_least=size), size)
        pixels.flush()
        partial.rename(file)
    return np.load(file, mmap_mode="c")


def features(pixels: np.ndarray, cache: Path) -> np.ndarray:
    """Frozen features of all images, float32 (n, 1280); what an interrupted call finished is taken from the cache."""
    extract = Extractor(NETWORK, CPU, cache)
    starts = range(0, len(pixels), AT_ONCE)
    return np.concatenate([extract(pixels[start : start + AT_ONCE]) for start in tqdm(starts, mininterval=5)])


def linear_head(x: np.ndarray, labels: np.ndarray, split: np.ndarray) -> np.ndarray:
    """Probabilities (n_test, 7) of the head whose penalty has the best val macro-F1."""
    x = StandardScaler().fit(x[split == "train"]).transform(x)
    heads = {}
    for penalty in PENALTIES:
        head = LogisticRegression(C=penalty, max_iter=300, class_weight="balanced")
        head.fit(x[split == "train"], labels[split == "train"])
        reached = f1_score(labels[split == "val"], head.predict(x[split == "val"]), average="macro")
        print(f"linear head, C = {penalty:g}: val macro-F1 {reached:.3f}", flush=True)
        heads[reached] = head
    return heads[max(heads)].predict_proba(x[split == "test"])


def fine_tuned(pixels: np.ndarray, labels: np.ndarray, split: np.ndarray, epochs: float, cache: Path) -> np.ndarray:
    """Probabilities (n_test, 7) of the fine-tuned network, with the weights of the best epoch on val."""
    of = {name: np.flatnonzero(split == name) for name in SPLITS}
    steps = round(epochs * len(of["train"]) / BATCH)
    shown = class_batches.square_root(labels[of["train"]], steps, BATCH, seed=0)
    model = classifiers.build(f"{NETWORK}:IMAGENET1K", side=pixels.shape[1], dropout=DROPOUT)
    stopping = EarlyStopping(pixels[of["val"]], labels[of["val"]], every=len(of["train"]) // BATCH, patience=99)
    log = classifiers.fit(
        model, pixels, labels, steps=steps, batch_size=BATCH, learning_rate=RATE, seed=0, device=CPU,
        batches=of["train"][shown], augmentation=augmentation.TRANSFORMS, stopping=stopping,
        checkpoint=Checkpoints(cache, every_minutes=2).of("fine-tuning", f"square root {pixels.shape} {steps}"),
    )  # fmt: skip
    reached = log["val_macro_f1"].dropna()
    print(f"val macro-F1 after {', '.join(f'{step + 1} steps {value:.3f}' for step, value in reached.items())}")
    return classifiers.predict(model, pixels[of["test"]], CPU, flips=True)["p"]


def report(name: str, p: np.ndarray, test: pd.DataFrame, seconds: float) -> float:
    """Prints the main scores of the test images with their intervals over lesions; gives macro-F1."""
    weights = intervals.resample(test["lesion_id"], 2000)
    of_scores = scores.resampled_scores(test["dx"], np.array(DX)[p.argmax(1)], p, weights)
    texts = [f"{score} {interval(*intervals.summarise(of_scores[score]))}" for score in scores.SCORES]
    print(f"{name}, {seconds:.0f} s: {'; '.join(texts)}", flush=True)
    return float(of_scores["macro_f1"][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="HAM10000 in its authors' layout, unzipped")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded images, features and training")
    parser.add_argument("--size", type=int, default=112, help="px at which the network is fine-tuned")
    parser.add_argument("--epochs", type=float, default=3)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    raw_set = raw.read(options.folder)
    table = raw_set.metadata.assign(split=splits.split(raw_set.metadata, 0.2, 1 / 9, 42))
    labels, split = table["dx"].map(DX.index).to_numpy(), table["split"].to_numpy()
    test = table[split == "test"]

    started = time.perf_counter()
    p = fine_tuned(squares(raw_set, options.size, options.cache), labels, split, options.epochs, options.cache)
    tuned = report(f"{NETWORK} at {options.size} px, {options.epochs:g} epochs", p, test, time.perf_counter() - started)
    started = time.perf_counter()
    p = linear_head(features(squares(raw_set, 224, options.cache), options.cache), labels, split)
    frozen = report(f"{NETWORK} frozen at 224 px, linear head", p, test, time.perf_counter() - started)
    print(f"ratio {tuned / frozen:.2f}")


if __name__ == "__main__":
    main()
