"""Reads filled sheets: answers as readings, the missing answers, and errors that name the cell."""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib import table_files
from p2d_lib.readers import roster, sheet_rows
from p2d_lib.readers.sheet import CHOICES, COMMENT, CONFIDENCE, DIAGNOSIS, NAME_CELL, NUMBER, QUALITY, REALISM, SOURCE
from p2d_lib.readers.sheet_files import KEY_FILE, SheetError, filled
from p2d_lib.readers.sheet_rows import READER, SECONDS, Answers, Entry
from p2d_lib.readers.study import KEY
from p2d_lib.readings import SOURCES, readings
from p2d_lib.suggest import did_you_mean
from p2d_lib.vocabulary import DX, DX_NAMES

NAME_LENGTH = 60  # characters of a reader's name at most
NO_PEOPLE = re.compile(r"scout|(classifier|detector)\b.*|truth", re.IGNORECASE)  # readers in the tables of 07
FEWEST_EQUAL = 30  # images on which two readers do not agree throughout by chance: at 80 % agreement once in 800 pairs
NOT_IN_NAMES = re.compile(r"[^\w .,'’()-]")  # names stand in tables, LaTeX and HTML: letters, digits and these signs


class Filled(NamedTuple):
    """A filled sheet."""

    reader: str
    readings: pd.DataFrame  # schemas.READINGS, one row per image with all answers
    grades: pd.DataFrame  # image_id, confidence (1..5), quality (1..5), comment; NaN where left empty
    missing: dict[int, str]  # image number -> the answers it lacks
    repeats: pd.DataFrame  # schemas.READINGS, of the second showing of images that are shown twice
    number: int | None  # of the reader in the study; None where the sheet has none

    @property
    def sentence(self) -> str:
        """How much of the sheet counts, for a person to read."""
        n = len(self.readings) + len(self.repeats) + len(self.missing)
        if not self.missing:
            return f"{self.reader}: all {n} images read."
        first_ones = ", ".join(f"{number:03d} ({lacks})" for number, lacks in list(self.missing.items())[:5])
        more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
        return f"{self.reader}: {n - len(self.missing)} of {n} images read; left out: {first_ones}{more}."


def read_key(path: Path) -> pd.DataFrame:
    """A key as `build` wrote it, also after a spreadsheet has saved it. Raises SheetError when it is missing, lacks a
    column or has another value."""
    if not path.exists():
        raise SheetError(f"{path}: no key is here; it lies in the study's key/ folder")
    try:
        key = table_files.read(path, columns=KEY)
    except table_files.TableError as error:
        raise SheetError(str(error)) from None
    if lacking := [name for name in KEY if name not in key.columns]:
        raise SheetError(f"{path}: column {lacking[0]!r} is missing; expected {', '.join(KEY)}")
    numbers = {column: key[column].map(_whole).astype(float) for column in ("number", "block", "showing")}
    for column, right in (
        ("number", (numbers["number"] >= 1) & ~numbers["number"].duplicated()),
        ("image_id", ~table_files.missing(key["image_id"])),
        ("source", key["source"].isin(SOURCES)),
        ("dx", key["dx"].isin(DX)),
        ("study", ~table_files.missing(key["study"]) & (key["study"] == key["study"].iloc[0])),
        ("block", numbers["block"] >= 0),
        ("showing", numbers["showing"].isin((1, 2))),
    ):
        if not right.all():
            line = right.idxmin()
            raise SheetError(f"{path}, line {line}: {column} is {key[column][line]!r}; take the key as it was written")
    return key.assign(**{column: of_rows.astype(int) for column, of_rows in numbers.items()}).reset_index(drop=True)


def read(path: Path, key: pd.DataFrame, n_readers: int | None = None) -> Filled:
    """A filled sheet as readings; rows may have been sorted, and images left out.

    n_readers: for how many readers the study was made; None where nobody knows.

    An image counts when it has source and diagnosis, and confidence too unless the reader has given no grade at all.
    The confidence grades the source: is_synthetic_read is 0.5 ± confidence / 10, or 0 and 1 in a sheet without grades.
    In a sheet that asks how real an image looks it is (7 - grade) / 6. Of an image that is shown twice the second
    showing is kept apart. Raises SheetError for a file that is no such sheet, one of another study, an answer that is
    no choice, a reader's number that the study does not have, and a name that is more than plain text.
    """
    table = sheet_rows.read(path)
    part, number = _part(table.study, key, n_readers)
    answers = _answers(table, part, key)
    needed = [REALISM, DIAGNOSIS] if table.has_realism else [SOURCE, DIAGNOSIS]
    needed += [CONFIDENCE] * bool(answers[CONFIDENCE].notna().any())
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
    shown = part.set_index("number").reindex(done.index)
    reader = _name(path, table.reader)
    rows = readings(
        shown["image_id"], reader, "person", dx_read=done[DIAGNOSIS], p_synthetic=_p_synthetic(done, table.has_realism)
    )
    rows["seconds"] = done[SECONDS].to_numpy(float)
    first = (shown["showing"] == 1).to_numpy()
    grades = pd.DataFrame(
        {
            "image_id": shown["image_id"].to_numpy(str),
            "confidence": done[CONFIDENCE].to_numpy(float),
            "quality": done[QUALITY].to_numpy(float),
            "comment": done[COMMENT].fillna("").to_numpy(str),
        }
    )
    parts = (table[first].reset_index(drop=True) for table in (rows, grades))
    return Filled(reader, *parts, missing, rows[~first].reset_index(drop=True), number)


def _p_synthetic(done: pd.DataFrame, has_realism: bool) -> np.ndarray:
    if has_realism:
        return (7 - done[REALISM].to_numpy(float)) / 6
    confidence = done[CONFIDENCE].to_numpy(float)
    beside_half = np.where(np.isnan(confidence), 5, confidence) / 10
    return np.where((done[SOURCE] == "synthetic").to_numpy(), 0.5 + beside_half, 0.5 - beside_half)


def read_all(folder: Path, key: pd.DataFrame, n_readers: int | None = None) -> tuple[list[Filled], pd.DataFrame]:
    """All filled sheets of a folder (see `sheet_files.filled`), by file name, and the key they were read with.

    key: the run's; a key.csv that lies beside the sheets is taken instead, so that answers outlive the run that made
    the study. n_readers: of the run's study. Raises SheetError for a folder without sheets, for what may be a sheet and
    cannot be read, and for two that may be one reader's: with one number, one name (capital and small letters alike),
    or the same answers throughout (to at least FEWEST_EQUAL images).
    """
    paths = filled(folder)
    if (folder / KEY_FILE).exists():
        of_run, key = key, read_key(folder / KEY_FILE)
        n_readers = n_readers if key["study"].iloc[0] == of_run["study"].iloc[0] else None
    sheets: dict[str, Filled] = {}
    for path in paths:
        sheet = read(path, key, n_readers)
        for name, other in sheets.items():
            _refuse_twice(path.name, sheet, name, other, key)
        sheets[path.name] = sheet
    return list(sheets.values()), key


def _refuse_twice(file: str, sheet: Filled, other_file: str, other: Filled, key: pd.DataFrame) -> None:
    """Raises SheetError where two sheets may be one reader's, who would count as two that agree."""
    if sheet.number is not None and sheet.number == other.number:
        raise SheetError(
            f"{file} and {other_file} are both sheet {sheet.number:02d} of study {key['study'].iloc[0]}: remove one if "
            "both are one reader's; if two people used one number, write a free one of the same block in one of them"
        )
    if (n := _equal_answers(sheet, other)) >= FEWEST_EQUAL:
        raise SheetError(
            f"{file} and {other_file} give the same answers to all {n} images that both have read, as two "
            "readers never do: remove one"
        )
    if len({" ".join(each.reader.split()).casefold() for each in (sheet, other)}) == 1:
        raise SheetError(
            f"{file} and {other_file} both say reader {sheet.reader!r}: give each reader another name (cell "
            f"{NAME_CELL} of sheet Instructions, column {READER} of a .csv)"
        )


def _equal_answers(sheet: Filled, other: Filled) -> int:
    """How many images two sheets have both read, where all their answers are equal; else 0. Comments may differ."""
    columns = ["image_id", "dx_read", "is_synthetic_read", "confidence", "quality"]
    one, two = (
        each.readings.merge(each.grades, on="image_id")[columns].set_index("image_id") for each in (sheet, other)
    )
    both = one.index.intersection(two.index)
    return len(both) if one.loc[both].equals(two.loc[both]) else 0


def _same_study(one: object, other: str) -> bool:
    """Whether two identifiers are one; programs make a number of 00123456, and of 12e45678 too."""
    if isinstance(one, int | float):
        return (number := table_files.number(other)) is not None and number == one
    return str(one).strip() == other or str(one).strip().zfill(8) == other


def _part(study: Entry, key: pd.DataFrame, n_readers: int | None) -> tuple[pd.DataFrame, int | None]:
    """The rows of the key that the reader of this sheet sees, and the reader's number."""
    own = key["study"].iloc[0]
    if study.is_empty:
        raise SheetError(
            f"{study.where}: the study's code is missing; write {roster.code(own, 1)} there if the sheet was sent as "
            f"reader_01.xlsx, {roster.code(own, 2)} for reader_02.xlsx, and so on"
        )
    identifier, reader = roster.parted(study.value)
    if not _same_study(identifier, own):
        raise SheetError(
            f"{study.where}: the sheet belongs to study {identifier!r}, the key to {own!r}; read it with its own key: "
            f"copy study_keys/{identifier}.csv of the run that made it beside the sheets, as key.csv"
        )
    if reader is None:
        return key, None
    if reader < 1 or reader > (n_readers or reader):
        more = f"; was it made for more, add --set 07_readers.n_readers={reader}" if reader else ""
        readers = f"from 01 to {n_readers:02d}" if n_readers else "from 01 on"
        raise SheetError(f"{study.where}: {study.value!r} ends in no reader's number of the study, {readers}{more}")
    return roster.seen_by(key, reader).sort_values("number"), reader


def plain_name(text: str) -> str:
    """A person's name as it may stand in tables, LaTeX and HTML. Raises ValueError for more than plain text, and for
    the name of a network."""
    name = unicodedata.normalize("NFC", text.strip())
    if NO_PEOPLE.fullmatch(name):
        raise ValueError(
            f"{name!r} is the name of a network, or of the truth, in the tables; give the reader another name, such "
            "as initials"
        )
    if len(name) > NAME_LENGTH or NOT_IN_NAMES.search(name):
        raise ValueError(
            f"{name[: NAME_LENGTH + 1]!r} is no name of a reader; write at most {NAME_LENGTH} letters, "
            "digits, spaces and . , ' ( ) -"
        )
    return name


def _name(path: Path, entry: Entry) -> str:
    """The reader's name as the sheet has it, or the file's name. Raises SheetError for more than a plain name."""
    try:
        name = plain_name("" if entry.value is None else str(entry.value))
    except ValueError as error:
        raise SheetError(f"{entry.where}: {error}") from None
    stem = NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", path.stem)).strip()[:NAME_LENGTH] or "unnamed"
    return name or (f"{stem} (file)" if NO_PEOPLE.fullmatch(stem) else stem)


def _answers(table: Answers, part: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """What was answered, one row per image that the reader sees (index: number), None where nothing was."""
    choices = {header: {choice: choice for choice in words} for header, words in CHOICES.items()}
    choices[DIAGNOSIS] = {**{name: dx for dx, name in DX_NAMES.items()}, **{dx: dx for dx in DX}}
    for header in (CONFIDENCE, QUALITY, REALISM):
        choices[header] = {grade: int(grade) for grade in CHOICES[header]}
    by_number: dict[int, dict] = {}
    for row in table.rows:
        if all(entry.is_empty for entry in row.values()):
            continue
        number = _numbered(row[NUMBER], by_number, part, key)
        by_number[number] = {header: _one_of(row[header], words) for header, words in choices.items() if header in row}
        comment, seconds = row[COMMENT], row.get(SECONDS)
        by_number[number][COMMENT] = None if comment.is_empty else str(comment.value)
        by_number[number][SECONDS] = np.nan if seconds is None else _seconds(seconds)
    columns = [*choices, COMMENT, SECONDS]
    return pd.DataFrame.from_dict(by_number, orient="index", columns=columns, dtype=object).reindex(part["number"])


def _numbered(entry: Entry, known: dict[int, dict], part: pd.DataFrame, key: pd.DataFrame) -> int:
    """The number of a row's image. Raises SheetError where the reader sees no such image, and for one that comes
    twice."""
    number = _whole(entry.value)
    if number not in set(part["number"]):
        why = "is an image that this reader does not see" if number in set(key["number"]) else "is no image"
        shown = "" if entry.value is None else entry.value
        raise SheetError(f"{entry.where}: {shown!r} {why} of this study (1 to {len(key)})")
    if number in known:
        raise SheetError(f"{entry.where}: image {number} comes twice; keep one of its rows")
    return number


def _one_of(entry: Entry, choices: dict[str, object]) -> object | None:
    if entry.is_empty:
        return None
    grade = _whole(entry.value)
    answer = str(entry.value if grade is None else grade).strip().lower()
    if answer not in choices:
        hint = did_you_mean(answer, choices) if table_files.number(answer) is None else ""  # 2,5 is not nearly 5
        raise SheetError(f"{entry.where}: expected one of {', '.join(choices)}, not {entry.value!r}{hint}")
    return choices[answer]


def _seconds(entry: Entry) -> float:
    if entry.is_empty:
        return np.nan
    seconds = table_files.number(str(entry.value))
    if seconds is None or seconds < 0:
        raise SheetError(f"{entry.where}: {entry.value!r} is no time; expected seconds from 0, or nothing")
    return seconds


def _whole(value: object) -> int | None:
    """3, 3.0, "3" and "3,0" as 3; anything else None."""
    number = table_files.number(str(value))
    return None if number is None or not number.is_integer() else int(number)
