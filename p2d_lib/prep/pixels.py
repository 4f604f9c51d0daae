"""One image of a raw set: from its file to its square and its measurements.

Light to import (no pandas, no scikit-learn), for each process that shares this work imports it.
"""

import contextlib
import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from PIL import Image
from threadpoolctl import threadpool_limits

from p2d_lib import images
from p2d_lib.prep import masks


class DataError(Exception):
    """A raw set that cannot be used as it is; the message says where, what and what to do."""


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{'/'.join(self._below)}" if self.member else str(self.path)

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders and the name of the file, those in a zip behind the zip's."""
        return (*self.path.parts, *self._below)

    @property
    def _below(self) -> list[str]:
        return self.member.replace("\\", "/").split("/") if self.member else []  # zips made by Windows have \\

    def within(self, folder: Path) -> str:
        """Its path relative to a folder, or as it is where it lies elsewhere."""
        return within(Path(str(self)), folder)

    def data(self) -> bytes:
        """Raises images.ImageError."""
        if self.path.exists() and not self.path.is_file():  # reading a pipe would wait for ever
            raise images.ImageError(f"{self}: is no file; replace it by the picture")
        try:
            return open_zip(self.path).read(self.member) if self.member else self.path.read_bytes()
        except (OSError, BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: encrypted, or packed strangely
            raise images.ImageError(f"{self}: cannot be read ({error}); replace the file") from None

    def image(self, at_least: int = 0) -> Image.Image:
        """The RGB image; see `images.decode`. Raises images.ImageError."""
        return images.decode(self.data(), self, at_least)


def within(path: Path, folder: Path) -> str:
    """A path relative to a folder, with /; as it is where it lies elsewhere."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


Job = tuple[str, File, File | None]  # image_id, its picture, its lesion mask


@cache
def _zip(path: Path, written: int) -> ZipFile:
    return ZipFile(path)


def open_zip(path: Path) -> ZipFile:
    """A zip, opened once per process as long as it is not written anew. Raises DataError."""
    try:
        return _zip(path, path.stat().st_mtime_ns)
    except (OSError, BadZipFile) as error:
        raise DataError(f"{path}: not a readable zip ({error}); download it again") from None


def shard(work: Callable[[Job], dict], folder: Path, code: str, jobs: list[Job]) -> list[dict]:
    """work(job) of each job, with one thread of linear algebra; {"reason": ...} where it raised an ImageError.

    What is finished lies in `folder` under a name made of `code` and of the files' names, sizes and dates, and is taken
    from there, unless a file that it "wrote" is gone or empty (as a power cut leaves it).
    """
    stats = [(str(file), *_stat(file)) for _, *files in jobs for file in files if file]
    path = folder / f"{hashlib.sha256(json.dumps([code, stats]).encode()).hexdigest()[:16]}.json"
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        rows = json.loads(path.read_text())
        wrote = [Path(row["wrote"]) for row in rows if "wrote" in row]
        if all(file.exists() and file.stat().st_size for file in wrote):
            return rows
    rows = []
    with threadpool_limits(1):  # as many processes as cores, each with more threads, would spin against each other
        for job in jobs:
            try:
                rows.append(work(job))
            except images.ImageError as error:
                rows.append({"reason": str(error)})
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows))
    partial.replace(path)
    return rows


def _stat(file: File) -> tuple[int, int]:
    try:
        stat = file.path.stat()
    except OSError:  # a link that leads nowhere: `File.data` says so
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def write_square(size: int, folder: Path, job: Job) -> dict:
    """Writes folder/<image_id>.png, the picture's central square of `size` px. Raises images.ImageError.

    A JPEG is decoded at the smallest of 1, 1/2, 1/4, 1/8 of its size that still holds the square.
    """
    name, file, _ = job
    path = folder / f"{name}.png"
    images.save(path, images.square(file.image(at_least=size), size))
    return {"wrote": str(path)}


def measure_one(job: Job) -> dict:
    """sha256 (of the picture's file), width and height (px), and what `measure.quality` and `measure.measure` say.

    Raises images.ImageError, also for a mask that does not fit: see `masks.refuse_unfit`.
    """
    from p2d_lib.prep.measure import measure, quality  # brings SciPy, which resizing does without

    _, file, mask_file = job
    data = file.data()
    image = images.decode(data, file)
    mask = mask_file.image().convert("L") if mask_file else None
    if mask:
        masks.refuse_unfit(mask, mask_file, image, file)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": image.width,
        "height": image.height,
        **quality(image),
        **measure(image, mask),
        **({"mask_corners": masks.corners_inside(mask)} if mask else {}),
    }
