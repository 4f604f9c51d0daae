"""What `growth.py` measures: for each kernel a function that prepares n synthetic images and gives the work on them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib import images
from p2d_lib.vocabulary import DX, FEATURES

SHARES = (0.04, 0.05, 0.11, 0.03, 0.11, 0.62, 0.04)  # of the classes, about as uneven as HAM10000's
SIDE, WIDTH = 64, 128  # px; features
DISTINCT = 500  # image files; others are hard links to them, which cost as much to read
RESAMPLES, QUERIES = 100, 100
ORIGINALS = 1000  # train images, where n images of another kind are compared with them


class Kernel(NamedTuple):
    """notebook: whose work it is. title: in the table. build: (n, an empty folder) -> the work on n images."""

    notebook: str
    title: str
    build: Callable[[int, Path], Callable]


def cases(n: int) -> pd.DataFrame:
    """n images of 3/4 as many lesions."""
    rng = np.random.default_rng(0)
    lesion = np.sort(rng.integers(0, 3 * n // 4, n))
    of_lesion = rng.choice(DX, 3 * n // 4, p=SHARES)
    table = pd.DataFrame({"image_id": [f"i{k:07d}" for k in range(n)], "lesion_id": [f"l{k}" for k in lesion]})
    return table.assign(
        dx=of_lesion[lesion], split=rng.choice(["train", "val", "test"], n, p=[0.7, 0.1, 0.2]), dataset="synthetic",
        localization=rng.choice(["back", "face", "foot"], n), sex=rng.choice(["female", "male"], n),
        age=rng.integers(20, 80, n).astype(float),
    )  # fmt: skip


def descriptions(table: pd.DataFrame) -> pd.DataFrame:
    scores = pd.DataFrame(np.random.default_rng(1).random((len(table), len(FEATURES))), columns=list(FEATURES))
    described = pd.concat([table[["image_id"]], scores], axis=1)
    return described.assign(describer="template", text="", prompt="a prompt", valid=True, reviewer="")


def squares(n: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2)


def features(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


def files(n: int, folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for k, square in enumerate(squares(min(n, DISTINCT))):
        images.save(folder / f"{k:07d}.png", square)
    for k in range(DISTINCT, n):
        os.link(folder / f"{k % DISTINCT:07d}.png", folder / f"{k:07d}.png")
    return sorted(folder.glob("*.png"))


def readings(table: pd.DataFrame) -> pd.DataFrame:
    """Of two arms with two seeds."""
    from p2d_lib.readings import readings as rows

    rng, parts = np.random.default_rng(2), []
    for arm, seed in ((arm, seed) for arm in ("real", "mixed") for seed in (0, 1)):
        p = rng.dirichlet(np.ones(len(DX)), len(table))
        parts.append(rows(table["image_id"], f"{arm}-{seed}", "network", p=p, arm=arm, seed=seed))
    return pd.concat(parts, ignore_index=True)


def split_by_lesion(n: int, _: Path) -> Callable:
    from p2d_lib.prep import splits

    table = cases(n).drop(columns="split")
    return lambda: splits.split(table, 0.2, 1 / 9, 42)


def find_duplicates(n: int, _: Path) -> Callable:
    from p2d_lib.instruments import copies

    table, pixels = cases(n), squares(n)
    return lambda: copies.duplicates(table, pixels)


def doubt_labels(n: int, _: Path) -> Callable:
    from p2d_lib.prep import label_doubts

    table, pixels = cases(n), squares(n)
    measured = pd.DataFrame(np.random.default_rng(3).random((n, 10))).add_prefix("m").assign(image_id=table["image_id"])

    def work():
        seen = label_doubts.cheap_features(pixels, measured)
        label_doubts.suspect_labels(seen, table["dx"], table["lesion_id"], 0)

    return work


def word_prompts(n: int, _: Path) -> Callable:
    from p2d_lib.words.wording import Wording, lesions

    table, wording = cases(n), Wording("phrases", 8, 75)
    scores = descriptions(table)
    return lambda: wording.prompts(lesions(table, scores), lambda text: len(text.split()), 0, table["image_id"])


def store_pixels(n: int, folder: Path) -> Callable:
    from p2d_lib.image_store import store

    paths = files(n, folder)
    return lambda: store(paths, folder / "store")


def make_plan(n: int, _: Path) -> Callable:
    from p2d_lib.sample import plan

    table = cases(10_000)
    known = descriptions(table)
    return lambda: plan.make(table, known, per_class=n // 7, others_per_class=n // 70, seed=0)


def write_images(n: int, folder: Path) -> Callable:
    from p2d_lib.models import generate

    rows = pd.DataFrame({"image_id": [f"i{k:07d}" for k in range(n)], "prompt": "a prompt", "seed": range(n)})
    batch = squares(32)

    def generator(requests):
        left = sum(1 for _ in requests)
        for start in range(0, left, 32):
            yield batch[: min(32, left - start)]

    return lambda: generate.generate({"adapter": generator}, rows.assign(generator="adapter"), folder, batch_size=32)


def resume_images(n: int, folder: Path) -> Callable:
    """A plan whose images are all there: what a shard does that is started again."""
    work, again = write_images(n, folder), write_images(n, folder)
    from p2d_lib.models import generate

    generate.images.save, kept = lambda path, *_: path.write_bytes(b""), generate.images.save
    os.fsync, synced = lambda _: None, os.fsync
    work()
    generate.images.save, os.fsync = kept, synced
    return again


def find_copies(n: int, _: Path) -> Callable:
    """n images are compared with ORIGINALS."""
    from p2d_lib.instruments import copies

    originals, pixels = squares(ORIGINALS), squares(n, 1)
    return lambda: copies.nearest_originals(pixels, originals)


def of_features(name: str) -> Callable:
    def build(n: int, _: Path) -> Callable:
        from p2d_lib.instruments import distances

        real, synthetic = features(n), features(n, 1)
        return lambda: getattr(distances, name)(real, synthetic)

    return build


def find_memorised(n: int, _: Path) -> Callable:
    """n originals are searched for QUERIES pictures."""
    from p2d_lib.instruments.reidentification import Originals

    originals, pictures, lesions = squares(n), squares(QUERIES, 1), cases(n)["lesion_id"]
    return lambda: Originals(originals, lesions).search(pictures)


def tell_apart(n: int, _: Path) -> Callable:
    from p2d_lib.instruments import two_sample

    real, synthetic = features(n), features(n, 1)
    return lambda: two_sample.auc(real, synthetic)


def test_copying(n: int, _: Path) -> Callable:
    """n images against ORIGINALS, of which five in seven are train images."""
    from p2d_lib.instruments.overfitting import overfitting

    real, dx = features(ORIGINALS), np.random.default_rng(1).choice(DX, ORIGINALS, p=SHARES)
    train, synthetic = np.arange(ORIGINALS) % 7 < 5, (features(n, 1), np.random.default_rng(2).choice(DX, n, p=SHARES))
    return lambda: overfitting((real[train], dx[train]), (real[~train], dx[~train]), synthetic)


def test_alignment(n: int, _: Path) -> Callable:
    from p2d_lib.fidelity import alignment

    dx = np.random.default_rng(1).choice(DX, n, p=SHARES)
    sides = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (features(n), features(n, 1))]
    return lambda: alignment.align(*sides, dx)


def variety(n: int, _: Path) -> Callable:
    from p2d_lib.instruments.vendi import vendi

    synthetic = features(n)
    return lambda: vendi(synthetic)


def read_batches(n: int, folder: Path) -> Callable:
    """200 batches of 32 images from the file of raw pixels of n, as a training step takes them."""
    from p2d_lib.image_store import store

    pixels = store(files(n, folder), folder / "store")
    batches = np.random.default_rng(0).integers(0, n, (200, 32))
    return lambda: [pixels[np.sort(rows)].mean() for rows in batches]


def write_form(n: int, folder: Path) -> Callable:
    from p2d_lib.readers import form

    pictures = dict(enumerate(squares(n), start=1))
    return lambda: form.write(folder / "form.html", "growth", {1: list(pictures)}, pictures)


def follow_events(n: int, folder: Path) -> Callable:
    """What the terminal shows while n shards begin and end: looked at after each hundredth of the events."""
    from workflow.progress import Progress, record_event

    shown = Progress(folder, ["04_sample"], [], {})
    shown._show_shard = lambda *_: None

    def work():
        for k in range(n):
            record_event(folder, "04_sample", "done", f"{k}-of-{n}")
            if k % max(1, n // 100) == 0:
                shown.update()

    return work


def read_by_network(n: int, _: Path) -> Callable:
    import torch

    from p2d_lib.models import classifiers

    torch.set_num_threads(1)
    network, pixels = classifiers.build("tiny_resnet"), squares(n)
    return lambda: classifiers.predict(network, pixels, torch.device("cpu"))


def compare_arms(n: int, _: Path) -> Callable:
    from p2d_lib.classify import comparison

    table = cases(n)
    read = readings(table)
    return lambda: comparison.paired(comparison.replicates(read, table, 0, RESAMPLES))


def score_readings(n: int, _: Path) -> Callable:
    from p2d_lib.instruments import intervals, scores

    table = cases(n)
    p = np.random.default_rng(0).dirichlet(np.ones(len(DX)), n)

    def work():
        weights = intervals.resample(table["lesion_id"], RESAMPLES, seed=0)
        scores.resampled_scores(table["dx"], np.array(DX)[p.argmax(1)], p, weights)

    return work


def read_groups(n: int, _: Path) -> Callable:
    from p2d_lib.fairness import groups

    table = cases(n)
    read = readings(table)
    return lambda: groups.by_group(read, table, 20, RESAMPLES)


def digest_folder(n: int, folder: Path) -> Callable:
    from p2d_lib.files import sha256

    files(n, folder)
    return lambda: sha256(folder)


def know_digests(n: int, folder: Path) -> Callable:
    """Files whose digests are known, as a stage looks at them that is not run again."""
    from workflow.digests import Digests

    files(n, folder / "made")
    for path in (folder / "made").iterdir():
        os.utime(path, (0, 0))
    first = Digests(folder / "digests.json")
    first._now += 10  # the files have settled
    first(folder / "made")
    first.save()
    return lambda: Digests(folder / "digests.json")(folder / "made")


KERNELS = {
    "split": Kernel("01", "split by lesion", split_by_lesion),
    "duplicates": Kernel("01", "duplicates (each against each)", find_duplicates),
    "label doubts": Kernel("01", "doubts of labels", doubt_labels),
    "prompts": Kernel("02", "wording of prompts", word_prompts),
    "store": Kernel("03", "file of raw pixels", store_pixels),
    "plan": Kernel("04", "plan", make_plan),
    "write": Kernel("04", "images written, each with its settings", write_images),
    "resume": Kernel("04", "a shard that finds all its images", resume_images),
    "copies": Kernel("04", f"copies among {ORIGINALS:,} originals", find_copies),
    "frechet": Kernel("05", "Fréchet distance", of_features("frechet")),
    "kid": Kernel("05", "KID", of_features("kid")),
    "prdc": Kernel("05", "precision, recall, density, coverage", of_features("prdc")),
    "auc": Kernel("05", "AUC of a classifier", tell_apart),
    "vendi": Kernel("05", "Vendi score", variety),
    "alignment": Kernel("05", "alignment (each image with each prompt)", test_alignment),
    "copying": Kernel("05", f"test of copying against {ORIGINALS:,} real images", test_copying),
    "memorised": Kernel("05", f"memorisation: {QUERIES} pictures searched among so many", find_memorised),
    "batches": Kernel("06", "200 batches from the file of raw pixels", read_batches),
    "network": Kernel("06", "reading by the network", read_by_network),
    "scores": Kernel("06", "twelve scores of one reading", score_readings),
    "arms": Kernel("06", "comparison of two arms, two seeds each", compare_arms),
    "form": Kernel("07", "form of a study in one HTML file", write_form),
    "groups": Kernel("08", "groups of four readings", read_groups),
    "digest": Kernel("all", "digest of a folder", digest_folder),
    "known": Kernel("all", "digests that are known", know_digests),
    "events": Kernel("all", "events of so many shards", follow_events),
}
