"""Seconds and memory of what grows with the number of images, at 1,000, 10,000 and 100,000 of them.

    python benchmarks/growth.py [--sizes 1000 10000 100000] [--limit 180] [--only kid prdc] [--figure growth.png]

No network: what is timed is the work around the networks, on synthetic inputs. Each kernel and size runs in a process
of its own; its memory is the peak above what its inputs take. A size that would take longer than --limit seconds, were
the growth linear from the size before, is left out, and so is one that reaches it: nothing is extrapolated. The
exponent is that of the seconds between the two largest sizes: 1 is linear. Seconds are those of the processor.
"""

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib import images
from p2d_lib.vocabulary import DX, FEATURES

SHARES = (0.04, 0.05, 0.11, 0.03, 0.11, 0.62, 0.04)  # of the classes, about as uneven as HAM10000's
SIDE, WIDTH = 64, 512  # px; features
DISTINCT = 500  # image files; others are hard links to them, which cost as much to read
RESAMPLES, QUERIES = 200, 100


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
    from p2d_lib.instruments import copies

    originals, pixels = squares(n), squares(n, 1)
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


def variety(n: int, _: Path) -> Callable:
    from p2d_lib.instruments.vendi import vendi

    synthetic = features(n)
    return lambda: vendi(synthetic)


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
        weights = intervals.resample(table["lesion_id"], RESAMPLES)
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


KERNELS = {  # name: the notebook that does it, and what prepares it
    "split": ("01", split_by_lesion),
    "duplicates": ("01", find_duplicates),
    "label doubts": ("01", doubt_labels),
    "prompts": ("02", word_prompts),
    "store": ("03", store_pixels),
    "plan": ("04", make_plan),
    "write": ("04", write_images),
    "resume": ("04", resume_images),
    "copies": ("04", find_copies),
    "frechet": ("05", of_features("frechet")),
    "kid": ("05", of_features("kid")),
    "prdc": ("05", of_features("prdc")),
    "auc": ("05", tell_apart),
    "vendi": ("05", variety),
    "memorised": ("05", find_memorised),
    "network": ("06", read_by_network),
    "scores": ("06", score_readings),
    "arms": ("06", compare_arms),
    "groups": ("08", read_groups),
    "digest": ("all", digest_folder),
}


def _memory(field: str) -> float:
    """MB of this process: VmRSS now, or VmHWM, the highest since it was reset."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


def _measure(name: str, n: int, pipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = KERNELS[name][1](n, Path(folder))
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        held, started = _memory("VmRSS"), time.process_time()
        work()
        pipe.send((time.process_time() - started, max(0.0, _memory("VmHWM") - held)))


def measured(name: str, n: int, limit: float) -> tuple[float, float] | None:
    """Seconds and MB of a kernel; None where it does not end within the limit or fails for lack of memory."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(name, n, writer))
    process.start()
    writer.close()
    try:
        return reader.recv() if reader.poll(limit) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()


def figure(table: pd.DataFrame, path: Path) -> None:
    """Seconds and MB against the number of images, on logarithmic axes; the grey line is linear growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    colours = pyplot.colormaps["tab20"](np.linspace(0, 1, len(KERNELS)))
    for axis, column, label in zip(axes, ("seconds", "mb"), ("CPU seconds", "MB above the inputs"), strict=True):
        axis.set_prop_cycle(color=colours)
        least = 0.01 if column == "seconds" else 1
        for (name, stage), rows in table.groupby(["kernel", "notebook"], sort=False):
            axis.loglog(rows["n"], rows[column].clip(lower=least), "o-", label=f"{stage} {name}")
        ends = np.array([table["n"].min(), table["n"].max()])
        axis.loglog(ends, least / 2 * ends / ends[0], "--", color="grey")
        axis.set(xlabel="images", ylabel=label)
    axes[1].legend(fontsize=7, ncols=2)
    shown.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--limit", type=float, default=180, help="seconds")
    parser.add_argument("--only", nargs="+", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.only:
        before = None
        for n in options.sizes:
            if before and before[1] * n / before[0] > options.limit:
                break
            if (result := measured(name, n, options.limit)) is None:
                print(f"{name} {n}: not within {options.limit:g} s", flush=True)
                break
            before = n, result[0]
            rows.append((name, KERNELS[name][0], n, *result))
            print(f"{KERNELS[name][0]} {name} {n}: {result[0]:.2f} s, {result[1]:.0f} MB", flush=True)
    table = pd.DataFrame(rows, columns=["kernel", "notebook", "n", "seconds", "mb"])
    for name, part in table.groupby("kernel", sort=False):
        if len(part) > 1:
            last = np.log(part.iloc[-2:][["n", "seconds"]].clip(lower=1e-3).to_numpy())
            print(f"{name}: exponent {(last[1, 1] - last[0, 1]) / (last[1, 0] - last[0, 0]):.2f}")
    if options.figure:
        figure(table, options.figure)


if __name__ == "__main__":
    main()
