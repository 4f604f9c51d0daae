"""Several processes on one plan: each samples its share and says so in a manifest; one of them measures all images.

Notebooks that are run by hand: the process that ends last measures. Under ./run_all.sh (--shards): none of the
processes measures, since the driver runs 04 once more when all are done.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from filelock import BaseFileLock, FileLock, Timeout

from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.files import atomic, file_sha256, read_record
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


def remove_damaged(folder: Path) -> int:
    """Removes images that are not what their shard's manifest says, so that they are sampled again; returns how many.

    folder: of the images of a plan that is not finished, with the manifests that `last_one` has left there.
    """
    removed = 0
    for manifest in folder.glob("shard-*.json"):
        for name, digest in read_record(manifest).get("images", {}).items():
            if (folder / name).exists() and file_sha256(folder / name) != digest:
                (folder / name).unlink()
                removed += 1
    return removed


def last_one(
    run: Run, paths: Sequence[Path], mine: Sequence[Path], shard: Sequence[int], wait: float = WAIT
) -> BaseFileLock:
    """The lock, held, where this process is the one that measures; it releases the lock when it has done so.

    paths: the files of the whole plan. mine: those that this process, shard [i, n], has just finished. Of several
    processes each leaves a manifest, shard-<i>-of-<n>.json beside the images: "list", a SHA-256 of the names of all
    files in their order, and "images", {name: SHA-256} of its own. Where images of other shards are missing, where
    another process measures them or has done so, and under ./run_all.sh, a message is printed and SystemExit(0) raised:
    papermill takes that for the successful end of a notebook (return code 0), and no later cell runs. wait: seconds for
    which the lock may be held by a process that only looks for missing images.
    """
    held = lock(run)
    try:
        held.acquire(timeout=wait)
    except Timeout:
        _end(f"Shard {list(shard)} is sampled. Another process measures the images.")
    missing = [path for path in paths if not path.exists()]
    if shard[1] > 1 and not set(missing) & set(mine):
        _write_manifest(paths, mine, shard)
    if not missing and not (shard[1] > 1 and run.driven):
        return held
    held.release()
    if set(missing) & set(mine):  # they existed: the process that measured them has removed them
        _end(f"Shard {list(shard)} is sampled. Another process has measured the images.")
    if run.driven:
        _end(f"Shard {list(shard)} is sampled. 04_sample measures the images when all shards are.")
    _end(
        f"Shard {list(shard)} is sampled. {len(missing)} images of the other shards are missing: the process that ends "
        "last measures them all. If none is running, run the missing shards."
    )


def _write_manifest(paths: Sequence[Path], mine: Sequence[Path], shard: Sequence[int]) -> None:
    listed = hashlib.sha256("\n".join(path.name for path in paths).encode()).hexdigest()
    record = {"shard": list(shard), "list": listed, "images": {path.name: file_sha256(path) for path in mine}}
    with atomic(paths[0].with_name(f"shard-{shard[0]}-of-{shard[1]}.json")) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")


def _end(message: str) -> None:
    print(message)
    raise SystemExit(0)
