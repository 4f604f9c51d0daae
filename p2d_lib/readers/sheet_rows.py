"""The cells of a filled sheet (.xlsx), and of answers as CSV: from the form, or a sheet that was saved as CSV."""

from pathlib import Path
from typing import NamedTuple

from p2d_lib import table_files
from p2d_lib.readers.sheet import (
    FILE,
    HEADERS,
    NAME_CELL,
    NUMBER,
    PICTURE_COLUMN,
    REALISM,
    REALISM_HEADERS,
    STUDY,
    STUDY_CELL,
)
from p2d_lib.readers.sheet_files import TEXTS, SheetError
from p2d_lib.workbooks import WorkbookError, values

READER, SECONDS = "Reader", "Seconds"  # further columns of the form's file


class Entry(NamedTuple):
    """A value, and where it stands: the file and the cell, or the line and the column."""

    value: object
    where: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there, or one of the markers of a missing value (NA, -, #N/A)."""
        return self.value is None or str(self.value).strip().lower() in table_files.MISSING


class Answers(NamedTuple):
    """The name of the reader, the study's code, and the cells of each image: {header: Entry}."""

    reader: Entry
    study: Entry
    rows: list[dict[str, Entry]]

    @property
    def has_realism(self) -> bool:
        """Whether the sheet asks how real an image looks, in place of "real or synthetic?"."""
        return bool(self.rows) and REALISM in self.rows[0]


def read(path: Path) -> Answers:
    """Raises SheetError for a file that is no sheet, and one without its columns."""
    if not path.exists():
        raise SheetError(f"{path}: no such sheet; give a filled one (.xlsx or .csv)")
    return _of_csv(path) if path.suffix.lower() in TEXTS else _of_workbook(path)


def _of_workbook(path: Path) -> Answers:
    try:
        book = values(path)
    except WorkbookError as error:
        raise SheetError(str(error)) from None
    sheets = {}
    for name in ("Instructions", "Readings"):
        named = [title for title in book.sheetnames if title.partition(" - ")[0] == name]  # Numbers adds " - Table 1"
        if not named:
            raise SheetError(f"{path.name}: sheet {name!r} is missing; it holds {', '.join(book.sheetnames)}")
        sheets[name] = book[named[0]]
    headers = REALISM_HEADERS if sheets["Readings"]["D1"].value == REALISM else HEADERS
    rows = []
    for line, cells in enumerate(sheets["Readings"].iter_rows(max_col=len(headers)), 1):
        entries = [Entry(cell.value, f"{path.name}, sheet Readings, cell {cell.coordinate}") for cell in cells]
        if line > 1:
            rows.append(dict(zip(headers, entries, strict=False)))
        for entry, header in zip(entries, headers, strict=False) if line == 1 else ():
            if str(entry.value).strip() != header:
                raise SheetError(f"{entry.where}: header {entry.value!r}; expected {header!r}")
    at = {cell: f"{path.name}, sheet Instructions, cell {cell}" for cell in (NAME_CELL, STUDY_CELL)}
    reader, study = (Entry(sheets["Instructions"][cell].value, where) for cell, where in at.items())
    return Answers(reader, study, rows)


def _of_csv(path: Path) -> Answers:
    try:
        table = table_files.read(path)
    except table_files.TableError as error:
        raise SheetError(str(error)) from None
    headers = REALISM_HEADERS if REALISM in table.columns else HEADERS
    for header in headers:
        if header not in table.columns and header not in (PICTURE_COLUMN, FILE):
            raise SheetError(f"{path}: column {header!r} is missing; expected {', '.join(headers)}")
    rows = [
        {name: Entry(value or None, f"{path.name}, line {line}, column {name}") for name, value in row.items()}
        for line, row in zip(table.index, table.to_dict("records"), strict=True)
    ]
    filled = [row for row in rows if not row[NUMBER].is_empty]
    reader = _the_only(path, filled, READER) if READER in table.columns else Entry(None, path.name)
    return Answers(reader, _the_only(path, filled, STUDY), rows)


def _the_only(path: Path, rows: list[dict[str, Entry]], header: str) -> Entry:
    entries = {entry.value: entry for entry in (row[header] for row in rows) if not entry.is_empty}
    if len(entries) > 1:
        first, second = list(entries.values())[:2]
        raise SheetError(f"{second.where}: {second.value!r} after {first.value!r}; a file holds one reader's answers")
    return next(iter(entries.values()), Entry(None, f"{path.name}, column {header}"))
