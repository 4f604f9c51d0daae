"""Where the pictures of a raw set lie: folders and zips, whatever letters, links and separators their names have.

Two names are one if they differ only in case, or in how an accent is encoded (Unicode NFC, or NFD as macOS writes it).
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from p2d_lib.prep.layouts import Files, Layout
from p2d_lib.prep.pixels import DataError, File, open_zip

SYSTEM_FOLDERS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found")  # in lower case
Rows = dict[str, list[tuple[str, PurePosixPath]]]  # name without folders -> (image_id, name of its picture)
PICTURES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".gif", ".webp")  # suffixes of masks, in lower case
ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def normal(name: str) -> str:
    """One spelling of all that count as the same name."""
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True)
class Pictures:
    """Pictures, or masks, of one set.

    files: image_id -> where its picture is. strange: those that no row of the table names. twice: (image_id, a further
    picture of it, the one in `files`).
    """

    files: dict[str, File]
    strange: list[tuple[str, File]]
    twice: list[tuple[str, File, File]]


def find(folder: Path, layout: Layout, names: dict[str, str], images: Pictures | None = None) -> Pictures:
    """The pictures of a set, or, where its `images` are given, its masks, none of which is one of these.

    names: image_id -> how the table names its picture, which may be a path. A path says where below its place a picture
    lies, an absolute one only which of several is meant: it may be of another machine. A zip counts for what its
    unpacked folder beside it lacks. Raises DataError for a place that cannot be listed.
    """
    files = layout.masks if images else layout.images
    taken = set(images.files.values()) if images else set()
    rows = rows_by_name(names)
    found, strange, twice = {}, [], []
    places = places_of(folder, files)
    unpacked = {normal(str(place)) for place in places if place.is_dir()}
    for place in sorted(places, key=lambda place: (not place.is_dir(), place)):  # folders first
        beside_its_folder = not place.is_dir() and normal(str(place.with_suffix(""))) in unpacked
        for file in inside(place):
            parts = file.parts
            if not fits(parts, files) or file in taken or (not images and _is_mask(file, layout, rows)):
                continue
            image_id = row_of(file, files.ending, rows, exactly=not images)
            if image_id in found:
                if not beside_its_folder and found[image_id] != file:
                    twice.append((image_id, file, found[image_id]))
            elif image_id is not None:
                found[image_id] = file
            elif not beside_its_folder:
                strange.append((_stem(file, files.ending), file))
    return Pictures(found, strange, twice)


def places_of(folder: Path, files: Files) -> list[Path]:
    """The folders and zips that a layout's globs name: in the set's folder, or anywhere where they are absolute.

    Of two that differ only in case or in the encoding of accents the one counts that is spelt as in the layout.
    """
    by_name = defaultdict(dict)
    for pattern in files.places:
        for place, exactly in _matches(folder, pattern):
            by_name[normal(str(place))][place] = exactly
    places = []
    for spellings in by_name.values():
        places += [place for place, exactly in spellings.items() if exactly] or list(spellings)
    return places


def why_missing(folder: Path, files: Files) -> str:
    """What in a set's folder may explain that pictures are missing; "" where nothing does."""
    places = places_of(folder, files)
    unusable = [place for place in places if not place.is_dir() and place.suffix.lower() != ".zip"]
    for place in unusable:
        if place.is_symlink() and not place.exists():
            return f"; {place} is a link that leads nowhere"
        if place.suffix.lower() in ARCHIVES:
            return f"; {place} is an archive that is not read: unpack it"
    for place in places:
        inner = next((file for file in inside(place) if file.parts[-1].lower().endswith((".zip", *ARCHIVES))), None)
        if inner:
            return f"; {inner} is an archive inside a place: unpack it beside the table"
    if not places:
        here = sorted(path.name for path in folder.iterdir() if path.is_dir() or path.suffix.lower() == ".zip")
        return f"; the folders and zips there are {', '.join(here[:5]) or 'none'}"
    return ""


def _matches(folder: Path, pattern: str) -> list[tuple[Path, bool]]:
    """What a glob names, and whether it is spelt so."""
    path = Path(pattern.replace("\\", "/")).expanduser()
    found = [(Path(path.anchor) if path.is_absolute() else folder, True)]
    for part in path.relative_to(path.anchor).parts:
        if part == "..":
            found = [(place / part, exactly) for place, exactly in found]
        elif part == "**":
            found = [(Path(below), exactly) for place, exactly in found for below, *_ in _walk(place)]
        else:
            found = [
                (child, exactly and fnmatchcase(child.name, part))
                for place, exactly in found
                for child in _children(place)
                if fnmatchcase(normal(child.name), normal(part))
            ]
    return found


def near(folder: Path) -> Iterator[File]:
    """The files in a folder and one folder below, without those of operating systems. Raises DataError."""
    below = [place for place in _children(folder) if place.is_dir() and not _is_hidden(place.name)]
    for place in (folder, *below):
        yield from (File(path) for path in _children(place) if path.is_file() and not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def _children(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir()) if place.is_dir() else []
    except OSError as error:
        raise DataError(f"{place}: cannot be listed ({error.strerror}); give yourself the right to read it") from None


def _walk(place: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """os.walk through links too, each folder once, without hidden ones and those of operating systems."""
    visited = set()

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror}); give yourself the right to read it")

    for below, folders, names in os.walk(place, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(below)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield below, folders, sorted(names)


def inside(place: Path) -> Iterator[File]:
    """The files in a folder, its subfolders included, or in a zip."""
    if place.is_dir():
        for below, _, names in _walk(place):
            yield from (File(Path(below, name)) for name in names)
    elif place.suffix.lower() == ".zip":
        yield from (File(place, name) for name in open_zip(place).namelist() if not name.endswith(("/", "\\")))


def fits(parts: tuple[str, ...], files: Files, any_suffix: bool = False) -> bool:
    """Whether one of a layout's globs names a file, if need be with another suffix."""
    path, names = normal("/".join(parts)), map(normal, files.names)
    if any_suffix:
        path, names = _without_suffix(path), map(_without_suffix, names)
    system = any(part.lower() in SYSTEM_FOLDERS for part in parts)
    hidden = parts[-1].startswith("._")  # macOS writes such files beside each file
    return not (system or hidden) and any(fnmatchcase(path, f"*/{name}") for name in names)


def _without_suffix(name: str) -> str:
    return re.sub(r"\.[^./]*$", "", name)


def has_ending(file: File, ending: str) -> bool:
    """Whether a file's name without its suffix ends as those of masks do; False where these have no ending."""
    return bool(ending) and normal(PurePosixPath(file.parts[-1]).stem).endswith(normal(ending))


def _stem(file: File, ending: str) -> str:
    stem = PurePosixPath(file.parts[-1]).stem
    return stem[: -len(ending)] if has_ending(file, ending) else stem


def _is_mask(file: File, layout: Layout, rows: Rows) -> bool:
    """Whether a file that the globs of pictures name too is a mask: it lies where masks lie, with their ending."""
    masks = layout.masks
    if not (masks and has_ending(file, masks.ending) and fits(file.parts, masks, any_suffix=True)):
        return False
    return normal(PurePosixPath(file.parts[-1]).stem) not in rows


def rows_by_name(names: dict[str, str]) -> Rows:
    """(image_id, name of its picture) of the table's rows, by the name's last part."""
    rows = defaultdict(list)
    for image_id, name in names.items():
        rows[normal(PurePosixPath(name).name)].append((image_id, PurePosixPath(name)))
    return rows


def row_of(file: File, ending: str, rows: Rows, exactly: bool = False) -> str | None:
    """The image_id of the row that names a file: its name without suffix and ending, and the folders above it."""
    stem, folders = _stem(file, ending), file.parts[:-1]
    candidates = rows.get(normal(stem), [])
    exact = [row for row in candidates if row[1].name == stem]
    scored = []
    for image_id, path in exact or candidates:
        above = [normal(part) for part in path.parts[:-1]]
        common = _common(above, [normal(part) for part in folders])
        elsewhere = path.is_absolute() or ":" in path.parts[0] or not exactly
        if common == len(above) or (elsewhere and (common or len(candidates) == 1)):
            scored.append((common, image_id))
    return max(scored)[1] if scored else None


def _common(one: list[str], other: list[str]) -> int:
    """How many last parts two paths share."""
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n] == other[-1 - n]:
        n += 1
    return n
