"""What the app's tabs leave behind: logs of JSON lines in a run's folder, to which lines are only ever added.

A line is on the disk before `append` returns, so what the page calls saved survives a power cut. Several processes may
append to one log.
"""

import json
import logging
import os
from pathlib import Path

from filelock import FileLock

from p2d_lib.files import flush
from p2d_lib.run import Run

log = logging.getLogger(__name__)


def folder(run: Run) -> Path:
    """The folder of the run that the app alone writes to, data/runs/<run>/app; it is made where it is missing."""
    path = run.folder / "app"
    path.mkdir(parents=True, exist_ok=True)
    return path


def append(path: Path, record: dict) -> None:
    """Adds a record to a log as one line, and returns when it has reached the disk.

    A half line at the end, as a power cut leaves it, is ended first, so that it spoils no other. Raises ValueError for
    a record that JSON cannot hold (NaN included), OSError where the disk is full: then nothing counts as saved.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        is_new = not path.exists()
        with path.open("ab+") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                line = (b"" if stream.read(1) == b"\n" else b"\n") + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        if is_new:
            flush(path.parent)


def records(path: Path) -> list[dict]:
    """The records of a log, oldest first; [] where there is none.

    A line that is no JSON object, as a power cut leaves the last one, is left out, and a warning names file and line.
    """
    if not path.exists():
        return []
    whole = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # also of bytes that are no UTF-8
            record = None
        if isinstance(record, dict):
            whole.append(record)
        else:
            log.warning("%s, line %d: not a whole record; it is left out", path, number)
    return whole
