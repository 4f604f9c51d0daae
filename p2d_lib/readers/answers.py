"""Reads filled sheets: answers as readings, the missing answers, and errors that name the cell."""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.worksheet.worksheet import Worksheet

from p2d_lib import table_files
from p2d_lib.readers.sheet import (
    COMMENT,
    CONFIDENCE,
    DIAGNOSIS,
    GRADES,
    HEADERS,
    NAME_CELL,
    QUALITY,
    SOURCE,
    STUDY_CELL,
)
from p2d_lib.readers.sheet_files import KEY_FILE, SheetError, filled
from p2d_lib.readers.study import KEY
from p2d_lib.readings import SOURCES, readings
from p2d_lib.suggest import did_you_mean
from p2d_lib.vocabulary import DX, DX_NAMES
from p2d_lib.workbooks import WorkbookError, values

NAME_LENGTH = 60  # characters of a reader's name at most
NETWORKS = re.compile(r"scout|classifier\b.*", re.IGNORECASE)  # readers of 07 that are no people
NOT_IN_NAMES = re.compile(r"[^\w .,'’()-]")  # names stand in tables, LaTeX and HTML: letters, digits and these signs


class Filled(NamedTuple):
    """A filled sheet."""

    reader: str
    readings: pd.DataFrame  # schemas.READINGS, one row per image with all answers
    grades: pd.DataFrame  # image_id, confidence (1..5), quality (1..5), comment; NaN where left empty
    missing: dict[int, str]  # image number -> the answers it lacks

    @property
    def sentence(self) -> str:
        """How much of the sheet counts, for a person to read."""
        n = len(self.readings) + len(self.missing)
        if not self.missing:
            return f"{self.reader}: all {n} images read."
        first_ones = ", ".join(f"{number:03d} ({lacks})" for number, lacks in list(self.missing.items())[:5])
        more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
        return f"{self.reader}: {len(self.readings)} of {n} images read; left out: {first_ones}{more}."


def read_key(path: Path) -> pd.DataFrame:
    """A key as `build` wrote it, also after a spreadsheet has saved it. Raises SheetError when it is missing, lacks a
    column or has another value."""
    if not path.exists():
        raise SheetError(f"{path}: no key is here; it lies in the study's key/ folder")
    try:
        key = table_files.read(path)
    except table_files.TableError as error:
        raise SheetError(str(error)) from None
    if lacking := [name for name in KEY if name not in key.columns]:
        raise SheetError(f"{path}: column {lacking[0]!r} is missing; expected {', '.join(KEY)}")
    for column, words in (("number", None), ("source", SOURCES), ("dx", DX)):
        right = key[column].isin(words) if words else key[column].map(_whole).notna()
        if not right.all():
            line = right.idxmin()
            raise SheetError(f"{path}, line {line}: {column} is {key[column][line]!r}; take the key as it was written")
    return key.assign(number=key["number"].map(_whole).astype(int)).reset_index(drop=True)


def read(path: Path, key: pd.DataFrame) -> Filled:
    """A filled sheet as readings; rows may have been sorted, and images left out.

    An image counts when it has source and diagnosis, and confidence too unless the reader has given no grade at all.
    The confidence grades the source: is_synthetic_read is 0.5 ± confidence / 10, or 0 and 1 in a sheet without grades.
    Raises SheetError for a file that is no such sheet, one of another study, an answer that is no choice, and a name
    that is more than plain text.
    """
    book = _open(path)
    name, study = (book["Instructions"][cell].value for cell in (NAME_CELL, STUDY_CELL))
    if not _same_study(study, key["study"].iloc[0]):
        raise SheetError(
            f"{path.name}, sheet Instructions, cell {STUDY_CELL}: the sheet belongs to study {study!r}, "
            f"the key to {key['study'].iloc[0]!r}; read it with its own key: copy study_keys/{study}.csv of the run "
            "that made it beside the sheets, as key.csv"
        )
    answers = _answers(path, book["Readings"], key)
    needed = [SOURCE, DIAGNOSIS] + [CONFIDENCE] * bool(answers[CONFIDENCE].notna().any())
    lacking = answers[needed].isna()
    missing = {
        int(number): ", ".join(header.split(" (")[0].rstrip("?").lower() for header in row.index[row])
        for number, row in lacking[lacking.any(axis=1)].iterrows()
    }
    done = answers[~lacking.any(axis=1)]
    if done.empty:
        raise SheetError(
            f"{path.name}, sheet Readings: no image has all its answers; move the sheet away until it is filled"
        )
    image_id = key.set_index("number")["image_id"].reindex(done.index)
    confidence = done[CONFIDENCE].to_numpy(float)
    beside_half = np.where(np.isnan(confidence), 5, confidence) / 10
    is_synthetic = (done[SOURCE] == "synthetic").to_numpy()
    reader = _name(path, name)
    rows = readings(
        image_id,
        reader,
        "person",
        dx_read=done[DIAGNOSIS],
        p_synthetic=np.where(is_synthetic, 0.5 + beside_half, 0.5 - beside_half),
    )
    grades = pd.DataFrame(
        {
            "image_id": image_id.to_numpy(str),
            "confidence": confidence,
            "quality": done[QUALITY].to_numpy(float),
            "comment": done[COMMENT].fillna("").to_numpy(str),
        }
    )
    return Filled(reader, rows, grades, missing)


def read_all(folder: Path, key: pd.DataFrame) -> tuple[list[Filled], pd.DataFrame]:
    """All filled sheets of a folder (see `sheet_files.filled`), by file name, and the key they were read with.

    key: the run's; a key.csv that lies beside the sheets is taken instead, so that answers outlive the run that made
    the study. Raises SheetError for a folder without sheets, for what may be a sheet and cannot be read, and when two
    bear one reader's name, in whatever letters.
    """
    paths = filled(folder)
    if (folder / KEY_FILE).exists():
        key = read_key(folder / KEY_FILE)
    sheets, names = [], {}
    for path in paths:
        sheet = read(path, key)
        name = " ".join(sheet.reader.split()).casefold()
        if name in names:
            raise SheetError(
                f"{path.name} and {names[name]} both say reader {sheet.reader!r} in cell {NAME_CELL} of sheet "
                "Instructions: give each reader another name"
            )
        names[name] = path.name
        sheets.append(sheet)
    return sheets, key


def _same_study(one: object, other: str) -> bool:
    """Whether two identifiers are one; programs make a number of 00123456, and of 12e45678 too."""
    if isinstance(one, int | float):
        return (number := table_files.number(other)) is not None and number == one
    return str(one).strip() == other or str(one).strip().zfill(8) == other


def _name(path: Path, value: object) -> str:
    """The reader's name as the sheet has it, or the file's name. Raises SheetError for more than a plain name."""
    name = unicodedata.normalize("NFC", "" if value is None else str(value).strip())
    if NETWORKS.fullmatch(name):
        raise SheetError(
            f"{path.name}, sheet Instructions, cell {NAME_CELL}: {name!r} is the name of a network in the tables; give "
            "the reader another name, such as initials"
        )
    if len(name) > NAME_LENGTH or NOT_IN_NAMES.search(name):
        raise SheetError(
            f"{path.name}, sheet Instructions, cell {NAME_CELL}: {name[: NAME_LENGTH + 1]!r} is no name of a reader; "
            f"write at most {NAME_LENGTH} letters, digits, spaces and . , ' ( ) -"
        )
    stem = NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", path.stem)).strip()[:NAME_LENGTH] or "unnamed"
    return name or (f"{stem} (file)" if NETWORKS.fullmatch(stem) else stem)


def _open(path: Path) -> Workbook:
    if not path.exists():
        raise SheetError(f"{path}: no such sheet")
    try:
        book = values(path)
    except WorkbookError as error:
        raise SheetError(str(error)) from None
    for name in ("Instructions", "Readings"):
        if name not in book.sheetnames:
            raise SheetError(f"{path.name}: sheet {name!r} is missing; it holds {', '.join(book.sheetnames)}")
    for column, header in enumerate(HEADERS, 1):
        cell = book["Readings"].cell(1, column)
        if str(cell.value).strip() != header:
            raise SheetError(f"{_where(path, cell)}: header {cell.value!r}; expected {header!r}")
    return book


def _answers(path: Path, sheet: Worksheet, key: pd.DataFrame) -> pd.DataFrame:
    """What was answered, one row per image of the key (index: number), None where nothing was."""
    by_number: dict[int, dict] = {}
    for row in sheet.iter_rows(min_row=2, max_col=len(HEADERS)):
        if all(_is_empty(cell) for cell in row):
            continue
        number = _whole(row[0].value)
        if number not in set(key["number"]):
            raise SheetError(f"{_where(path, row[0])}: {row[0].value!r} is no image of this study (1 to {len(key)})")
        if number in by_number:
            raise SheetError(f"{_where(path, row[0])}: image {number} comes twice")
        by_number[number] = {
            SOURCE: _one_of(path, row[3], {source: source for source in SOURCES}),
            DIAGNOSIS: _one_of(path, row[4], {**{name: dx for dx, name in DX_NAMES.items()}, **{dx: dx for dx in DX}}),
            CONFIDENCE: _one_of(path, row[5], {grade: int(grade) for grade in GRADES}),
            QUALITY: _one_of(path, row[6], {grade: int(grade) for grade in GRADES}),
            COMMENT: None if _is_empty(row[7]) else str(row[7].value),
        }
    return pd.DataFrame.from_dict(by_number, orient="index", columns=HEADERS[3:], dtype=object).reindex(key["number"])


def _one_of(path: Path, cell: Cell, choices: dict[str, object]) -> object | None:
    if _is_empty(cell):
        return None
    grade = _whole(cell.value)
    answer = str(cell.value if grade is None else grade).strip().lower()
    if answer not in choices:
        hint = did_you_mean(answer, choices)
        raise SheetError(f"{_where(path, cell)}: expected one of {', '.join(choices)}, not {cell.value!r}{hint}")
    return choices[answer]


def _is_empty(cell: Cell) -> bool:
    """Whether a cell holds nothing, or one of the markers of a missing value (NA, -, #N/A)."""
    return cell.value is None or str(cell.value).strip().lower() in table_files.MISSING


def _whole(value: object) -> int | None:
    """3, 3.0, "3" and "3,0" as 3; anything else None."""
    number = table_files.number(str(value))
    return None if number is None or not number.is_integer() else int(number)


def _where(path: Path, cell: Cell) -> str:
    return f"{path.name}, sheet {cell.parent.title}, cell {cell.coordinate}"
