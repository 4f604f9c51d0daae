"""The sheets that 07 reads: those that people filled or, where none have on a phantom run, the shipped example.

Simulated readers have filled the example (tests/readers/simulated_reader.py); its readings have the kind "simulated".
It tells nothing about dermatologists, and no run on real images shows it.
"""

from pathlib import Path

import pandas as pd

from p2d_lib.readers.answers import Filled, read_all
from p2d_lib.run import Run, home

EXAMPLE = Path(__file__).parent / "example"  # the sheets and key that ship


def filled_sheets(
    run: Run, sheets: str, key: pd.DataFrame, n_readers: int | None = None
) -> tuple[list[Filled], pd.DataFrame]:
    """The sheets that people filled, read, and the key they were read with.

    sheets: a folder, relative to `home()`; "": study_filled of the run. Where that does not exist, a phantom run has
    the shipped example, of the kind "simulated", and a run on real images has no sheet. key, n_readers: of
    the run's study.
    """
    folder = home() / sheets if sheets else run.folder / "study_filled"
    if sheets or folder.is_dir():
        return read_all(folder, key, n_readers)
    return example(key) if run.note else ([], key)


def example(key: pd.DataFrame) -> tuple[list[Filled], pd.DataFrame]:
    """The shipped sheets, read, and the key they were read with; as `answers.read_all`, of the kind "simulated"."""
    sheets, key = read_all(EXAMPLE, key)
    kind = "simulated"
    return [
        one._replace(readings=one.readings.assign(kind=kind), repeats=one.repeats.assign(kind=kind)) for one in sheets
    ], key
