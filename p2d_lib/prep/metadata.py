"""The table of a raw set, in its own columns and words -> our columns, words and names, checked row by row."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import compress
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from p2d_lib import table_files, table_places
from p2d_lib.prep.layouts import COLUMNS, WORDS, Layout
from p2d_lib.prep.pixels import DataError
from p2d_lib.suggest import did_you_mean

UNUSED = "none of the seven; not used"
MAX_AGE = 120  # years
LONGEST_NAME = 150  # bytes of UTF-8: names of files hold 255, and later ones hold more than the image_id
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NAMES = ("image_id", "lesion_id", "dataset")  # columns in which a marker of a missing value would be taken for a name
NO_LESION = (
    "unknown",
    "not available",
    "-1",
    "-1.0",
)  # no names of lesions: images of different people would become one lesion
EXCELS_NUMBER = re.compile(r"\d([.,]\d+)?E\+\d{2,}", re.IGNORECASE)  # 1.2E+05: the end of a long number is lost
ONE_SPELLING = "the same letters as in the first row of this lesion"
PICTURE_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp)$", re.IGNORECASE)


def _first_of(table: pd.DataFrame, by: pd.Series, column: str) -> pd.Series:
    return table.groupby(by)[column].transform("first")


def _names_files(image_id: str) -> bool:
    """Whether files that are made later can be named by it."""
    return len(image_id.encode("utf-8", "replace")) <= LONGEST_NAME and not CONTROL.search(image_id)


def _of_another_sex(table: pd.DataFrame) -> pd.Series:
    """Which rows have another sex than the first row of the same lesion in which it is known."""
    known = table["sex"].where(table["sex"] != "unknown")
    return known.notna() & (known != known.groupby(table["lesion_id"]).transform("first"))


CHECKS = (  # column, which rows are right, what is expected there
    ("image_id", lambda t: t["image_id"] != "", "a name"),
    ("lesion_id", lambda t: t["lesion_id"] != "", "a name"),
    ("lesion_id", lambda t: t["lesion_id"] == _first_of(t, t["lesion_id"].str.casefold(), "lesion_id"), ONE_SPELLING),
    (
        "image_id",
        lambda t: ~t["image_id"].str.casefold().duplicated(),
        "each image once, and no two that differ in upper and lower case alone",
    ),
    ("image_id", lambda t: t["image_id"].map(_names_files), f"at most {LONGEST_NAME} bytes, no line break"),
    ("dx", lambda t: t["dx"].notna(), UNUSED),
    *((column, lambda t, column=column: t[column].isin(WORDS[column]), "one of") for column in list(WORDS)[:4]),
    ("dx", lambda t: t["dx"] == _first_of(t, t["lesion_id"], "dx"), "the dx of the lesion's first image"),
    ("sex", lambda t: ~_of_another_sex(t), "the sex of the lesion's other images (is its lesion_id a placeholder?)"),
    ("age", lambda t: t["age"].isna() | t["age"].between(0, MAX_AGE), f"years from 0 to {MAX_AGE}, or nothing"),
    ("fitzpatrick", lambda t: t["fitzpatrick"].isna() | t["fitzpatrick"].isin(range(1, 7)), "1 to 6, or nothing"),
    ("dataset", lambda t: t["dataset"] != "", "the name of the collection"),
)


def read(path: Path, layout: Layout, aside: Callable) -> tuple[pd.DataFrame, pd.Series]:
    """The rows of a set's table that can be used, and how the table names the picture of each of its rows.

    The rows have our columns and words; the index of both is the line in the file. A picture's name may be a path
    (NEL/NEL025.JPG), without its suffix here. aside: takes what cannot be used, see `raw.read`. Raises DataError for a
    file that is no table, and for a missing column.
    """
    described = [column for column in (*layout.columns, "dx") if not (layout.joined or column in layout.defaults)]
    table, pictures = _table(path, layout, ["image_id", *described])
    for name in layout.joined:
        table = _joined(table, pictures, path, _beside(path, name, layout), layout, aside)
    columns = dict.fromkeys((*COLUMNS, *layout.columns, *layout.constants))
    theirs = pd.DataFrame({column: _source_cells(table, column, path, layout) for column in columns}, table.index)
    ours = theirs.apply(_translated, values=layout.values.model_dump()).assign(image_id=image_ids(pictures))
    for column, right, expected in CHECKS:
        if column not in ours:
            continue
        wrong = ours["image_id"][~right(ours)]
        known = getattr(layout.values, column, None) or WORDS.get(column, ())
        words = f" {', '.join(word for word in known if word not in ('', '*'))}" if expected == "one of" else ""
        such = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        for line, image_id in wrong.items():
            value, unused = theirs[column][line], expected == UNUSED
            reason = (
                f"{path}, line {line} ({image_id}): {layout.columns.get(column, column)} is {value!r}, expected "
                f"{expected}{words}{such}; correct the row or remove it"
            )
            reason = f"dx {value!r} is {UNUSED}" if unused else reason
            aside("metadata", image_id, path, line, reason, fails=not unused)
        ours = ours.drop(wrong.index)
    return ours, pictures


def first(folder: Path, names: list[str], layout: Layout) -> Path:
    """The first of several files that is there, in whatever letters, or as a workbook. Raises DataError, which says
    where one lies."""
    here, hint = {path.name.casefold(): path for path in sorted(folder.iterdir())}, ""
    if path := next(table_places.existing(folder, names), None):
        _refuse_a_second(path, here)
        return path
    if broken := next((path for name in names if (path := here.get(name.casefold())) and path.is_symlink()), None):
        hint = f" ({broken.name} is a link that leads nowhere)"
    elif nested := next((path for name in names for path in sorted(folder.glob(f"*/{name}"))), None):
        hint = f", but {nested.parent} has one: name that folder"
    elif near := next((path for path in here.values() if path.is_file() and _is_near(path, names)), None):
        hint = f", but {near.name} is there: unpack or save it as {names[0]}"
    raise DataError(f"{folder}: there is no {' nor '.join(names)}{hint}; take it from {layout.source}")


def _refuse_a_second(path: Path, here: dict[str, Path]) -> None:
    """Raises DataError for a workbook beside the text table of its name: a spreadsheet may hold later corrections."""
    other = here.get(f"{path.stem}.xlsx".casefold())
    if other and other.is_file() and other.name.casefold() != path.name.casefold():
        raise DataError(
            f"{path.parent}: holds {path.name} and {other.name}, and one of them is read; remove or rename the other"
        )


def _is_near(path: Path, names: list[str]) -> bool:
    """Whether a file is one of several as browsers and packers rename them: table (1).csv, table.csv.gz, table.txt."""
    return any(path.name.casefold().startswith(PurePosixPath(name).stem.casefold()) for name in names)


def image_ids(pictures: pd.Series) -> pd.Series:
    """The names of the images: of a path its last part, or, where two paths end alike, all parts joined by _."""
    paths = pictures.map(PurePosixPath)
    stems = paths.map(lambda path: path.name)
    if pictures.nunique() == stems.nunique():
        return stems
    return paths.map(lambda path: "_".join(path.parts).strip("/_"))


def _beside(path: Path, name: str, layout: Layout) -> Path:
    return first(path.parent, [name], layout)


def _joined(
    table: pd.DataFrame, pictures: pd.Series, path: Path, place: Path, layout: Layout, aside: Callable
) -> pd.DataFrame:
    """The table with the columns of another one that has a row per image too."""
    other, others = _table(place, layout)
    if others.duplicated().any():
        twice = others[others.duplicated()].iloc[0]
        raise DataError(f"{place}: {twice} has more than one row; remove all but one")
    for line, image_id in others[~others.isin(pictures)].items():
        reason = f"{place}, line {line} ({image_id}): {path.name} has no row of this image; add or remove it"
        aside("metadata", image_id, place, line, reason)
    other = other.set_axis(others).reindex(pictures, fill_value="").set_axis(table.index)
    return table.join(other.drop(columns=list(table), errors="ignore"))


def _table(path: Path, layout: Layout, columns: Sequence[str] = ("image_id",)) -> tuple[pd.DataFrame, pd.Series]:
    """The cells of a file as text, and how it names the picture of each row. columns: ours that it must hold."""
    try:
        needed = dict.fromkeys(source for column in columns for source in _sources(column, layout))
        table = table_files.read(path, layout.separator, needed)
    except table_files.TableError as error:
        raise DataError(str(error)) from None
    cells = _source_cells(table, "image_id", path, layout)
    cells = cells.where(~table_files.missing(cells), "").str.replace("\\", "/").str.removeprefix("./")
    return table, cells.str.replace(PICTURE_SUFFIX, "", regex=True)


def _sources(column: str, layout: Layout) -> list[str]:
    """The set's columns that make one of ours."""
    if column == "dx" and layout.one_hot:
        return layout.one_hot
    theirs = layout.columns.get(column, "")
    return re.findall(r"{(.+?)}", theirs) or [source for source in theirs.split(" or ") if source]


def _source_cells(table: pd.DataFrame, column: str, path: Path, layout: Layout) -> pd.Series:
    """The cells of a table for one of our columns, in the words of the set."""
    theirs = layout.columns.get(column, "")
    one_hot = layout.one_hot if column == "dx" else []
    if not (sources := _sources(column, layout)):
        return pd.Series(layout.constants.get(column, "unknown"), table.index)
    if absent := [source for source in sources if source not in table]:
        if column in layout.defaults:
            return pd.Series(layout.defaults[column], table.index)
        raise DataError(
            f"{path}: column {absent[0]!r} is missing{did_you_mean(absent[0], table.columns)}; the file has "
            f"{', '.join(map(repr, table.columns))}; take it again from {layout.source}"
        )
    cells = table[sources]
    if column == "lesion_id":
        cells = cells.map(_one_spelling)
    if one_hot:
        is_one = cells.map(table_files.number) == 1
        return pd.Series(["+".join(compress(one_hot, row)) for row in is_one.to_numpy()], table.index)
    if len(sources) > 1 or "{" in theirs:
        cells = cells.where(~cells.apply(_unnamed, column=column), "")
    if "{" in theirs:
        both = pd.Series([theirs.format_map(row) for row in cells.to_dict("records")], table.index)
        return both.where((cells != "").all(axis=1), "")
    return reduce(lambda filled, source: filled.where(filled != "", cells[source]), sources[1:], cells[sources[0]])


def _in_any_letters(words: dict[str, str | None]) -> dict[str, str | None]:
    """The words, and their spellings in lower case where these leave no doubt."""
    lower: dict[str, set] = {}
    for word, ours in words.items():
        lower.setdefault(word.casefold(), set()).add(ours)
    return {word: ours.copy().pop() for word, ours in lower.items() if len(ours) == 1} | words


def _one_spelling(name: str) -> str:
    """A name in which accents, blanks, and a whole number that pandas wrote as 12.0, are always written alike."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    return name.partition(".")[0] if re.fullmatch(r"\d+\.0+", name) else name


def _unnamed(cells: pd.Series, column: str) -> pd.Series:
    """Which cells of a column of names hold no name."""
    unnamed = table_files.missing(cells) | cells.str.fullmatch(table_files.FAILED) | cells.str.fullmatch(EXCELS_NUMBER)
    return unnamed | cells.str.lower().isin(NO_LESION) if column == "lesion_id" else unnamed


def _translated(cells: pd.Series, values: dict[str, dict[str, str | None]]) -> pd.Series:
    """The set's words in ours, ages and skin types as numbers; words without counterpart become what no check takes."""
    if cells.name in NAMES:
        return cells.where(~_unnamed(cells, cells.name), "")
    words = values.get(cells.name, {})
    if cells.name in ("sex", "localization", "age", "fitzpatrick"):
        cells = cells.mask(table_files.missing(cells) & ~cells.isin(list(words)), "unknown")
        words = words and {"unknown": "unknown"} | words
    truths = {table_files.truth(word): ours for word, ours in words.items()}
    if {True, False} <= set(truths):  # R writes TRUE, Excel in German WAHR, where the publishers have True
        words = {word: truths[value] for word in set(cells) if (value := table_files.truth(word)) is not None} | words
    known = _in_any_letters(words or {word: word for word in WORDS.get(cells.name, ())})
    unknown = {"*": words.get("*", "?")} if words else {}
    cells = cells.map(lambda word: known.get(word, known.get(word.casefold(), unknown.get("*", word))))
    if cells.name not in ("age", "fitzpatrick"):
        return cells
    numbers = cells.map(lambda text: np.nan if text == "unknown" else table_files.number(text))
    return numbers.astype(float).fillna(np.inf).where(cells != "unknown")
