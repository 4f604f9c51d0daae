"""Copies that are made on purpose: positive controls of the check for copies."""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from p2d_lib.run import Run
from p2d_lib.sample.generate import files
from p2d_lib.seeds import derive


def altered_copies(images: np.ndarray, seed: int) -> np.ndarray:
    """Each image cropped by 1 to 8 %, tinted by up to 15 %, turned, mirrored, with noise of 6 grey levels, then saved
    as JPEG of quality 50 to 90: what a generator may do to an image that it copies.

    images: uint8 (n, s, s, 3). Returns the same shape; image k depends on the seed and k alone.
    """
    return np.stack([_altered(image, derive(seed, "altered copy", k)) for k, image in enumerate(images)])


def _altered(image: np.ndarray, seed: int) -> np.ndarray:
    rng, side = np.random.default_rng(seed), len(image)
    kept = side * (1 - rng.uniform(0.01, 0.08))
    left, top = rng.uniform(0, side - kept, 2)
    box = (left, top, left + kept, top + kept)
    picture = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC, box=box))
    picture = np.rot90(picture[:, ::-1], rng.integers(4)) * rng.uniform(0.85, 1.15, 3)
    picture = (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=int(rng.integers(50, 91)))
    return np.asarray(Image.open(stream).convert("RGB"))


def plant_copies(run: Run, plan: pd.DataFrame, folder: Path, train: pd.DataFrame, n: int) -> list[str]:
    """Puts a train image of the class in the place of n images of generator "adapter": a fault for checks to find.

    folder: where `generate` put the images; the same images are replaced each time. Returns their image_ids.
    """
    of_adapter = plan[plan["generator"] == "adapter"]
    replaced = of_adapter.iloc[np.linspace(0, len(of_adapter) - 1, n).astype(int)]
    for k, (dx, file) in enumerate(zip(replaced["dx"], files(replaced, folder), strict=True)):
        originals = train.loc[train["dx"] == dx, "path"]
        shutil.copyfile(run.folder / originals.iloc[k % len(originals)], file)
    return replaced["image_id"].tolist()
