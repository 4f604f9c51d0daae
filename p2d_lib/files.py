"""Files that are whole or not there: atomic writes, and digests of contents.

Everything is written under a temporary name, flushed to disk and renamed, so an interrupted write leaves nothing
behind that looks finished.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256(path: Path) -> str:
    """Hex digest of a file, or of a folder's files by relative name."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("[!.]*") if p.is_file()):  # Snakemake leaves a dot file in folders
            digest.update(f"{file.relative_to(path)}:{sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes the name on success and vanishes on error.

    Works for a file and for a folder (make the folder at the path yielded).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        yield partial
        for file in [partial] if partial.is_file() else sorted(p for p in partial.rglob("*") if p.is_file()):
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        if path.is_dir():
            _remove(path)
        partial.replace(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
