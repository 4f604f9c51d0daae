"""Runs the paper at a micro size here and as jobs of Slurm, and compares what both make; slurm.sh calls it.

--jobs-from NOTEBOOK: the jobs begin with it, from a copy of what the run here made before; without it with the first.
"""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "faults")]

from contents import copy_before  # noqa: E402
from kill_points import SMALLEST  # noqa: E402

from p2d_lib.artefacts import NOTEBOOKS  # noqa: E402

TIMED = "seconds"  # in the names of columns that say how fast this machine was


def run(home: Path, *options: str) -> None:
    """One run of ./run_all.sh in its own home, with one thread a stage."""
    settings = [word for setting in SMALLEST for word in ("--set", setting)]
    driver = [sys.executable, str(REPOSITORY / "workflow" / "drive.py"), "--run", "micro", "--cores", "1"]
    subprocess.run([*driver, *settings, *options], check=True, env={**os.environ, "P2D_HOME": str(home)})


def images(home: Path) -> pd.Series:
    """The SHA-256 of each synthetic image."""
    return pd.read_parquet(home / "data" / "runs" / "micro" / "synthetic.parquet").set_index("image_id")["sha256"]


def differing(one: Path, other: Path) -> list[str]:
    """The names of tables that one home has and the other has not, or has with another cell, times left out."""
    names = {path.name for home in (one, other) for path in (home / "tables" / "micro").glob("*.csv")}
    return sorted(name for name in names if _cells(one, name) != _cells(other, name))


def _cells(home: Path, name: str) -> list[dict[str, str]]:
    path = home / "tables" / "micro" / name
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{column: cell for column, cell in row.items() if TIMED not in column} for row in rows]


def main(place: Path, jobs_from: str, shards: str, options: list[str]) -> int:
    here, there = place / "local", place / "slurm"
    run(here, *options)
    if jobs_from and not (there / "data").exists():
        copy_before(here, there, jobs_from)
    run(there, "--executor", str(place / "profile"), "--shards", shards, *options)
    same = images(here).equals(images(there))
    different = differing(here, there)
    n = len(list((here / "tables" / "micro").glob("*.csv")))
    print(f"{len(images(here))} synthetic images: {'the same bits' if same else 'DIFFERENT'}")
    print(f"{n} tables: {'the same cells' if not different else 'DIFFERENT: ' + ', '.join(different)}")
    return int(bool(different) or not same)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path, help="a folder for both runs, with the profile in profile/")
    parser.add_argument("--jobs-from", choices=NOTEBOOKS, default="")
    parser.add_argument("--shards", default="1", help="jobs that sample the images of 04")
    known, others = parser.parse_known_args()
    sys.exit(main(known.place, known.jobs_from, known.shards, others))
