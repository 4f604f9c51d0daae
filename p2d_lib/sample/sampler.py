"""Plan -> images: drawn in shards that survive a crash, then measured against their prompts and the train images."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.models import classifiers, clip, diffusion
from p2d_lib.run import Run, atomic, sha256
from p2d_lib.vocabulary import DX

SHARD = 512  # images in memory at once while they are measured
COPY_QUANTILE = 0.01  # of real-to-real distances: what lies nearer to a train image is taken for a copy of it


def key(weights: tuple[Path, ...], settings: dict) -> str:
    """Names what drawn images depend on besides their plan: the weights' files and the sampler's settings."""
    record = [[sha256(path) for path in weights], settings]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def draw(
    pipe,
    plan: pd.DataFrame,
    folder: Path,
    *,
    guidance_scale: float,
    num_inference_steps: int,
    batch_size: int,
    size: int,
) -> None:
    """Draws the images of a plan that `folder` lacks, as <image_id>.<digest of prompt and seed>.png of size px squares.

    pipe: with the adapter loaded; it is switched off for rows of generator "base".
    """
    missing = plan[[not file.exists() for file in files(plan, folder)]]
    with tqdm(total=len(plan), initial=len(plan) - len(missing), desc="sample", unit="image") as bar:
        for generator, rows in missing.groupby("generator"):
            pipe.enable_lora() if generator == "adapter" else pipe.disable_lora()
            for start in range(0, len(rows), batch_size):
                batch = rows.iloc[start : start + batch_size]
                drawn = diffusion.sample(
                    pipe, batch["prompt"].tolist(), batch["seed"].tolist(), guidance_scale=guidance_scale,
                    num_inference_steps=num_inference_steps, batch_size=batch_size, size=size,
                )  # fmt: skip
                for file, image in zip(files(batch, folder), drawn, strict=True):
                    with atomic(file) as partial:
                        images.save(partial, image)
                bar.update(len(batch))
    pipe.enable_lora()


def files(plan: pd.DataFrame, folder: Path) -> list[Path]:
    """Where `draw` puts each image of a plan: an edited prompt or seed is another file."""
    digests = (hashlib.sha256(f"{row.seed}:{row.prompt}".encode()).hexdigest()[:12] for row in plan.itertuples())
    return [folder / f"{image_id}.{digest}.png" for image_id, digest in zip(plan["image_id"], digests, strict=True)]


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
