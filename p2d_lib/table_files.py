"""One reader for every table that people bring: CSV in the ways in which R, Excel and pandas write it, and .xlsx.

Cells stay text until a caller asks for a number or a truth value, so that nothing is guessed. Every row keeps the line
of the file in which it begins, for messages that can be looked up.
"""

import codecs
import csv
import math
import re
from collections.abc import Collection
from io import StringIO
from pathlib import Path

import pandas as pd

from p2d_lib.files import lines

SEPARATORS = ",;\t|"
MISSING = {  # what R, Excel, pandas, databases and people write where they know nothing; in lower case
    *("", "na", "n/a", "n.a.", "<na>", "nan", "nat", "null", "(null)", "\\n", "none", "nil", "missing"),
    *("#n/a", "#nv", "#null!", "?", "-", "--", "–", "—", "."),
}
TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0", "wahr", "ja", "vrai", "oui", "verdadero", "sí", "si", "vero"))
FALSE = frozenset(("false", "f", "no", "n", "0", "0.0", "falsch", "nein", "faux", "non", "falso"))
FAILED = re.compile(r"#\w+[!/?].*")  # what Excel shows of a formula that fails: #REF!, #DIV/0!, #NAME?
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)  # 1,000: one, or a thousand?
FOREIGN = {  # how files of other kinds begin
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls)",
    b"\x1f\x8b": "packed by gzip",
    b"%PDF": "a PDF",
    b"PAR1": "a Parquet file",
    b"ARROW1": "a Feather file",
    b"FEA1": "a Feather file",
    b"$FL2": "an SPSS file",
    b"{\\rtf": "a text with formats (.rtf)",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"7z\xbc\xaf": "packed by 7-Zip",
    b"SQLite format 3": "a database",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull fetches the file)",
    b"<<<<<<<": "an unfinished merge of git",
    b"<": "a web page or XML",
    b"{": "JSON",
}
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad\u200e\u200f"))  # no name differs by these
EXCELS_FIRST_LINE = re.compile(r'"?sep=(.)"?(\r\n|\r|\n)', re.IGNORECASE)
Row = tuple[int, list[str]]  # the line in which it begins, its cells
ZIP = b"PK\x03\x04"  # of an .xlsx too


class TableError(Exception):
    """A file that is no table, or one that could be read in two ways; the message names file, line and what to do."""


def read(path: str | Path, separator: str = "", columns: Collection[str] = ()) -> pd.DataFrame:
    """The cells of a table as stripped text; the index, "line", is where each row begins in the file (from 1).

    Read are .xlsx and text in UTF-8 or UTF-16. separator: of its cells; "" takes the sign of SEPARATORS that is most
    frequent in the header. A separator of several signs parts lines without quotes, and lines that lack it are no rows.
    columns: those that the table must have, by which it is found among several sheets of a workbook; whether a table
    that stands alone has them is for the caller to say. Blank rows are left out, rows that are cut short are filled
    with "". Raises TableError for any other file, another encoding, quotes that do not close, rows longer than the
    header, a column that comes twice, where there are no rows, and for a workbook in which no sheet, or more than one,
    has the columns.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); put the file there") from None
    if data.startswith(ZIP):
        rows = _workbook_rows(path, columns)
    else:
        text = _decoded(path, data)
        rows = _split(text, separator) if len(separator) > 1 else _csv_rows(path, text, separator)
    rows = _cleaned(rows)
    if not rows:
        raise TableError(f"{path}: there are no rows; a table begins with a line of column names")
    header = rows[0][1]
    while header and not header[-1]:
        header.pop()
    if twice := [name for at, name in enumerate(header) if name and name in header[:at]]:
        raise TableError(f"{path}: column {twice[0]!r} comes twice; remove or rename one of them")
    cells = [_fitted(path, line, row, header) for line, row in rows[1:]]
    if not cells:
        raise TableError(f"{path}: there are no rows below its line of column names")
    return pd.DataFrame(cells, pd.Index([line for line, _ in rows[1:]], name="line"), header, dtype="str")


def missing(cells: pd.Series) -> pd.Series:
    """Which cells say, in one of the usual ways, that nothing is known."""
    return cells.str.strip().str.lower().isin(MISSING)


def number(text: str) -> float | None:
    """The number that a text writes, with a decimal point or comma; None for no number, for 1,000, which may be one or
    a thousand, and for 1e999, which is too large to be kept."""
    text = text.strip()
    if not NUMBER.fullmatch(text) or THOUSANDS.fullmatch(text):
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None


def truth(text: str) -> bool | None:
    """What a word for true or false means, as R, Excel (English, German, French, Spanish, Italian) and people write it;
    None for any other text."""
    word = text.strip().lower()
    return True if word in TRUE else False if word in FALSE else None


def _cleaned(rows: list[Row]) -> list[Row]:
    """Rows that hold something, with stripped cells."""
    rows = [(line, [cell.translate(INVISIBLE).strip() for cell in cells]) for line, cells in rows]
    return [(line, cells) for line, cells in rows if any(cells)]


def _decoded(path: Path, data: bytes) -> str:
    if kind := next((kind for start, kind in FOREIGN.items() if data.lstrip().startswith(start)), None):
        raise TableError(f"{path}: is {kind}, not a table; save it as CSV UTF-8 or .xlsx")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TableError(
            f"{path}, line {line}: a letter that is not in {encoding.removesuffix('-sig').upper()} (byte "
            f"{data[error.start]:#04x}): the file is cut short, or in another encoding, such as that of Windows; save "
            "it as CSV UTF-8"
        ) from None
    if "\0" in text:
        raise TableError(f"{path}: is no text (it holds zero bytes); save it as CSV UTF-8 or .xlsx")
    return text


def _split(text: str, separator: str) -> list[Row]:
    return [(line, content.split(separator)) for line, content in enumerate(lines(text), 1) if separator in content]


def _csv_rows(path: Path, text: str, separator: str) -> list[Row]:
    """(line in which it begins, cells) of each row. Excel's first line sep=; says the separator and is no row."""
    skipped = EXCELS_FIRST_LINE.match(text)
    if skipped:
        separator, text = separator or skipped[1], text[skipped.end() :]
    header = next((line for line in lines(text) if line.strip()), "")
    names = re.sub(r'"[^"]*"', "", header)
    separator = separator or max(SEPARATORS, key=names.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, first = [], 2 if skipped else 1
    line = first
    try:
        for cells in reader:
            rows.append((line, cells))
            line = first + reader.line_num
    except csv.Error as error:
        raise TableError(f"{path}: the row that begins in line {line} is no row of a table ({error})") from None
    return rows


def _workbook_rows(path: Path, columns: Collection[str]) -> list[Row]:
    """The rows of a workbook's only sheet, or of the one among several whose header has these columns."""
    from p2d_lib.workbooks import WorkbookError, values  # openpyxl takes a while to import

    try:
        book = values(path)
    except WorkbookError as error:
        raise TableError(str(error)) from None
    sheets = {
        sheet.title: [(line, [_as_text(value) for value in row]) for line, row in enumerate(sheet.values, 1)]
        for sheet in book.worksheets
    }
    headers = {title: rows[0][1] for title, cells in sheets.items() if (rows := _cleaned(cells))}
    if len(headers) < 2 or not columns:
        return sheets[next(iter(headers), book.sheetnames[0])]
    fitting = [title for title, header in headers.items() if set(columns) <= set(header)]
    if len(fitting) == 1:
        return sheets[fitting[0]]
    named = {title: f"{title!r}{'' if book[title].sheet_state == 'visible' else ' (hidden)'}" for title in headers}
    needed = f"the column{'s' * (len(columns) > 1)} {', '.join(columns)}"
    if fitting:
        raise TableError(
            f"{path}: the sheets {' and '.join(map(named.get, fitting))} all have {needed}, and one table is read: "
            "save the sheet that is meant as a file of its own, or delete the others"
        )
    begins = "; ".join(f"{named[title]} with {', '.join(filter(None, headers[title]))[:200]}" for title in headers)
    raise TableError(
        f"{path}: no sheet begins with a row that has {needed}; they begin: {begins}. Give the columns these names, in "
        "the first row of one sheet"
    )


def _as_text(value: object) -> str:
    """A cell as CSV would have it: 3 and not 3.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _fitted(path: Path, line: int, cells: list[str], header: list[str]) -> list[str]:
    width = len(header)
    if any(cells[width:]):
        advice = "put cells that hold the separator in quotes (R: write.csv with row.names = FALSE)"
        if width == 1:  # a title or a comment
            advice = f"remove what stands above the column names ({header[0][:40]!r})"
        raise TableError(f"{path}, line {line}: {len(cells)} cells, and the line of column names has {width}; {advice}")
    return [*cells[:width], *[""] * (width - len(cells))]
