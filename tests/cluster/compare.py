"""Runs the paper at a micro size here and as jobs of Slurm, and compares what both make; slurm.sh calls it."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "notebooks")]

from test_all_eight import MICRO  # noqa: E402

TIMED = ("t4_sweep",)  # tables that hold seconds of this machine


def run(home: Path, *options: str) -> None:
    """One run of ./run_all.sh in its own home, with one thread a stage."""
    settings = [word for setting in MICRO for word in ("--set", setting)]
    driver = [sys.executable, str(REPOSITORY / "workflow" / "drive.py"), "--run", "micro", "--cores", "1"]
    subprocess.run([*driver, *settings, *options], check=True, env={**os.environ, "P2D_HOME": str(home)})


def images(home: Path) -> pd.Series:
    """The SHA-256 of each synthetic image."""
    return pd.read_parquet(home / "data" / "runs" / "micro" / "synthetic.parquet").set_index("image_id")["sha256"]


def differing(one: Path, other: Path) -> list[str]:
    """The names of tables that one home has and the other has not, or has with other bytes."""
    tables = {path.name for home in (one, other) for path in (home / "tables" / "micro").glob("*.csv")}
    paths = {name: [home / "tables" / "micro" / name for home in (one, other)] for name in tables}
    return sorted(
        name
        for name, pair in paths.items()
        if not all(path.exists() for path in pair) or pair[0].read_bytes() != pair[1].read_bytes()
    )


def main(place: Path, *options: str) -> int:
    here, there = place / "local", place / "slurm"
    both = [word for k, word in enumerate(options) if "--shards" not in (word, options[k - 1] if k else "")]
    run(here, *both)
    run(there, "--executor", str(place / "profile"), *options)
    same = images(here).equals(images(there))
    different = [name for name in differing(here, there) if Path(name).stem not in TIMED]
    n = len(list((here / "tables" / "micro").glob("*.csv")))
    print(f"{len(images(here))} synthetic images: {'the same bits' if same else 'DIFFERENT'}")
    print(f"{n} tables: {'the same bytes' if not different else 'DIFFERENT: ' + ', '.join(different)}")
    return int(bool(different) or not same)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
