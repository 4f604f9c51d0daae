"""The sheet that readers fill (xlsx), written: instructions, one line per image, answers to choose from."""

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pandas as pd
from openpyxl import Workbook, load_workbook
from openpyxl.drawing.image import Image as Picture
from openpyxl.formatting.rule import FormulaRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from p2d_lib.readings import SOURCES
from p2d_lib.vocabulary import DX_NAMES

GRADES = ("1", "2", "3", "4", "5")

COLUMNS = {  # header: width in characters, answers to choose from
    "No.": (6, None),
    "Picture": (18, None),
    "File": (10, None),
    "Real or synthetic?": (16, SOURCES),
    "Diagnosis": (24, tuple(DX_NAMES.values())),
    "Confidence (1–5)": (13, GRADES),
    "Image quality (1–5)": (13, GRADES),
    "Comment": (44, None),
}
HEADERS = tuple(COLUMNS)
SOURCE, DIAGNOSIS, CONFIDENCE, QUALITY, COMMENT = HEADERS[3:]
NAME_CELL, STUDY_CELL = "B3", "B4"
PICTURE = 110  # px on screen
EMBEDDED = 256  # px at most; the file in images/ has all of them
INK, PAPER, EMPTY = "1F3A4D", "F3F6F8", "FFF8E1"
DATE = (2000, 1, 1, 0, 0, 0)


def write(path: Path, key: pd.DataFrame, pictures: Sequence[np.ndarray] | None = None) -> None:
    """The blank sheet: from the key it takes number, file and study. Without pictures it only names the files."""
    path.write_bytes(_bytes(_workbook(key, pictures)))


def fill(blank: Path, filled: Path, reader: str, answers: pd.DataFrame) -> None:
    """Writes answers into a sheet, as a reader would.

    answers: number, source (real | synthetic), dx (key of DX_NAMES), confidence, quality (1..5), comment; NaN or ""
    leaves the cell empty.
    """
    book = load_workbook(blank)
    book["Instructions"][NAME_CELL] = reader
    rows = {row[0].value: row for row in book["Readings"].iter_rows(min_row=2)}
    for answer in answers.itertuples():
        cells = (answer.source, DX_NAMES.get(answer.dx), answer.confidence, answer.quality, answer.comment)
        for cell, value in zip(rows[answer.number][3:], cells, strict=True):
            cell.value = None if pd.isna(value) or value == "" else value
    filled.write_bytes(_bytes(book))


def _workbook(key: pd.DataFrame, pictures: Sequence[np.ndarray] | None) -> Workbook:
    book = Workbook()
    book.properties.creator = "prompt2derm"
    _instructions(book.active, len(key), key["study"].iloc[0])
    sheet = book.create_sheet("Readings")
    thin = Side(style="thin", color="D5DCE1")
    for column, (header, (width, choices)) in enumerate(COLUMNS.items(), 1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = width
        cell = sheet.cell(1, column, header)
        cell.font, cell.fill = _font(bold=True, color="FFFFFF"), PatternFill("solid", fgColor=INK)
        cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
        if choices:
            _offer(sheet, f"{letter}2:{letter}{len(key) + 1}", header, choices)
    sheet.row_dimensions[1].height = 34
    sheet.freeze_panes = "D2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(HEADERS))}{len(key) + 1}"
    for row, (number, file) in enumerate(zip(key["number"], key["file"], strict=True), 2):
        sheet.row_dimensions[row].height = 88 if pictures is not None else 20
        for column, value in enumerate((number, None, file, *[None] * 5), 1):
            cell = sheet.cell(row, column, value)
            cell.border = Border(bottom=thin)
            cell.alignment = Alignment(
                horizontal="left" if column == len(HEADERS) else "center", vertical="center", wrap_text=True
            )
        sheet.cell(row, 3).hyperlink = f"images/{file}"
        sheet.cell(row, 3).font = _font(color="0563C1", underline="single")
        if pictures is not None:
            sheet.add_image(_picture(pictures[row - 2]), f"B{row}")
    sheet.print_title_rows = "1:1"
    for page in book:
        page.page_setup.orientation, page.page_setup.fitToHeight = "landscape", 0
        page.sheet_properties.pageSetUpPr.fitToPage = True
    return book


def _offer(sheet: Worksheet, cells: str, header: str, choices: tuple[str, ...]) -> None:
    rule = DataValidation("list", formula1=f'"{",".join(choices)}"', allow_blank=True, showErrorMessage=True)
    rule.errorTitle, rule.error = header, f"Please choose: {', '.join(choices)}"[:250]
    sheet.add_data_validation(rule)
    rule.add(cells)
    first = cells.split(":")[0]
    sheet.conditional_formatting.add(
        cells, FormulaRule([f"LEN({first})=0"], fill=PatternFill("solid", bgColor=EMPTY, fgColor=EMPTY))
    )


def _instructions(sheet: Worksheet, n: int, study: str) -> None:
    sheet.title = "Instructions"
    sheet.sheet_view.showGridLines = False
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 22, 88
    answered = f'SUMPRODUCT((Readings!D2:D{n + 1}<>"")*(Readings!E2:E{n + 1}<>""))'
    rows = (
        ("Reader study", f"{n} dermoscopic images in random order: about half are photographs, the others synthetic."),
        ("", ""),
        ("Your name", None),
        ("Study", study),
        ("Answered so far", f'={answered}&" of {n}"'),
        ("", ""),
        ("How to read", "Go to the sheet “Readings”. Cells still to be filled are yellow. One line is one image; its "
         "picture is small, the file in the folder images/ has its full size. Please read alone."),
        (SOURCE, "Photograph of a patient's skin (real), or made by a computer (synthetic)?"),
        (DIAGNOSIS, "The most likely of seven: " + "; ".join(f"{name} ({dx})" for dx, name in DX_NAMES.items()) + "."),
        (CONFIDENCE, "How sure are you of real or synthetic? 1 = a guess, 5 = certain."),
        (QUALITY, "How good is the image for a diagnosis? 1 = useless, 5 = excellent."),
        (COMMENT, "Free text, e.g. what gave an image away. May stay empty."),
        ("Left out", "An image without an answer is not counted; you may save, stop and continue at any time."),
        ("", ""),
        ("", "For research only; not for clinical use."),
    )  # fmt: skip
    for row, (label, text) in enumerate(rows, 1):
        left, right = sheet.cell(row, 1, label), sheet.cell(row, 2, text)
        left.font = _font(bold=True, color=INK)
        left.alignment = right.alignment = Alignment(vertical="top", horizontal="left", wrap_text=True)
        sheet.row_dimensions[row].height = 16 * (1 + len(text or "") // 92)
    sheet["A1"].font, sheet.row_dimensions[1].height = _font(bold=True, size=16, color=INK), 24
    sheet[NAME_CELL].fill = PatternFill("solid", fgColor=EMPTY)
    sheet[NAME_CELL].border = Border(bottom=Side(style="medium", color=INK))
    sheet[STUDY_CELL].fill = PatternFill("solid", fgColor=PAPER)


def _font(**style) -> Font:
    return Font(**{"name": "Calibri", "size": 11, **style})


def _picture(pixels: np.ndarray) -> Picture:
    image, buffer = Image.fromarray(pixels), BytesIO()
    image.thumbnail((EMBEDDED, EMBEDDED), Image.Resampling.LANCZOS)
    image.save(buffer, format="PNG")
    picture = Picture(buffer)
    picture.width = picture.height = PICTURE
    return picture


def _bytes(book: Workbook) -> bytes:
    """The workbook as a file without a clock in it: openpyxl dates the archive's entries and its properties."""
    dated, fixed = BytesIO(), BytesIO()
    book.save(dated)
    with ZipFile(dated) as source, ZipFile(fixed, "w", ZIP_DEFLATED) as target:
        for entry in source.namelist():
            content = source.read(entry)
            if entry == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z?", b"2000-01-01T00:00:00Z", content)
            target.writestr(ZipInfo(entry, DATE), content, ZIP_DEFLATED)
    return fixed.getvalue()
