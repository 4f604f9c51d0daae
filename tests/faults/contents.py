"""What a stage has made, as digests by which two runs are compared; and a run as it was before a stage."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS
from p2d_lib.files import read_record, remove

MEASURED = "second"  # columns with it in their name hold measured times, as do the figures below
SHOW_TIMES = ("f4_sweep", "f2_describers")


def contents(home: Path, run: str, stage: str) -> dict[str, str]:
    """A digest of each artefact, table and figure that a stage made, without measured times."""
    folder = home / "data" / "runs" / run
    record = json.loads((folder / "stages" / f"{stage}.json").read_text())
    places = {a.path: folder / a.path for a in ARTEFACTS.values() if a.made_by == stage}
    for kind in ("tables", "figures"):
        for name in record[kind]:
            if Path(name).stem not in SHOW_TIMES:
                places[f"{kind}/{name}"] = home / kind / run / name
    files = {}
    for name, place in places.items():
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and not file.name.endswith(".provenance.json") and not _shows_times(file):
                files[f"{name}:{file.relative_to(place)}" if place.is_dir() else name] = _digest(file)
    return files


def _shows_times(file: Path) -> bool:
    """Whether a LaTeX table is of a CSV table with measured times."""
    table = file.with_suffix(".csv")
    return file.suffix == ".tex" and any(MEASURED in name for name in pd.read_csv(table, nrows=0).columns)


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The names of files that only one of two stages has, or that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def copy_before(through: Path, home: Path, stage: str) -> None:
    """Copies the run micro of one home into another, without what the stage and all later ones have made."""
    for part in ("data", "tables", "figures"):
        shutil.copytree(through / part, home / part)
    folder = home / "data" / "runs" / "micro"
    for notebook in NOTEBOOKS[NOTEBOOKS.index(stage) :]:
        record = folder / "stages" / f"{notebook}.json"
        for kind in ("tables", "figures"):
            for name in read_record(record).get(kind, ()):
                (home / kind / "micro" / name).unlink()
        record.unlink(missing_ok=True)
        for artefact in ARTEFACTS.values():
            if artefact.made_by == notebook:
                remove(folder / artefact.path)
                remove(folder / f"{artefact.path}.provenance.json")


def _digest(file: Path) -> str:
    if file.suffix in (".parquet", ".csv"):
        table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
        table = table[[column for column in table if MEASURED not in str(column)]]
        return hashlib.sha256(table.to_csv(float_format=repr).encode()).hexdigest()
    return hashlib.sha256(file.read_bytes()).hexdigest()
