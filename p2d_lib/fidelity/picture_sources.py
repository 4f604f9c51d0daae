"""The images of any folder or tar file, one after the other, with their names."""

import tarfile
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
    tar; images.ImageError names one that cannot be read. Other files do not count, nor those whose name, or whose
    folder's name, starts with a dot. Raises SourceError where there is no image.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.exists():
            raise SourceError(f"{path}: no such folder or file")
        if path.is_dir():
            found = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
            self.names = sorted(filter(_is_image, found))
        else:
            self.names = [member.name for member in self._members()]
        if not self.names:
            raise SourceError(f"{path}: holds no image; files that end in {', '.join(SUFFIXES)} are taken for images")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        if self.path.is_dir():
            for name in self.names:
                yield name, images.read(self.path / name)
            return
        with tarfile.open(self.path) as tar:
            for member in filter(_is_picture, tar):
                yield (
                    member.name,
                    np.asarray(images.decode(tar.extractfile(member).read(), f"{self.path}:{member.name}")),
                )

    def _members(self) -> list[tarfile.TarInfo]:
        try:
            with tarfile.open(self.path) as tar:
                return [member for member in tar if _is_picture(member)]
        except (tarfile.TarError, EOFError, OSError) as error:
            raise SourceError(f"{self.path}: is neither a folder nor a whole tar file ({error})") from None


def _is_picture(member: tarfile.TarInfo) -> bool:
    return member.isfile() and _is_image(member.name)


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") and part != "." for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden
