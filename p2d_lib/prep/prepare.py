"""From a raw set to its resized images and their measurements."""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import binary_erosion
from tqdm import tqdm

from p2d_lib import colour_profiles, images
from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.cores import shared
from p2d_lib.files import sha256
from p2d_lib.prep import masks, measure, pixels
from p2d_lib.prep.raw import BAD, RawSet

SHARD = 128  # images that may have to be processed again after an interruption


def prepare(
    raw: RawSet, split: pd.Series, image_size: int, folder: Path, scratch: Path, on_bad: str = "fail"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Makes `folder` of each image's central square, <image_id>.png, and the tables cases, measurements and bad.

    image_size: px of the squares. scratch: a folder for unfinished work, which goes on where it stopped as long as
    files, size and code are the same. on_bad: "fail" raises images.ImageError at the first unreadable image or mask;
    "quarantine" leaves such images out and lists them in `bad`, with what the raw set had listed before; in both,
    ImageError is raised where most masks mark the skin. Raises DataError where an image that is left out was the last
    of its class in train, val or test.
    `P2D_THREADS` processes share the work (default: one per core that this process may use); the result does not
    depend on their number.
    """
    jobs = [(name, raw.images[name], raw.masks.get(name)) for name in raw.metadata["image_id"]]
    rows = in_shards(pixels.measure_one, jobs, scratch / "measured", "measured", on_bad)
    good = [job for job, row in zip(jobs, rows, strict=True) if "reason" not in row]
    if not good:
        raise images.ImageError(f"not one of {len(jobs)} images can be used; the first: {rows[0]['reason']}")
    table = pd.DataFrame(rows, raw.metadata.index)
    masks.refuse_inverted(np.array([row.get("mask_corners", np.nan) for row in rows]))
    known = raw.metadata[table["sha256"].notna()]
    _refuse_gaps(raw.metadata["dx"], known["dx"], split)

    squares = scratch / f"squares-{image_size}"
    squares.mkdir(exist_ok=True)
    for stale in {path.stem for path in squares.iterdir()} - set(known["image_id"]):
        (squares / f"{stale}.png").unlink()
    resize = partial(pixels.write_square, image_size, squares)
    in_shards(resize, good, scratch / f"resized-{image_size}", "resized", "fail")
    squares.rename(folder)

    listed = [_listed(raw, job, row["reason"]) for job, row in zip(jobs, rows, strict=True) if "reason" in row]
    measurements = known[["image_id"]].join(table[list(measure.NAMES)])
    paths = f"{ARTEFACTS['images'].path}/" + known["image_id"] + ".png"
    cases = known.assign(split=split, path=paths).join(
        table.drop(columns=[*measure.NAMES, "reason", "mask_corners"], errors="ignore")
    )
    return cases, measurements, pd.concat([raw.bad, pd.DataFrame(listed, columns=BAD)], ignore_index=True)


def _refuse_gaps(before: pd.Series, after: pd.Series, split: pd.Series) -> None:
    """Refuses a class that has lost all its images of a split: it would silently be missing from every average."""
    counts = pd.crosstab(after, split.loc[after.index])
    counts = counts.reindex(index=before.unique(), columns=split.unique(), fill_value=0)
    for (part, dx), n in counts.unstack().items():
        if not n:
            raise pixels.DataError(
                f"{part} has no {dx} image left: all of them are unreadable; replace files, the sentences of "
                "on_bad = fail name them one by one, or give the set more lesions of this class"
            )


def _listed(raw: RawSet, job: pixels.Job, reason: str) -> tuple:
    """A row of `bad`: image_id, file, row, stage, reason."""
    name, image, mask = job
    stage, file = ("mask", mask) if mask and reason.startswith(f"{mask}:") else ("image", image)
    return name, file.within(raw.folder), 0, stage, reason


def in_shards(
    work: Callable[[pixels.Job], dict], jobs: list[pixels.Job], folder: Path, name: str, on_bad: str
) -> list[dict]:
    """work(job) for each job, in order, by several processes; {"reason": ...} where it raised an ImageError.

    folder: keeps what is finished, see `pixels.shard`. on_bad: "fail" raises the first ImageError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = [jobs[start : start + SHARD] for start in range(0, len(jobs), SHARD)]
    code = [sha256(Path(module.__file__)) for module in (images, colour_profiles, masks, measure, pixels)]
    one_shard, results = partial(pixels.shard, work, folder, "".join(code)), []
    bar = tqdm(total=len(jobs), desc=name, unit="image", mininterval=1)
    with bar, contextlib.closing(shared(one_shard, shards)) as done:
        for rows in done:
            results += rows
            bar.update(len(rows))
            if on_bad == "fail" and (reasons := [row["reason"] for row in rows if "reason" in row]):
                raise images.ImageError(reasons[0])
    return results


def outlined(
    raw: RawSet, image_ids: Iterable[str], size: int, colour: tuple[int, int, int] | None = (0, 158, 115)
) -> np.ndarray:
    """Central squares, uint8 (n, size, size, 3), with the outlines of the masks that exist; colour None: without."""
    pictures = []
    for image_id in image_ids:
        picture = np.array(images.square(raw.images[image_id].image(), size))
        if colour and image_id in raw.masks:
            mask = images.square(raw.masks[image_id].image().convert("L"), size, Image.Resampling.BOX)
            inside = np.asarray(mask) >= 128
            picture[inside & ~binary_erosion(inside, iterations=max(1, size // 100), border_value=1)] = colour
        pictures.append(picture)
    return np.stack(pictures)
