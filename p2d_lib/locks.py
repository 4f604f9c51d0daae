"""Who may write into a run: `./run_all.sh` alone, or notebooks that are run by hand.

Each lock is a hidden file beside the runs' folders. The operating system frees it however its holder ends. The driver
of ./run_all.sh holds the run's lock. A notebook that somebody runs by hand holds one of its own, which it can only take
while no driver has the run. So several notebooks can be open at once, and the driver refuses to start while one of them
holds its lock.
"""

import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

WAIT = 1.0  # seconds: notebooks hold the run's lock for a moment while they start


class RunBusy(Exception):
    """Somebody else writes into the run."""


def lock_run(runs: Path, run: str) -> FileLock:
    """Takes a run for the driver. Raises RunBusy where another driver, or a notebook run by hand, has it.

    runs: the folder data/runs. The lock is held until it is released or its process ends.
    """
    runs.mkdir(parents=True, exist_ok=True)
    lock = _acquire(runs / f".{run}.lock", f"run {run!r}", WAIT)
    for path in sorted(runs.glob(f".{run}.notebook-*.lock")):
        try:
            _acquire(path, f"run {run!r}").release()
        except RunBusy:
            lock.release()
            raise
    return lock


def lock_notebook(runs: Path, run: str, notebook: str, part: str = "") -> FileLock:
    """Takes a notebook's place in a run for this process. Raises RunBusy where a driver has the run, or another
    process the same notebook.

    part: which part of the notebook's work this process does, where several share it. The lock is held as long as the
    object lives; a process that takes the same place again gets the same object.
    """
    runs.mkdir(parents=True, exist_ok=True)
    run_lock = _acquire(runs / f".{run}.lock", f"run {run!r}", WAIT)
    try:
        return _acquire(runs / f".{run}.notebook-{notebook}{part}.lock", f"{notebook} of run {run!r}")
    finally:
        run_lock.release()


def refuse_driven(runs: Path, run: str) -> None:
    """Raises RunBusy while a driver works on a run; who only reads the run asks first."""
    if (lock := runs / f".{run}.lock").exists():
        with suppress(OSError):  # a folder that nobody can write to has no driver
            _acquire(lock, f"run {run!r}").release()


def _acquire(path: Path, label: str, wait: float = 0.0) -> FileLock:
    lock = FileLock(path, is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        holder = path.read_text().strip() or "unknown"
        raise RunBusy(
            f"{label} is under way (process {holder}): wait for it to end (a notebook open in Jupyter ends with its "
            "kernel), or choose another name for this run"
        ) from None
    path.write_text(f"{os.getpid()}\n")
    return lock
