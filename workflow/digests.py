"""Digests of a run's files, each read again only when it may have changed."""

import json
import os
import time
from pathlib import Path

from p2d_lib.files import atomic, file_sha256, read_record, sha256

SETTLED = 2.0  # seconds: a file that was changed less long ago may change once more within one tick of its clock


class Digests:
    """SHA-256 of files and folders, as files.sha256 computes them.

    store: a file that keeps, for each path, size, times and inode beside the digest. Where all of these are as they
    were, the file is not read. In a copy of a run none is, so there the contents decide.
    """

    def __init__(self, store: Path):
        self._store = store
        self._known = read_record(store)
        self._now = time.time()

    def __call__(self, path: Path) -> str:
        """The digest of a file, or of a folder. Raises FileNotFoundError where there is neither."""
        return sha256(path, self._of_file)

    def _of_file(self, path: Path) -> str:
        stat = path.stat()
        signs = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known.get(str(path))
        if known and known[:-1] == signs:
            return known[-1]
        digest = file_sha256(path)
        if max(stat.st_mtime, stat.st_ctime) < self._now - SETTLED:
            self._known[str(path)] = [*signs, digest]
        return digest

    def save(self) -> None:
        """Keeps the digests of all files that still exist."""
        known = {path: entry for path, entry in self._known.items() if os.path.exists(path)}  # noqa: PTH110, of thousands
        if known != read_record(self._store):
            with atomic(self._store) as partial:
                partial.write_text(json.dumps(known))
