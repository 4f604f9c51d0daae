"""What a finished run shows, copied to object storage or another place: whole files, each once, when all is done.

Notebooks are executed on this machine's disk and copied afterwards: saved to object storage cell by cell, one object
would be written so often that stores refuse it (papermill, issue 312).
"""

import json
from collections.abc import Iterator
from pathlib import Path

from cli import Refused

from p2d_lib.files import atomic, file_sha256, read_record

RECORD = ".copied.json"
PATTERNS = ("index.html", "notebooks/*", "stages/*.json", "timings.json", "parameters.json")  # of the run's folder


def check(url: str) -> None:
    """Raises Refused where nothing can be copied to this address, so that a run does not end with that news."""
    try:
        _place(url)
    except (ImportError, ValueError, TypeError, OSError) as error:
        raise Refused(
            f"--copy-to {url}: {error} (s3:// needs the package s3fs, gs:// gcsfs; file:///DIR needs none)"
        ) from None


def copy_run(folder: Path, home: Path, url: str) -> int:
    """Copies page, executed notebooks, tables and figures of a run and returns the number of files.

    folder: the run's, in `home`. Places below the address are as below `home`, so that the page's links hold. What is
    there already with the same content, by the record that is kept in the run's folder, is not copied again; the page
    comes last. Raises Refused where the place does not take a file.
    """
    try:
        return _copy_run(folder, home, url)
    except (OSError, NotImplementedError) as error:
        raise Refused(
            f"--copy-to {url}: {error or type(error).__name__}: the run itself is finished; the same command copies "
            "what is not there yet"
        ) from None


def _copy_run(folder: Path, home: Path, url: str) -> int:
    files, place = _place(url)
    known = read_record(folder / RECORD).get(url, {})
    there = set(files.find(place))  # one listing: what somebody has removed there is copied again
    copied = 0
    for path in _shown(folder, home):
        name, digest = str(path.relative_to(home)), file_sha256(path)
        target = f"{place}/{name}"
        if known.get(name) == digest and target in there:
            continue
        files.makedirs(target.rpartition("/")[0], exist_ok=True)
        files.put_file(str(path), target)
        known[name] = digest
        copied += 1
        with atomic(folder / RECORD) as partial:
            partial.write_text(json.dumps({**read_record(folder / RECORD), url: known}, indent=1) + "\n")
    return copied


def _shown(folder: Path, home: Path) -> Iterator[Path]:
    for kind in ("tables", "figures"):
        yield from sorted(path for path in (home / kind / folder.name).rglob("*.*") if path.is_file())
    for pattern in reversed(PATTERNS):
        yield from sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))


def _place(url: str):
    """The file system and the place in it; takes a while to import."""
    from fsspec.core import url_to_fs

    files, place = url_to_fs(url)
    return files, place.rstrip("/")
