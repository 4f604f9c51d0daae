"""Which files of a folder are filled sheets, so that no reader's answers are passed over in silence."""

from pathlib import Path

READABLE = (".xlsx", ".xlsm")
OTHER_SHEETS = (
    ".xls",
    ".xlsb",
    ".ods",
    ".fods",
    ".csv",
    ".tsv",
    ".tab",
    ".numbers",
    ".gsheet",
    ".zip",
    ".xltx",
    ".html",
)
PARTIAL = (".crdownload", ".part", ".download", ".tmp", ".icloud")
KEY_FILE = "key.csv"


class SheetError(Exception):
    """A sheet or key that cannot be read; the message names file, sheet, cell, value and what was expected."""


def filled(folder: Path) -> list[Path]:
    """The filled sheets (.xlsx, .xlsm in any letters) of a folder, by file name.

    Hidden files and the lock files of open sheets (~$ of Excel, .~lock of LibreOffice) are none. Raises SheetError for
    a folder that is none or holds no sheet, and for what may be a sheet that would not be read: one in another format,
    not wholly downloaded, or in a subfolder.
    """
    if not folder.is_dir():
        raise SheetError(f"{folder}: is no folder; give the folder that holds the filled sheets (*.xlsx)")
    sheets = []
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith((".", "~$")) or path.name.lower() == KEY_FILE:
            continue
        if path.is_dir() and (inside := next((p for p in sorted(path.rglob("*")) if _is_sheet(p)), None)):
            raise SheetError(f"{inside}: lies in a subfolder, where no sheet is read; move it to {folder}, or away")
        if suffix in (*OTHER_SHEETS, *PARTIAL):
            raise SheetError(f"{path}: may hold a reader's answers and is no .xlsx; save it as .xlsx, or move it away")
        if path.is_file() and _is_sheet(path):
            sheets.append(path)
    if not sheets:
        raise SheetError(f"{folder}: there is no filled sheet (*.xlsx) here")
    return sheets


def _is_sheet(path: Path) -> bool:
    return path.suffix.lower() in READABLE and not path.name.startswith((".", "~$"))
