"""Excel files that people bring: the values of their cells, whatever program has saved them.

Programs other than Excel write styles, filters and drawings that openpyxl cannot read, and Excel itself has a second
dialect ("Strict Open XML"). Values need none of that: styles and drawings are left aside, and the strict names of
ISO/IEC 29500-1 are replaced by the usual ones of ISO/IEC 29500-4.
"""

import re
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from openpyxl import Workbook, load_workbook

MAX_BYTES = 300_000_000  # of the parts that are read, unpacked: more is no table, or a zip bomb
UNREAD = re.compile(r"xl/(styles\.xml|media/|drawings/|charts/|theme/|printerSettings/)|docProps/", re.IGNORECASE)
STRICT = (  # names of the strict dialect, and the usual ones
    (b"http://purl.oclc.org/ooxml/officeDocument/", b"http://schemas.openxmlformats.org/officeDocument/2006/"),
    (b"http://purl.oclc.org/ooxml/spreadsheetml/main", b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"),
    (b"http://purl.oclc.org/ooxml/drawingml/", b"http://schemas.openxmlformats.org/drawingml/2006/"),
)


BEHIND_CELLS = re.compile(rb"(</(?:\w+:)?sheetData>).*(</(?:\w+:)?worksheet>)", re.DOTALL)  # filters, rules, links
DIMENSION = re.compile(rb"<(?:\w+:)?dimension\b[^>]*>")  # of the cells; some programs write a wrong one
UNSAVED = re.compile(  # a formula without its value, in a cell whose value is no text, since "" is a text's value
    rb'<((?:\w+:)?)c\b(?![^>]*\bt="str")(?=(?:[^>]*?(\br="\w+"))?)[^>]*>\s*<\1f\b(?:[^>]*/>|[^>]*>[^<]*</\1f>)\s*'
    rb"(?:<\1v\s*/>|<\1v>\s*</\1v>)?\s*</\1c>"
)
AS_ERROR = rb'<\1c \2 t="e"><\1v>#UNSAVED!</\1v></\1c>'  # as Excel shows what it cannot compute
NAMES = re.compile(rb"<(?:\w+:)?definedNames>.*</(?:\w+:)?definedNames>", re.DOTALL)


class WorkbookError(Exception):
    """A file that is no readable .xlsx; the message names it."""


def values(path: Path) -> Workbook:
    """The sheets of an .xlsx or .xlsm with the values of their cells; of formulas the value that was saved with them,
    or #UNSAVED! where there is none.

    Without styles a date is the number that Excel keeps for it. Raises WorkbookError.
    """
    if not is_zipfile(path):
        raise WorkbookError(f"{path}: not a readable xlsx file; save it as Excel workbook (.xlsx), without a password")
    try:
        source = load_workbook(_plain(path), read_only=True, data_only=True)
        book = Workbook()
        book.remove(book.active)
        for sheet in source.worksheets:
            copied = book.create_sheet(sheet.title)
            copied.sheet_state = sheet.sheet_state
            for row in sheet.iter_rows(values_only=True):
                copied.append(row)
    except Exception as error:  # openpyxl raises what it meets: KeyError, ValueError, IndexError, ParseError
        reason = str(error).partition("\n")[0]
        raise WorkbookError(
            f"{path}: not a readable xlsx file ({reason}); open it in Excel or LibreOffice and save it as .xlsx"
        ) from None
    if not book.worksheets:
        raise WorkbookError(f"{path}: not a readable xlsx file (it holds no sheet); save it as Excel workbook (.xlsx)")
    return book


def _plain(path: Path) -> BytesIO:
    """The file without what is not read, in the usual dialect."""
    plain = BytesIO()
    with ZipFile(path) as source, ZipFile(plain, "w") as target:
        entries = [entry for entry in source.infolist() if not UNREAD.match(entry.filename)]
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise ValueError(f"its sheets unpack to more than {MAX_BYTES / 1e6:.0f} MB")
        for entry in entries:
            content = source.read(entry)
            for strict, usual in STRICT:
                content = content.replace(strict, usual)
            if entry.filename.startswith("xl/worksheets/"):
                content = UNSAVED.sub(AS_ERROR, content)
            content = NAMES.sub(b"", DIMENSION.sub(b"", BEHIND_CELLS.sub(rb"\1\2", content)))
            target.writestr(entry.filename, content)
    plain.seek(0)
    return plain
