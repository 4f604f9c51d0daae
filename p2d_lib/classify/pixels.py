"""The pixels of many images, kept on disk: memory holds one batch, however many images there are."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.run import Run

PART = 64  # images decoded at once


class PixelFile:
    """Images of one size, indexed as an array uint8 (n, h, w, 3) is, by a slice or by row numbers.

    The bytes lie in a temporary file of `folder` without a name: the operating system removes it when the object is
    closed or the process ends, however it ends. Use as a context manager.
    """

    def __init__(self, run: Run, table: pd.DataFrame, folder: Path):
        """table: rows with `path`, at least one. Raises ValueError when images differ in size."""
        self._file = tempfile.TemporaryFile(dir=folder)
        for start in range(0, len(table), PART):
            part = run.images(table.iloc[start : start + PART])
            size = part.shape[1:3] if start == 0 else self._shape[1:3]
            if part.shape[1:3] != size:
                path, there = table["path"].iloc[start], f"{part.shape[2]} x {part.shape[1]} px"
                raise ValueError(f"{path} is {there}, {table['path'].iloc[0]} is {size[1]} x {size[0]} px: sizes differ")
            self._shape = (len(table), *size, 3)
            part.tofile(self._file)
        self._file.flush()

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """A copy of these images: uint8 (k, h, w, 3)."""
        return np.array(np.memmap(self._file, np.uint8, "r", shape=self._shape)[rows])

    def __enter__(self) -> "PixelFile":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
