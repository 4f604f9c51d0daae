"""Several processes on one plan: each samples its share, and the one that ends last measures all images."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from filelock import BaseFileLock, FileLock, Timeout

from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.run import Run

WAIT = 60.0  # seconds: whoever holds the lock for longer measures


def lock(run: Run) -> BaseFileLock:
    """The lock that the processes of one run share; it is free again when the process that holds it dies."""
    return FileLock(run.scratch("shards") / "lock")


def write_plan(run: Run, plan: pd.DataFrame, shard: Sequence[int]) -> None:
    """Writes the plan: shard 0 always, the others only where it is missing or differs."""
    with lock(run):
        path = run.folder / ARTEFACTS["plan"].path
        if shard[0] == 0 or not path.exists() or not pd.read_parquet(path).equals(plan.reset_index(drop=True)):
            run.write("plan", plan)


def last_one(run: Run, paths: Sequence[Path], shard: Sequence[int], wait: float = WAIT) -> BaseFileLock:
    """The lock, held, where all images of the plan exist: this process goes on to measure, then releases it.

    paths: the files of the whole plan; this process has just finished its share, paths[i::n] of shard [i, n]. Where
    images of other shards are missing, or another process measures them or has done so, a message is printed and
    SystemExit(0) raised: papermill takes that for the successful end of a notebook (return code 0), and no later cell
    runs. wait: seconds for which the lock may be held by a process that only looks for missing images.
    """
    held = lock(run)
    try:
        held.acquire(timeout=wait)
    except Timeout:
        _end(f"Shard {list(shard)} is sampled. Another process measures the images.")
    missing = [path for path in paths if not path.exists()]
    if not missing:
        return held
    held.release()
    if set(missing) & set(paths[shard[0] :: shard[1]]):  # they existed: the process that measured them has removed them
        _end(f"Shard {list(shard)} is sampled. Another process has measured the images.")
    _end(
        f"Shard {list(shard)} is sampled. {len(missing)} images of the other shards are missing: the process that ends "
        "last measures them all. If none is running, run the missing shards."
    )


def _end(message: str) -> None:
    print(message)
    raise SystemExit(0)
