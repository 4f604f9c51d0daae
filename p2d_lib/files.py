"""Files that are whole or not there: atomic writes, and digests of contents.

Everything is written under a temporary name of its own, flushed to disk and renamed. So an interrupted write leaves
nothing behind that looks finished, and two processes that write one path leave the whole file of one of them.
"""

import errno
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from hashlib import sha256 as new_sha256
from pathlib import Path

LINE_END = re.compile(r"\r\n|\r|\n")
_cleaned: set[Path] = set()  # folders that this process has cleared of the temporary folders of dead processes


def file_sha256(path: Path) -> str:
    """Hex digest of one file's bytes."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def sha256(path: Path, of_file: Callable[[Path], str] = file_sha256) -> str:
    """Hex digest of a file, or of a folder's files with their relative names. Files and folders whose name starts with
    a dot (.DS_Store, temporary ones) do not count. of_file: what computes the digest of one file."""
    if not path.is_dir():
        return of_file(path)
    digest = new_sha256()
    for file in sorted(file for file in path.rglob("[!.]*") if file.is_file()):
        name = file.relative_to(path)
        if not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name}:{of_file(file)}\n".encode())
    return digest.hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path; what was written there takes the name `path` on success and vanishes on error.

    Works for a file and for a folder (make the folder at the path yielded; it does not exist yet). The temporary path
    has the same name and lies in a folder of this call alone, beside `path`. When the context ends without an error,
    the contents, the new name and the folder that holds it have reached the disk. Of two writers of one path the last
    one wins. A file is there at every moment; a folder is absent between two renames while it is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.{_writer()}.", suffix=".partial", dir=path.parent))
    partial = temporary / path.name
    try:
        yield partial
        for written in [partial, *partial.rglob("*")]:
            flush(written)
        _rename(partial, path, aside=temporary)
        flush(path.parent)
    finally:
        remove(temporary)


def sidecar(path: Path) -> Path:
    """Where the provenance of a file or folder lies: beside it, or by the same name in the run's folder."""
    return path.with_name(f"{path.name}.provenance.json")


def read_record(path: Path) -> dict:
    """The JSON object in a file; {} where there is none that can be read, as a power cut leaves it empty or half."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def lines(text: str) -> list[str]:
    """The lines of a text; str.splitlines also ends one at U+2028 and the like, which JSON holds within a text."""
    return LINE_END.split(text)


def named_path(text: str) -> Path:
    """A path that a command line names. Raises ValueError for "", which would be the working folder."""
    if not text:
        raise ValueError("no path")
    return Path(text)


def refused_by_system(error: OSError, path: Path) -> str:
    """What the operating system has refused, in words, where writing to `path` has failed."""
    return f"{error.filename2 or error.filename or path}: {error.strerror or error}: make room there, or name another"


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk. Raises OSError where the disk is full."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise  # some network file systems flush no folders
    finally:
        os.close(descriptor)


def _rename(partial: Path, path: Path, aside: Path) -> None:
    """Gives `partial` the name `path`. A folder of that name moves `aside`, as often as another writer puts one."""
    attempt = 0
    while True:
        try:
            partial.replace(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # a folder is there, or was until just now
                raise
        with suppress(FileNotFoundError):  # another writer has moved it
            path.replace(aside / f"replaced-{attempt}")
        attempt += 1


def _writer() -> str:
    """This process, as the names of its temporary folders give it."""
    return f"{socket.gethostname().replace('.', '-')}.{os.getpid()}"


def _clean(folder: Path) -> None:
    """Removes, once a process, the temporary folders that ended processes of this machine have left in a folder."""
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    host = _writer().split(".")[0]
    for leftover in folder.glob(".*.partial"):
        *_, writer, process, _, _ = ["", "", "", "", *leftover.name.split(".")]
        if writer == host and process.isdigit() and not _alive(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)  # another process may be removing it too


def _alive(process: int) -> bool:
    """Whether a process can still write: one that has ended, and that nobody has waited for, cannot."""
    import psutil

    try:
        return psutil.Process(process).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's
        return True
