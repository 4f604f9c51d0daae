"""From a raw set to its resized images and their measurements."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import binary_erosion
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.prep import measure, pixels
from p2d_lib.prep.raw import BAD, RawSet
from p2d_lib.run import atomic, sha256
from p2d_lib.schemas import ARTEFACTS

SHARD = 128  # images: what is done again after an interruption

Job = tuple[str, pixels.File, pixels.File | None]


def prepare(
    raw: RawSet, split: pd.Series, image_size: int, folder: Path, scratch: Path, on_bad: str = "fail"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Makes `folder` of each image's central square, <image_id>.png, and the tables cases, measurements and bad.

    image_size: px of the squares. scratch: a folder for unfinished work, which goes on where it stopped as long as
    files, size and code are the same. on_bad: "fail" raises images.ImageError at the first unreadable image or mask;
    "quarantine" leaves such images out and lists them in `bad`, with what the raw set had listed before.
    `P2D_THREADS` processes share the work (default: one per core); the result does not depend on their number.
    """
    jobs = [(name, raw.images[name], raw.masks.get(name)) for name in raw.metadata["image_id"]]
    work = scratch / _key(jobs, image_size)
    squares = work / "squares"
    squares.mkdir(parents=True, exist_ok=True)
    rows = in_shards(pixels.measure_one, jobs, work / "measured", "measured", on_bad)
    good = [job for job, row in zip(jobs, rows, strict=True) if "reason" not in row]
    if not good:
        raise images.ImageError(f"not one of {len(jobs)} images can be used; the first: {rows[0]['reason']}")
    in_shards(partial(pixels.write_square, image_size, squares), good, work / "resized", "resized", "fail")
    shutil.rmtree(work / "resized")  # the squares will no longer lie where it says
    squares.rename(folder)
    table = pd.DataFrame(rows, raw.metadata.index)
    listed = [_listed(raw, job, row["reason"]) for job, row in zip(jobs, rows, strict=True) if "reason" in row]
    known = raw.metadata[table["sha256"].notna()]
    measurements = known[["image_id"]].join(table[list(measure.NAMES)])
    paths = f"{ARTEFACTS['images'].path}/" + known["image_id"] + ".png"
    cases = known.assign(split=split, path=paths).join(table.drop(columns=[*measure.NAMES, "reason"], errors="ignore"))
    return cases, measurements, pd.concat([raw.bad, pd.DataFrame(listed, columns=BAD)], ignore_index=True)


def _listed(raw: RawSet, job: Job, reason: str) -> tuple:
    """A row of `bad`: image_id, file, row, stage, reason."""
    name, image, mask = job
    stage, file = ("mask", mask) if mask and reason.startswith(f"{mask}:") else ("image", image)
    return name, PurePath(str(file)).relative_to(raw.folder).as_posix(), 0, stage, reason


def in_shards(
    work: Callable[[Job], dict], jobs: list[Job], folder: Path, name: str, on_bad: str = "fail"
) -> list[dict]:
    """work(job) for each job, in order, by several processes; {"reason": ...} where it raised an ImageError.

    folder: keeps what is finished, shard by shard. on_bad: "fail" raises the first ImageError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = [(folder / f"{k:06d}.json", jobs[k : k + SHARD]) for k in range(0, len(jobs), SHARD)]
    processes = min(len(shards), int(os.environ.get("P2D_THREADS") or os.cpu_count()))
    one, results = partial(_shard, work), []
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(jobs), desc=name, unit="image", mininterval=1))
        if processes > 1:  # each with one thread of linear algebra: more would spin against each other
            pool = stack.enter_context(ProcessPoolExecutor(processes, get_context("spawn"), threadpool_limits, (1,)))
            done = pool.map(one, shards)
        else:
            stack.enter_context(threadpool_limits(1))
            done = map(one, shards)
        for rows in done:
            results += rows
            bar.update(len(rows))
            if on_bad == "fail" and (reasons := [row["reason"] for row in rows if "reason" in row]):
                raise images.ImageError(reasons[0])
    return results


def _shard(work: Callable[[Job], dict], shard: tuple[Path, list[Job]]) -> list[dict]:
    path, jobs = shard
    if path.exists():
        return json.loads(path.read_text())
    rows = []
    for job in jobs:
        try:
            rows.append(work(job))
        except images.ImageError as error:
            rows.append({"reason": str(error)})
    with atomic(path) as partly:
        partly.write_text(json.dumps(rows))
    return rows


def _key(jobs: list[Job], image_size: int) -> str:
    """Names work that may go on: the same files (by size and date), the same size of squares, the same code."""
    code = [sha256(Path(module.__file__)) for module in (images, measure, pixels)]
    paths = sorted({file.path for _, *files in jobs for file in files if file})
    stats = [(str(path), stat.st_size, stat.st_mtime_ns) for path in paths for stat in [path.stat()]]
    names = [(name, str(file), str(mask)) for name, file, mask in jobs]
    return hashlib.sha256(json.dumps([image_size, code, stats, names]).encode()).hexdigest()[:16]


def outlined(
    raw: RawSet, image_ids: Iterable[str], size: int, colour: tuple[int, int, int] = (0, 158, 115)
) -> np.ndarray:
    """Central squares, uint8 (n, size, size, 3), with the outline of their masks where there are any."""
    pictures = []
    for image_id in image_ids:
        picture = np.array(images.square(raw.images[image_id].image(), size))
        if image_id in raw.masks:
            mask = images.square(raw.masks[image_id].image().convert("L"), size, Image.Resampling.BOX)
            inside = np.asarray(mask) >= 128
            picture[inside & ~binary_erosion(inside, iterations=max(1, size // 100), border_value=1)] = colour
        pictures.append(picture)
    return np.stack(pictures)
