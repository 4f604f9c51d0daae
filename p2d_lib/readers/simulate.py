"""A simulated reader: random answers with stated probabilities, so that the analysis can be tested.

On phantom runs it stands in for people where none have read yet: its readings have the kind "simulated". It tells
nothing about dermatologists, and no run on real images shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import pandas as pd

from p2d_lib.files import atomic
from p2d_lib.readers import roster, sheet, study
from p2d_lib.readers.answers import Filled, read_all
from p2d_lib.readers.roster import Design
from p2d_lib.readings import SOURCES
from p2d_lib.run import Run, home
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

EXAMPLE = Path(__file__).parent / "example"  # the sheets and key that ship

MISTAKEN_FOR = {  # the look-alikes that a wrong answer names instead, with their weights
    "akiec": {"bcc": 3, "bkl": 4, "mel": 1},
    "bcc": {"akiec": 3, "bkl": 2, "mel": 1, "vasc": 1},
    "bkl": {"mel": 3, "nv": 3, "akiec": 2, "bcc": 1},
    "df": {"nv": 3, "bkl": 2, "bcc": 2, "mel": 1},
    "mel": {"nv": 4, "bkl": 3},
    "nv": {"mel": 4, "bkl": 2, "df": 1},
    "vasc": {"mel": 1, "nv": 1, "bcc": 1},
}
_RECALL = {"akiec": 0.60, "bcc": 0.75, "bkl": 0.65, "df": 0.60, "mel": 0.70, "nv": 0.80, "vasc": 0.90}


@dataclass(frozen=True)
class SimulatedReader:
    """The probabilities a reader answers with, each image independently of the others."""

    name: str
    recall: Mapping[str, float] = field(default_factory=lambda: MappingProxyType(_RECALL))  # of dx, on real images
    synthetic_recall: float = 0.85  # times that on synthetic images
    sensitivity: float = 0.65  # of calling a synthetic image synthetic
    specificity: float = 0.70  # of calling a real image real


EXAMPLE_READERS = (
    SimulatedReader("Simulated reader 1"),
    SimulatedReader("Simulated reader 2", sensitivity=0.55, specificity=0.65),
    SimulatedReader("Simulated reader 3", sensitivity=0.70, specificity=0.75),
)


def confusion(reader: SimulatedReader, source: str) -> np.ndarray:
    """P(column is named | row is true), (7, 7) in the order of DX; rows add up to 1. source: real | synthetic."""
    matrix = np.array([[MISTAKEN_FOR[true].get(named, 0) for named in DX] for true in DX], float)
    recall = np.array([reader.recall[dx] for dx in DX]) * (reader.synthetic_recall if source == "synthetic" else 1)
    return np.diag(recall) + (1 - recall)[:, None] * matrix / matrix.sum(1, keepdims=True)


def answers(key: pd.DataFrame, reader: SimulatedReader, seed: int) -> pd.DataFrame:
    """What the reader answers: number, source, dx, confidence, quality, comment (as `sheet.fill` takes them).

    Confidence is 1 + Binomial(4, 0.65 when right about the source, else 0.35), quality 1 + Binomial(4, 0.75 on real
    images, 0.6 on synthetic ones). Each image has its own random numbers.
    """
    matrices = {source: confusion(reader, source) for source in SOURCES}
    rows = []
    for image in key.itertuples():
        rng = np.random.default_rng(derive(seed, "simulated reader", reader.name, image.image_id, image.showing))
        synthetic = image.source == "synthetic"
        right = rng.random() < (reader.sensitivity if synthetic else reader.specificity)
        rows.append(
            {
                "number": image.number,
                "source": "synthetic" if synthetic == right else "real",
                "dx": DX[rng.choice(len(DX), p=matrices[image.source][DX.index(image.dx)])],
                "confidence": 1 + rng.binomial(4, 0.65 if right else 0.35),
                "quality": 1 + rng.binomial(4, 0.6 if synthetic else 0.75),
                "comment": "",
            }
        )
    return pd.DataFrame(rows)


def filled_sheets(run: Run, sheets: str, key: pd.DataFrame) -> tuple[list[Filled], pd.DataFrame]:
    """The sheets that people filled, read, and the key they were read with.

    sheets: a folder, relative to `home()`; "": study_filled of the run. Where that does not exist, a phantom run has
    the shipped example, of the kind "simulated", and a run on real images has no sheet. key: of the run's study.
    """
    folder = home() / sheets if sheets else run.folder / "study_filled"
    if sheets or folder.is_dir():
        return read_all(folder, key)
    return example(key) if run.note else ([], key)


def example(key: pd.DataFrame) -> tuple[list[Filled], pd.DataFrame]:
    """The shipped sheets, read, and the key they were read with; as `answers.read_all`, of the kind "simulated"."""
    sheets, key = read_all(EXAMPLE, key)
    kind = "simulated"
    return [
        one._replace(readings=one.readings.assign(kind=kind), repeats=one.repeats.assign(kind=kind)) for one in sheets
    ], key


def write_example(folder: Path = EXAMPLE) -> None:
    """Makes reader_01.xlsx … and key.csv of the example: 140 images that exist by name only, 14 of them shown twice,
    read by three simulated readers."""
    rows = [
        {"image_id": f"example_{source}_{dx}_{i}", "lesion_id": f"example_{dx}_{i}", "dx": dx, "path": ""}
        for source in SOURCES
        for dx in DX
        for i in range(10)
    ]
    images = pd.DataFrame(rows).assign(split="test", generator="adapter", accepted=True)
    real = images["image_id"].str.contains("_real_")
    key, _ = study.choose(images[real], images[~real], 140, seed=0, design=Design(repeated=14))
    for number, reader in enumerate(EXAMPLE_READERS, 1):
        name, code = f"reader_{number:02d}.xlsx", roster.code(key["study"].iloc[0], number)
        with TemporaryDirectory() as blank:
            sheet.write(Path(blank) / name, roster.seen_by(key, number), code=code)
            sheet.fill(Path(blank) / name, folder / name, reader.name, answers(key, reader, seed=0))
    with atomic(folder / "key.csv") as partial:
        key.to_csv(partial, index=False)
