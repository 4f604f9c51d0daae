"""A simulated reader: random answers with stated probabilities, so that the analysis can be tested.

It tells nothing about dermatologists. Run as a program, it makes the example that ships (p2d_lib/readers/example).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import pandas as pd
from openpyxl import load_workbook

from p2d_lib.files import atomic
from p2d_lib.readers import roster, sheet, study
from p2d_lib.readers.example_sheets import EXAMPLE
from p2d_lib.readers.roster import Design
from p2d_lib.readers.sheet import COMMENT, CONFIDENCE, DIAGNOSIS, NAME_CELL, QUALITY, REALISM, SOURCE
from p2d_lib.readings import SOURCES
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, DX_NAMES

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


def answer(key: pd.DataFrame, reader: SimulatedReader, seed: int) -> pd.DataFrame:
    """What the reader answers: number, source, dx, confidence, quality, comment (as `fill` takes them).

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


def fill(blank: Path, filled: Path, reader: str, answers: pd.DataFrame) -> None:
    """Writes answers into a sheet, as a reader would; those on images that are not in it are left aside.

    answers: number, source (real | synthetic), dx (key of DX_NAMES), confidence, quality (1..5), comment, and realism
    (1..7) for a sheet that asks for it; NaN or "" leaves the cell empty.
    """
    book = load_workbook(blank)
    book["Instructions"][NAME_CELL] = reader
    rows = list(book["Readings"].iter_rows())
    headers, by_number = [cell.value for cell in rows[0]], answers.set_index("number")
    for row in rows[1:]:
        if row[0].value not in by_number.index:
            continue
        given = by_number.loc[row[0].value]
        values = {SOURCE: given["source"], DIAGNOSIS: DX_NAMES.get(given["dx"]), REALISM: given.get("realism"),
                  CONFIDENCE: given["confidence"], QUALITY: given["quality"], COMMENT: given["comment"]}  # fmt: skip
        for header, cell in zip(headers, row, strict=True):
            if header in values and not (pd.isna(values[header]) or values[header] == ""):
                cell.value = values[header]
    filled.write_bytes(sheet._bytes(book))


def write_example(folder: Path) -> None:
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
            fill(Path(blank) / name, folder / name, reader.name, answer(key, reader, seed=0))
    with atomic(folder / "key.csv") as partial:
        key.to_csv(partial, index=False)


if __name__ == "__main__":
    write_example(EXAMPLE)
