"""From a raw set to its resized images and their measurements."""

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import binary_erosion
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.prep.measure import NAMES
from p2d_lib.prep.pixels import prepare_one
from p2d_lib.prep.raw import RawSet
from p2d_lib.schemas import ARTEFACTS


def prepare(raw: RawSet, split: pd.Series, image_size: int, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Writes each image's central square as folder/<image_id>.png; returns the tables cases and measurements.

    image_size: px of the squares. `P2D_THREADS` processes share the work (default: one per core); the result does not
    depend on their number. Raises images.ImageError at the first unreadable image or mask.
    """
    folder.mkdir(parents=True)
    jobs = [(name, raw.images[name], raw.masks.get(name)) for name in raw.metadata["image_id"]]
    work = partial(prepare_one, image_size, folder)
    progress = partial(tqdm, total=len(jobs), desc="images", unit="image", mininterval=1)
    processes = int(os.environ.get("P2D_THREADS") or os.cpu_count())
    if processes == 1:
        with threadpool_limits(1):
            rows = list(progress(map(work, jobs)))
    else:  # each with one thread of linear algebra: more would spin against each other
        with ProcessPoolExecutor(processes, get_context("spawn"), threadpool_limits, (1,)) as pool:
            rows = list(progress(pool.map(work, jobs, chunksize=16)))
    pixels = pd.DataFrame(rows, index=raw.metadata.index)
    paths = f"{ARTEFACTS['images'].path}/" + raw.metadata["image_id"] + ".png"
    cases = raw.metadata.assign(split=split, path=paths).join(pixels.drop(columns=list(NAMES)))
    return cases, raw.metadata[["image_id"]].join(pixels[list(NAMES)])


def outlined(
    raw: RawSet, image_ids: Iterable[str], size: int, colour: tuple[int, int, int] = (0, 158, 115)
) -> np.ndarray:
    """Central squares, uint8 (n, size, size, 3), with the outline of their masks where there are any."""
    pictures = []
    for image_id in image_ids:
        picture = np.array(images.square(raw.images[image_id].image()[0], size))
        if image_id in raw.masks:
            mask = images.square(raw.masks[image_id].image()[0].convert("L"), size, Image.Resampling.BOX)
            inside = np.asarray(mask) >= 128
            picture[inside & ~binary_erosion(inside, iterations=max(1, size // 100), border_value=1)] = colour
        pictures.append(picture)
    return np.stack(pictures)
