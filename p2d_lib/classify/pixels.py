"""The pixels of many images, kept on disk: memory holds one batch, however many images there are."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from p2d_lib.run import Run

PART = 64  # images decoded at once


@dataclass(frozen=True)
class Pixels:
    """Images of one size in a file, indexed as an array uint8 (n, h, w, 3) is: by a slice or by row numbers."""

    file: BinaryIO
    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """A copy of these images: uint8 (k, h, w, 3)."""
        return np.array(np.memmap(self.file, np.uint8, "r", shape=self.shape)[rows])


@contextmanager
def on_disk(run: Run, table: pd.DataFrame, folder: Path) -> Iterator[Pixels]:
    """The images of a cases or synthetic table, in a temporary file of `folder` that vanishes however the block ends.

    table: rows with `path`, at least one. Raises ValueError when images differ in size.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        size = None
        for start in range(0, len(table), PART):
            part = run.images(table.iloc[start : start + PART])
            size = size or part.shape[1:]
            if part.shape[1:] != size:
                sizes = [f"{width} x {height} px" for height, width, _ in (part.shape[1:], size)]
                first, here = table["path"].iloc[0], table["path"].iloc[start]
                raise ValueError(f"{here} is {sizes[0]}, {first} is {sizes[1]}: images of one table have one size")
            part.tofile(file)
        file.flush()
        yield Pixels(file, (len(table), *size))
