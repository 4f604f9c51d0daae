"""Reads any raw set by its layout: files on disk -> checked metadata, images and masks.

The default layout is HAM10000 as its authors publish it: Tschandl, Rosendahl, Kittler, Sci Data 5:180161, 2018; files
at doi:10.7910/DVN/DBW86T. The phantom is laid out the same way; its truth lies beside in truth.csv.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from io import StringIO
from itertools import compress
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from p2d_lib.prep.layouts import COLUMNS, REPOSITORY, WORDS, Files, Layout, load
from p2d_lib.prep.pixels import DataError, File, open_zip
from p2d_lib.suggest import did_you_mean

BAD = ("image_id", "file", "row", "stage", "reason")
UNUSED = "none of the seven; not used"
MAX_AGE = 120  # years
CHECKS = (  # column, which rows are right, what is expected there
    ("image_id", lambda t: t["image_id"] != "", "a name"),
    ("lesion_id", lambda t: t["lesion_id"] != "", "a name"),
    ("image_id", lambda t: ~t["image_id"].duplicated(), "each image once"),
    ("dx", lambda t: t["dx"].notna(), UNUSED),
    *((column, lambda t, column=column: t[column].isin(WORDS[column]), "one of") for column in list(WORDS)[:4]),
    ("dx", lambda t: t["dx"] == t.groupby("lesion_id")["dx"].transform("first"), "the dx of the lesion's first image"),
    ("age", lambda t: t["age"].isna() | t["age"].between(0, MAX_AGE), f"years from 0 to {MAX_AGE}, or nothing"),
    ("fitzpatrick", lambda t: t["fitzpatrick"].isna() | t["fitzpatrick"].isin(range(1, 7)), "1 to 6, or nothing"),
    ("dataset", lambda t: t["dataset"] != "", "the name of the collection"),
)


@dataclass(frozen=True)
class RawSet:
    """The usable part of a set, and what was set aside.

    metadata: COLUMNS, checked, in file order (age: float years, NaN unknown), fitzpatrick (1..6, NaN unknown) where the
    layout has it, and true_* where truth.csv lies there; images, masks: where each image_id's picture and lesion mask
    are (a mask may be missing). bad: BAD, one row per row or file set aside: file within the set's folder, row its
    line there (0: none), stage metadata | image | mask, reason. Rows with "...; not used" have a dx that is not ours.
    """

    metadata: pd.DataFrame
    images: dict[str, File]
    masks: dict[str, File]
    bad: pd.DataFrame
    folder: Path


def find(data: str = "", layout: str = "ham10000") -> Path:
    """The folder of a layout's set, relative to here or to the repository: `data`, else for ham10000 the variable
    P2D_HAM10000. Raises DataError."""
    ham = layout == "ham10000"
    folder_name, name = data or (os.environ.get("P2D_HAM10000", "") if ham else ""), "HAM10000" if ham else layout
    if not folder_name:
        raise DataError(
            f"where is {name}? Download it ({load(layout).source}) and name its folder in the parameter 01_prep.data "
            f"(./run_all.sh --data DIR){' or in the variable P2D_HAM10000' if ham else ''}"
        )
    for folder in (Path(folder_name).expanduser(), REPOSITORY / folder_name):
        if folder.is_dir():
            return folder
    variable = " or P2D_HAM10000" if ham else ""
    raise DataError(f"{folder_name}: no such folder; 01_prep.data{variable} must name the folder that holds {name}")


def read(folder: Path, layout: str | Path = "ham10000", on_bad: str = "fail") -> RawSet:
    """A set as its layout says (see `load`); metadata, pictures and masks are checked against one another.

    on_bad: "fail" raises DataError at the first row or file that is wrong; "quarantine" lists each in `bad`, with the
    sentence that "fail" raises, and goes on without it. Wrong are a value that cannot be, a second row, picture or mask
    of an image, a dx that is not that of its lesion's first image, a row without its picture, a picture or mask that no
    row names. A missing mask is no error. Raises DataError in both for a missing file, column or layout, for what is no
    table or zip, and where nothing is left.
    """
    if on_bad not in ("fail", "quarantine"):
        raise ValueError(f"on_bad is {on_bad!r}; it must be 'fail' or 'quarantine'")
    layout, rows = load(layout), []

    def aside(stage: str, image_id: str, file: Path | File, row: int, reason: str, fails: bool = True) -> None:
        if fails and on_bad == "fail":
            raise DataError(reason)
        rows.append((image_id, PurePath(str(file)).relative_to(folder).as_posix(), row, stage, reason))

    path = _first(folder, layout.metadata, layout)
    metadata, named = _metadata(path, layout, aside)
    images = _pictures(folder, layout.images, "image", aside)
    masks = _pictures(folder, layout.masks, "mask", aside) if layout.masks else {}
    missing = metadata["image_id"][~metadata["image_id"].isin(images)]
    ending, places = PurePath(layout.images.names[0]).suffix, " nor ".join(layout.images.places)
    for at, image_id in missing.items():
        reason = (
            f"{folder}: {image_id}{ending} is in no {places} (folder or zip), but {path.name}, line {at + 2}, names it "
            f"({len(missing)} of {len(metadata)} images are missing); put it back or remove its row"
        )
        aside("metadata", image_id, path, at + 2, reason)
    for stage, files in (("image", images), ("mask", masks)):
        strange = [image_id for image_id in files if image_id not in named]
        for image_id in strange:
            such = f"({len(strange)} of {len(files)} {stage}s are in no row)"
            reason = f"{files[image_id]}: no row of {path.name} names this {stage} {such}; add its row or remove it"
            aside(stage, image_id, files[image_id], 0, reason)
    metadata = metadata.drop(missing.index).reset_index(drop=True)
    if metadata.empty:
        raise DataError(f"{path}: nothing is left of its {len(named)} images; the first: {rows[0][-1]}")
    used = set(metadata["image_id"])
    images, masks = ({name: file for name, file in files.items() if name in used} for files in (images, masks))
    bad = pd.DataFrame(rows, columns=BAD).astype({"row": int})
    return RawSet(metadata.join(_truth(folder, metadata["image_id"])), images, masks, bad, folder)


def _first(folder: Path, names: list[str], layout: Layout) -> Path:
    if path := next((folder / name for name in names if (folder / name).is_file()), None):
        return path
    raise DataError(f"{folder}: there is no {' nor '.join(names)}; take it from {layout.source}")


def _metadata(path: Path, layout: Layout, aside: Callable) -> tuple[pd.DataFrame, set[str]]:
    """The rows that can be used (index: line - 2), in our columns and words, and every image_id the table names."""
    table, image_ids = _table(path, layout)
    for name in layout.joined:
        place = _first(path.parent, [name], layout)
        other, other_ids = _table(place, layout)
        if other_ids.duplicated().any():
            twice = other_ids[other_ids.duplicated()].iloc[0]
            raise DataError(f"{place}: {twice} has more than one row; remove all but one")
        for at, image_id in other_ids[~other_ids.isin(image_ids)].items():
            reason = f"{place}, line {at + 2} ({image_id}): {path.name} has no row of this image; add or remove it"
            aside("metadata", image_id, place, at + 2, reason)
        other = other.set_axis(other_ids).reindex(image_ids, fill_value="").set_axis(table.index)
        table = table.join(other.drop(columns=list(table), errors="ignore"))
    columns = dict.fromkeys((*COLUMNS, *layout.columns, *layout.constants))
    theirs = pd.DataFrame({column: _source_cells(table, column, path, layout) for column in columns}, table.index)
    ours = theirs.apply(_translated, values=layout.values.model_dump()).assign(image_id=image_ids)
    for column, right, expected in CHECKS:
        if column not in ours:
            continue
        wrong = ours["image_id"][~right(ours)]
        known = getattr(layout.values, column, None) or WORDS.get(column, ())
        words = f" {', '.join(word for word in known if word not in ('', '*'))}" if expected == "one of" else ""
        such = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        for at, image_id in wrong.items():
            value, unused = theirs[column][at], expected == UNUSED
            reason = (
                f"{path}, line {at + 2} ({image_id}): {layout.columns.get(column, column)} is {value!r}, expected "
                f"{expected}{words}{such}; correct the row or remove it"
            )
            reason = f"dx {value!r} is {UNUSED}" if unused else reason
            aside("metadata", image_id, path, at + 2, reason, fails=not unused)
        ours = ours.drop(wrong.index)
    return ours, set(image_ids)


def _table(path: Path, layout: Layout) -> tuple[pd.DataFrame, pd.Series]:
    """The cells of a file as text, and the image_id of each row."""
    try:
        text = path.read_text(encoding="utf-8")
        separator = layout.separator or ("\t" if "\t" in text.partition("\n")[0] else ",")
        if len(separator) > 1:  # a line without it is no row: PH2's legend
            text = "\n".join(line for line in text.splitlines() if separator in line)
            separator = re.escape(separator)
        engine = "python" if len(separator) > 1 else "c"
        table = pd.read_csv(StringIO(text), sep=separator, engine=engine, dtype=str, keep_default_na=False)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows have more cells than its first line")
    except ValueError as error:
        raise DataError(f"{path}: not a table of comma- or tab-separated text ({error})") from None
    if table.empty:
        raise DataError(f"{path}: there are no rows")
    table = table.fillna("").apply(lambda column: column.str.strip()).rename(columns=str.strip)
    image_ids = _source_cells(table, "image_id", path, layout)
    return table, image_ids.str.replace(r"(?i)\.(jpe?g|png|bmp|tiff?)$", "", regex=True)


def _source_cells(table: pd.DataFrame, column: str, path: Path, layout: Layout) -> pd.Series:
    """The cells of a table for one of our columns, in the words of the set."""
    theirs = layout.columns.get(column)
    one_hot = layout.one_hot if column == "dx" else []
    if not (theirs or one_hot):
        return pd.Series(layout.constants.get(column, "unknown"), table.index)
    sources = one_hot or re.findall(r"{(.+?)}", theirs) or theirs.split(" or ")
    if absent := [source for source in sources if source not in table]:
        raise DataError(
            f"{path}: column {absent[0]!r} is missing{did_you_mean(absent[0], table.columns)}; the file has "
            f"{', '.join(map(repr, table.columns))}; take it again from {layout.source}"
        )
    cells = table[sources]
    if one_hot:
        is_one = cells.apply(pd.to_numeric, errors="coerce") == 1
        return pd.Series(["+".join(compress(one_hot, row)) for row in is_one.to_numpy()], table.index)
    if "{" in theirs:
        both = pd.Series([theirs.format_map(row) for row in cells.to_dict("records")], table.index)
        return both.where((cells != "").all(axis=1), "")
    return reduce(lambda filled, source: filled.where(filled != "", cells[source]), sources[1:], cells[sources[0]])


def _translated(cells: pd.Series, values: dict[str, dict[str, str | None]]) -> pd.Series:
    """The set's words in ours, ages and skin types as numbers; words without counterpart become what no check takes."""
    words = values.get(cells.name, {})
    if cells.name in ("sex", "localization", "age", "fitzpatrick"):
        cells = cells.replace({"": "unknown", "nan": "unknown"})
        words = words and {"unknown": "unknown"} | words
    cells = cells.map(lambda word: words.get(word, words.get("*", "?"))) if words else cells
    if cells.name not in ("age", "fitzpatrick"):
        return cells
    return pd.to_numeric(cells, errors="coerce").astype(float).fillna(np.inf).where(cells != "unknown")


def _pictures(folder: Path, files: Files, stage: str, aside: Callable) -> dict[str, File]:
    pictures = {}
    for place in sorted({place for pattern in files.places for place in folder.glob(pattern)}):
        inside = []
        if place.is_dir():
            inside = [File(path) for path in sorted(place.rglob("*"))]
        elif place.suffix == ".zip" and not place.with_suffix("").is_dir():  # else its files lie unpacked beside it
            inside = [File(place, name) for name in open_zip(place).namelist()]
        for file in inside:
            path = PurePath(str(file))
            fits = any(fnmatchcase(str(file).lower(), f"*/{name.lower()}") for name in files.names)
            if not fits or path.name.startswith("._"):  # macOS writes such files beside each file
                continue
            image_id = path.stem.removesuffix(files.ending)
            if (first := pictures.setdefault(image_id, file)) != file:
                aside(stage, image_id, file, 0, f"{file}: {image_id} has another {stage}, {first}; remove one of them")
    return pictures


def _truth(folder: Path, image_id: pd.Series) -> pd.DataFrame:
    path = folder / "truth.csv"
    if not path.is_file():
        return pd.DataFrame(index=image_id.index)
    truth = pd.read_csv(path)
    if "image_id" not in truth or not image_id.isin(truth["image_id"]).all():
        raise DataError(f"{path}: it does not know every image of the metadata; write the phantom again")
    truth = truth.set_index("image_id").filter(regex="^true_")
    return truth.loc[image_id].set_axis(image_id.index)
