"""Plan -> images: drawn as files that survive a crash, measured against prompts and train images, packed as tars."""

import hashlib
import io
import json
import shutil
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import chain, product, tee
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.files import atomic, sha256
from p2d_lib.models import classifiers, clip, lora, sampling
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX

SHARD = 512  # images in memory at once while they are measured
COPY_QUANTILE = 0.01  # of real-to-real distances: what lies nearer to a train image is taken for a copy of it
WAITING = 256  # images that may wait for a writer: memory does not grow where a disk is slow

# Draws an image for each (prompt, seed), in batches of uint8 (b, size, size, 3), reading no further than it draws.
Generator = Callable[[Iterable[tuple[str, int]]], Iterator[np.ndarray]]


def key(weights: tuple[Path, ...], settings: dict) -> str:
    """Names what drawn images depend on besides their plan: the weights' files and the sampler's settings."""
    record = [[sha256(path) for path in weights], settings]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def generators(pipe, compiled: bool = False, **settings) -> dict[str, Generator]:
    """A pipeline with its adapter as two generators, "adapter" and "base". settings: of `diffusion.samples`."""

    @cache
    def merged(adapter: bool):
        return lora.merge(pipe, adapter, compiled)

    return {
        "adapter": lambda asked: sampling.samples(merged(True), asked, **settings),
        "base": lambda asked: sampling.samples(merged(False), asked, **settings),
    }


def draw(
    generators: Mapping[str, Generator],
    plan: pd.DataFrame,
    folder: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    adapter: str = "",
) -> None:
    """Draws the images of a plan that `folder` lacks, as <image_id>.<digest of prompt and seed>.png.

    generators: by the name that the plan's column `generator` has. shard: (i, n) is every n-th row from row i, for n
    processes that share the work. adapter: the hash of what "adapter" was drawn with; each file carries it, its prompt
    and seed, and that it is synthetic, as PNG text. Encoding and writing happen beside the drawing; memory does not
    grow with the plan.
    """
    part = plan.iloc[shard[0] :: shard[1]]
    there = sum(_file(row, folder).exists() for row in part.itertuples())
    with tqdm(total=len(part), initial=there, desc="sample", unit="image") as bar, _beside() as beside:
        for generator, rows in part.groupby("generator"):
            missing = (row for row in rows.itertuples() if not _file(row, folder).exists())
            for row, image in _drawn(generators[generator], missing):
                beside(_write, _file(row, folder), image, _said(row, adapter))
                bar.update()


def _drawn(generator: Generator, rows: Iterable) -> Iterator[tuple]:
    """Each row with its image."""
    asked, rows = tee(rows)  # which keeps the rows of one batch
    return zip(rows, chain.from_iterable(generator((row.prompt, row.seed) for row in asked)), strict=True)


@contextmanager
def _beside() -> Iterator[Callable]:
    """Yields a function that has others done by threads; errors come out here."""
    with ThreadPoolExecutor(2) as pool:
        waiting = deque()

        def beside(do: Callable, *given) -> None:
            waiting.append(pool.submit(do, *given))
            if len(waiting) > WAITING:
                waiting.popleft().result()

        yield beside
        for work in waiting:
            work.result()


def _said(row, adapter: str) -> dict[str, str]:
    """What a synthetic image says of itself."""
    about = {"synthetic": "true", "prompt": row.prompt, "seed": str(row.seed), "generator": row.generator}
    return about | ({"adapter": adapter} if row.generator == "adapter" else {})


def _write(path: Path, image: np.ndarray, said: dict[str, str]) -> None:
    with atomic(path) as partial:
        images.save(partial, image, said)


def files(plan: pd.DataFrame, folder: Path) -> list[Path]:
    """Where `draw` puts each image of a plan: an edited prompt or seed is another file."""
    return [_file(row, folder) for row in plan.itertuples()]


def _file(row, folder: Path) -> Path:
    digest = hashlib.sha256(f"{row.seed}:{row.prompt}".encode()).hexdigest()[:12]
    return folder / f"{row.image_id}.{digest}.png"


def sweep(
    pipe, prompts: Sequence[str], seeds: Sequence[int], guidance: Sequence[float], steps: Sequence[int], **settings
) -> Iterator[tuple[dict, np.ndarray]]:
    """The same prompts and noise at each guidance and number of steps, to see what either buys.

    Yields {guidance, steps, seconds} and the images, uint8 (n, size, size, 3); seconds: per image. settings: of
    `diffusion.sample`. Raises ValueError without prompts.
    """
    if not len(prompts):
        raise ValueError("a sweep needs prompts: an average over no images is none")
    n = settings.get("batch_size", 32)
    # the first call costs more
    sampling.sample(pipe, prompts[:n], seeds[:n], guidance_scale=guidance[0], num_inference_steps=1, **settings)
    for scale, count in product(guidance, steps):
        started = time.perf_counter()
        drawn = sampling.sample(pipe, prompts, seeds, guidance_scale=scale, num_inference_steps=count, **settings)
        seconds = (time.perf_counter() - started) / len(prompts)
        yield {"guidance": float(scale), "steps": int(count), "seconds": seconds}, drawn


def plant_copies(run: Run, plan: pd.DataFrame, folder: Path, train: pd.DataFrame, n: int) -> list[str]:
    """Puts a train image of the class in the place of n images of generator "adapter": a fault for checks to find.

    folder: where `draw` put the images; the same images are replaced each time. Returns their image_ids.
    """
    asked = plan[plan["generator"] == "adapter"]
    chosen = asked.iloc[np.linspace(0, len(asked) - 1, n).astype(int)]
    for k, (dx, file) in enumerate(zip(chosen["dx"], files(chosen, folder), strict=True)):
        originals = train.loc[train["dx"] == dx, "path"]
        shutil.copyfile(run.folder / originals.iloc[k % len(originals)], file)
    return chosen["image_id"].tolist()


def collect(plan: pd.DataFrame, drawn: Path, folder: Path) -> None:
    """Copies a plan's images out of where they were drawn, as <image_id>.png."""
    folder.mkdir(parents=True)
    for image_id, file in zip(plan["image_id"], files(plan, drawn), strict=True):
        shutil.copyfile(file, folder / f"{image_id}.png")


def pack(table: pd.DataFrame, pictures: Path, folder: Path, rows_a_tar: int = 1000) -> list[Path]:
    """Packs images and what is known of them into <folder>/000000.tar, ...: <image_id>.png and <image_id>.json.

    WebDataset reads them. table: image_id and any other columns, which the JSON holds. pictures: where the images are.
    """
    parts = [table.iloc[start : start + rows_a_tar] for start in range(0, len(table), rows_a_tar)]
    paths = [folder / f"{k:06d}.tar" for k in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        with atomic(path) as partial, tarfile.open(partial, "w") as tar:
            for row in part.to_dict("records"):
                record = json.dumps({**row, "synthetic": True}).encode()
                for end, data in (("png", (pictures / f"{row['image_id']}.png").read_bytes()), ("json", record)):
                    member = tarfile.TarInfo(f"{row['image_id']}.{end}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return paths


def embed(scout, run: Run, table: pd.DataFrame, device) -> np.ndarray:
    """Scout embeddings (n, d) of the images of a cases or synthetic table."""
    return run.in_parts(table, lambda pixels, _: classifiers.predict(scout, pixels, device)["embedding"])


def measure(
    plan: pd.DataFrame, paths: list[Path], scout, alignment: clip.Clip, train: np.ndarray, vectors: np.ndarray, device
) -> pd.DataFrame:
    """The plan with, per image: sha256, alignment (cosine with its prompt), nearest_case and nearest_distance.

    paths: the plan's images. train: image_ids of the train images; vectors: their scout embeddings (n, d), in which
    distances are Euclidean.
    """
    parts = []
    for start in tqdm(range(0, len(plan), SHARD), desc="measure", unit="shard", disable=len(plan) <= SHARD):
        part, pixels = plan.iloc[start : start + SHARD].copy(), images.load(paths[start : start + SHARD])
        part["sha256"] = [sha256(path) for path in paths[start : start + SHARD]]
        part["alignment"] = clip.alignment(alignment, pixels, part["prompt"].tolist())
        found = classifiers.predict(scout, pixels, device)["embedding"]
        which, part["nearest_distance"] = nearest(found, vectors)
        part["nearest_case"] = train[which]
        parts.append(part)
    return pd.concat(parts)


def nearest(vectors: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each vector (n, d), the nearest reference vector (m, d): its index and distance (n,)."""
    between = cdist(vectors, reference)
    return between.argmin(1), between.min(1)


def copy_thresholds(val: np.ndarray, val_dx: np.ndarray, train: np.ndarray) -> dict[str, float]:
    """Per class, the distance to the nearest train image under which an image passes for a copy of it.

    It is the 1 % quantile of that distance for the class's val images, whose lesions train does not hold: a synthetic
    image nearer than that is nearer than new lesions are. A class without val images takes the quantile over all.
    """
    distance = nearest(val, train)[1]
    pools = {dx: distance[val_dx == dx] if (val_dx == dx).any() else distance for dx in DX}
    return {dx: float(np.quantile(pool, COPY_QUANTILE)) for dx, pool in pools.items()}


def accept(
    table: pd.DataFrame,
    thresholds: Mapping[str, float],
    *,
    alignment_quantile: float = 0.0,
    memorised: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The measured table with `accepted`, and `reason`: "" or, of several, the first why an image is not.

    - "copy": nearest_distance is not above its class's threshold (`copy_thresholds`).
    - "memorised": `memorised`, the table of a memorisation audit with image_id and memorised (bool), says so.
    - "alignment": its alignment lies below this quantile of its own class and generator, so no class is filtered away
      because the alignment model likes it less. 0 keeps all: what is chosen by a score looks better by that score.

    Raises ValueError for an audit that does not know one of the images.
    """
    audit = pd.Series(False, table.index)
    if memorised is not None:
        found = table["image_id"].map(memorised.set_index("image_id")["memorised"])
        if found.isna().any():
            first = table["image_id"][found.isna()].iloc[0]
            raise ValueError(f"the memorisation audit lacks {found.isna().sum()} of the images, {first} first: redo it")
        audit = found.astype(bool)
    alignment = table.groupby(["generator", "dx"])["alignment"]
    reasons = {
        "copy": table["nearest_distance"] <= table["dx"].map(thresholds),
        "memorised": audit,
        "alignment": table["alignment"] < alignment.transform("quantile", alignment_quantile),
    }
    reason = np.select(list(reasons.values()), list(reasons), default="")
    return table.assign(accepted=reason == "", reason=reason)
