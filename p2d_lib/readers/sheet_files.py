"""Which files of a folder are filled sheets, so that no reader's answers are passed over in silence."""

from pathlib import Path

READABLE = (".xlsx", ".xlsm", ".csv")
NOTES = (".txt", ".md")  # may lie beside the sheets
KEY_FILE = "key.csv"


class SheetError(Exception):
    """A sheet or key that cannot be read; the message names file, sheet, cell, value and what was expected."""


def filled(folder: Path) -> list[Path]:
    """The filled sheets (.xlsx, .xlsm, .csv in any letters) of a folder, by file name.

    Hidden files, notes (.txt, .md) and the lock files of open sheets (~$ of Excel, .~lock of LibreOffice) are none.
    Raises SheetError for a folder that is none or holds no sheet, and for what may be a reader's answers that would not
    be read: a file in another format or not wholly downloaded, and a sheet in a subfolder.
    """
    if not folder.is_dir():
        raise SheetError(f"{folder}: is no folder; give the folder that holds the filled sheets (*.xlsx, *.csv)")
    sheets = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "~$")) or path.name.lower() == KEY_FILE or path.suffix.lower() in NOTES:
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


def _is_sheet(path: Path) -> bool:
    return path.suffix.lower() in READABLE and not path.name.startswith((".", "~$"))
