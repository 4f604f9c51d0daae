"""Which files of a folder are filled sheets, so that no reader's answers are passed over in silence."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

TEXTS = (".csv", ".tsv", ".txt")  # in which spreadsheets save a sheet's cells
READABLE = (".xlsx", ".xlsm", *TEXTS)
NOTES = (".txt", ".md")  # may lie beside the sheets
HEADER = re.compile(r'^"?No\.[^\n]*Diagnosis', re.MULTILINE)  # of the sheet's columns, by which text is told from notes
KEY_FILE = "key.csv"


class SheetError(Exception):
    """A sheet or key that cannot be read; the message names file, sheet, cell, value and what was expected."""


def filled(folder: Path) -> list[Path]:
    """The filled sheets (.xlsx, .xlsm, .csv, .tsv, and .txt that begins as a sheet does) of a folder, by file name.

    Hidden files, other notes (.txt, .md) and the lock files of open sheets (~$ of Excel, .~lock of LibreOffice) are
    none. Raises SheetError for a folder that is none or holds no sheet, and for what may be a reader's answers that
    would not be read: a file in another format or not wholly downloaded, and a sheet in a subfolder.
    """
    if not folder.is_dir():
        raise SheetError(f"{folder}: is no folder; give the folder that holds the filled sheets (*.xlsx, *.csv)")
    sheets = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "~$")) or path.name.lower() == KEY_FILE or _is_note(path):
            continue
        if _is_sheet(path):
            sheets.append(path)
        elif not path.is_dir():
            raise SheetError(
                f"{path}: may hold a reader's answers and is no .xlsx or .csv; save it as .xlsx, or move it away"
            )
        elif inside := next((file for file in sorted(path.rglob("*")) if _is_sheet(file)), None):
            raise SheetError(f"{inside}: lies in a subfolder, where no sheet is read; move it to {folder}, or away")
    if not sheets:
        raise SheetError(f"{folder}: there is no filled sheet (*.xlsx, *.csv) here")
    return sheets


def _is_note(path: Path) -> bool:
    if path.suffix.lower() not in NOTES or not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(4096)
    text = start.decode("utf-16" if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig", "ignore")
    return not HEADER.search(text)


def _is_sheet(path: Path) -> bool:
    return path.suffix.lower() in READABLE and not path.name.startswith((".", "~$")) and not _is_note(path)
