"""What the tests of 01 do to a raw set in the authors' layout."""

from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.prep import picture_quality
from p2d_lib.prep import prepare as preparing
from p2d_lib.prep.raw import read
from p2d_lib.run import Run

PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
LESIONS = 3  # of each dx, each with two images


def edit(folder: Path, change) -> None:
    path = folder / "HAM10000_metadata.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table).to_csv(path, index=False)


def put(folder: Path, row: int, column: str, value: str) -> None:
    def change(table):
        table.loc[row, column] = value
        return table

    edit(folder, change)


def prepare(folder: Path, run: Run, on_bad: str = "fail") -> tuple[pd.DataFrame, pd.DataFrame]:
    """01 as its notebook does it, with a split that is made up."""
    raw = read(folder, on_bad=on_bad)
    parts = ["train", "train", "val", "val", "test", "test"]
    split = pd.Series(np.resize(parts, len(raw.metadata)), raw.metadata.index)
    with run.writing("images") as images:
        cases, measurements, bad = preparing.prepare(raw, split, 32, images, run.scratch("images"), on_bad)
    run.discard("images")
    run.write("quarantine", bad)
    return run.write("cases", cases.join(picture_quality.flags(cases))), run.write("measurements", measurements)


def left(run: Run) -> list[str]:
    """What lies in a run's folder, unfinished work aside."""
    return sorted(path.name for path in run.folder.rglob("*") if "scratch" not in path.parts)
