"""The images of any folder or tar file, one after the other, with their names."""

import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from p2d_lib import images

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


class SourceError(Exception):
    """A folder or tar file that cannot be measured; the message names it."""


class Source:
    """The images of a folder, with its subfolders, or of a tar file such as WebDataset's shards.

    Iterating gives a name and uint8 (h, w, 3) for each image, sorted by name in a folder and in the file's order in a
    tar; images.ImageError names one that cannot be read. Links to files count as these files. Other files do not count,
    nor those whose name, or whose folder's name, starts with a dot. Raises SourceError where there is no image, for a
    folder that holds a link to another one, and for a tar file that holds a name twice.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.exists():
            raise SourceError(f"{path}: no such folder or file; name a folder or a zip of images")
        if path.is_dir():
            self.names = sorted(_in_folder(path))
        else:
            self.names = [member.name for member in self._members()]
        if not self.names:
            raise SourceError(f"{path}: holds no image; files that end in {', '.join(SUFFIXES)} are taken for images")
        name, times = Counter(self.names).most_common(1)[0]
        if times > 1:
            raise SourceError(f"{path}: holds {name} {times} times; make the tar file again, each image once")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        if self.path.is_dir():
            for name in self.names:
                yield name, images.read(self.path / name)
            return
        with tarfile.open(self.path) as tar:
            for member in filter(_is_picture, tar):
                yield member.name, np.asarray(images.decode(self._data(tar, member), f"{self.path}:{member.name}"))

    def _data(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        try:
            return tar.extractfile(member).read()
        except KeyError:
            raise images.ImageError(
                f"{self.path}:{member.name}: is a link to {member.linkname}, which the tar file lacks; add it"
            ) from None

    def _members(self) -> list[tarfile.TarInfo]:
        try:
            with tarfile.open(self.path) as tar:
                return [member for member in tar if _is_picture(member)]
        except Exception as error:  # what a decompressor meets in broken bytes: OSError, EOFError, LZMAError, …
            problem = " ".join(str(error).split())
            if self.path.suffix.lower() == ".zip":
                problem = "a zip is not read: unpack it and name the folder"
            elif _is_image(self.path.name):
                problem = "it is one picture: name the folder that holds the pictures"
            raise SourceError(f"{self.path}: is neither a folder nor a whole tar file ({problem})") from None


def _in_folder(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink() and file.is_dir() and not _is_hidden(name):
            raise SourceError(
                f"{file}: is a link to a folder, whose images would be passed over; put that folder in its place"
            )
        if _is_image(name) and (file.is_file() or file.is_symlink()):  # a link to nothing is named when it is read
            yield name


def _is_picture(member: tarfile.TarInfo) -> bool:
    return (member.isfile() or member.islnk() or member.issym()) and _is_image(member.name)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in PurePosixPath(name).parts)
