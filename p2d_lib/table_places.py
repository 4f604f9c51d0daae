"""Where a table that people bring may lie: under its name, in whatever letters, or saved as a workbook."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath


def existing(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files of a folder that may stand for one of the names, the preferred one first: the names as they are, then
    as .xlsx, each in whatever letters. names: relative to the folder, or absolute. A missing folder has none."""
    workbooks = dict.fromkeys(str(PurePosixPath(name).with_suffix(".xlsx")) for name in names)
    for name in dict.fromkeys((*names, *workbooks)):
        path = folder / name
        alike = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        places = [path, *(other for other in alike if other.name.casefold() == path.name.casefold())]
        if place := next((place for place in places if place.is_file()), None):
            yield place
