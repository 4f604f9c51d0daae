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
REALISM_GRADES = (*GRADES, "6", "7")

NUMBER, PICTURE_COLUMN, FILE = "No.", "Picture", "File"
SOURCE, CONFIDENCE, REALISM = "Real or synthetic?", "Confidence (1–5)", "Realism (1–7)"
DIAGNOSIS, QUALITY, COMMENT, STUDY = "Diagnosis", "Image quality (1–5)", "Comment", "Study"
WIDTHS = {  # characters
    NUMBER: 6, PICTURE_COLUMN: 18, FILE: 10, SOURCE: 16, REALISM: 13, DIAGNOSIS: 24, CONFIDENCE: 13, QUALITY: 13,
    COMMENT: 44, STUDY: 13,
}  # fmt: skip
CHOICES = {  # answers to choose from
    SOURCE: SOURCES,
    REALISM: REALISM_GRADES,
    DIAGNOSIS: tuple(DX_NAMES.values()),
    CONFIDENCE: GRADES,
    QUALITY: GRADES,
}
HEADERS = (NUMBER, PICTURE_COLUMN, FILE, SOURCE, DIAGNOSIS, CONFIDENCE, QUALITY, COMMENT, STUDY)
REALISM_HEADERS = (NUMBER, PICTURE_COLUMN, FILE, REALISM, DIAGNOSIS, QUALITY, COMMENT, STUDY)
EXPLAINED = {  # what each column asks
    SOURCE: "Photograph of a patient's skin (real), or made by a computer (synthetic)?",
    REALISM: "How real does the image look? 1 = certainly made by a computer, 7 = certainly a photograph of skin.",
    DIAGNOSIS: "The most likely of seven: " + "; ".join(f"{name} ({dx})" for dx, name in DX_NAMES.items()) + ".",
    CONFIDENCE: "How sure are you of real or synthetic? 1 = a guess, 5 = certain.",
    QUALITY: "How good is the image for a diagnosis? 1 = useless, 5 = excellent.",
    COMMENT: "Free text, e.g. what gave an image away. May stay empty.",
}
NAME_CELL, STUDY_CELL = "B3", "B4"
PICTURE = 110  # px on screen
EMBEDDED = 256  # px at most; the file in images/ has all of them
INK, PAPER, EMPTY = "1F3A4D", "F3F6F8", "FFF8E1"
DATE = (2000, 1, 1, 0, 0, 0)


def write(
    path: Path,
    key: pd.DataFrame,
    pictures: Sequence[np.ndarray] | None = None,
    code: str = "",
    realism_scale: bool = False,
) -> None:
    """The blank sheet of one reader: rows in the key's order, of which it takes number and file.

    pictures: in the same order; without them the sheet only names the files. code: `roster.code` of the reader, ""
    takes the study's identifier alone. realism_scale: see `study.build`.
    """
    headers = REALISM_HEADERS if realism_scale else HEADERS
    path.write_bytes(_bytes(_workbook(key, pictures, code or key["study"].iloc[0], headers)))


def fill(blank: Path, filled: Path, reader: str, answers: pd.DataFrame) -> None:
    """Writes answers into a sheet, as a reader would; those on images that are not in it are left aside.

    answers: number, source (real | synthetic), dx (key of DX_NAMES), confidence, quality (1..5), comment, and realism
    (1..7) for a sheet that asks for it; NaN or "" leaves the cell empty.
    """
    book = load_workbook(blank)
    book["Instructions"][NAME_CELL] = reader
    rows = list(book["Readings"].iter_rows())
    headers, by_number = [cell.value for cell in rows[0]], answers.set_index("number")
    for row in rows[1:]:
        if row[0].value not in by_number.index:
            continue
        answer = by_number.loc[row[0].value]
        values = {SOURCE: answer["source"], DIAGNOSIS: DX_NAMES.get(answer["dx"]), REALISM: answer.get("realism"),
                  CONFIDENCE: answer["confidence"], QUALITY: answer["quality"], COMMENT: answer["comment"]}  # fmt: skip
        for header, cell in zip(headers, row, strict=True):
            if header in values and not (pd.isna(values[header]) or values[header] == ""):
                cell.value = values[header]
    filled.write_bytes(_bytes(book))


def _workbook(
    key: pd.DataFrame, pictures: Sequence[np.ndarray] | None, code: str, headers: tuple[str, ...]
) -> Workbook:
    book = Workbook()
    book.properties.creator = "prompt2derm"
    _instructions(book.active, len(key), code, headers)
    sheet = book.create_sheet("Readings")
    thin = Side(style="thin", color="D5DCE1")
    for column, header in enumerate(headers, 1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = WIDTHS[header]
        cell = sheet.cell(1, column, header)
        cell.font, cell.fill = _font(bold=True, color="FFFFFF"), PatternFill("solid", fgColor=INK)
        cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
        if header in CHOICES:
            _offer(sheet, f"{letter}2:{letter}{len(key) + 1}", header, CHOICES[header])
    sheet.row_dimensions[1].height = 34
    sheet.freeze_panes = "D2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(headers))}{len(key) + 1}"
    for row, (number, file) in enumerate(zip(key["number"], key["file"], strict=True), 2):
        sheet.row_dimensions[row].height = 88 if pictures is not None else 20
        for column, value in enumerate((number, None, file, *[None] * (len(headers) - 4), code), 1):
            cell = sheet.cell(row, column, value)
            cell.border = Border(bottom=thin)
            cell.alignment = Alignment(
                horizontal="left" if headers[column - 1] == COMMENT else "center", vertical="center", wrap_text=True
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


def _instructions(sheet: Worksheet, n: int, code: str, headers: tuple[str, ...]) -> None:
    sheet.title = "Instructions"
    sheet.sheet_view.showGridLines = False
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 22, 88
    answered = f'SUMPRODUCT((Readings!D2:D{n + 1}<>"")*(Readings!E2:E{n + 1}<>""))'
    rows = (
        ("Reader study", f"{n} dermoscopic images in random order: about half are photographs, the others synthetic."),
        ("", ""),
        ("Your name", None),
        ("Study", code),
        ("Answered so far", f'={answered}&" of {n}"'),
        ("", ""),
        ("How to read", "Go to the sheet “Readings”. Cells still to be filled are yellow. One line is one image; its "
         "picture is small, the file in the folder images/ has its full size. Please read alone."),
        *((header, EXPLAINED[header]) for header in headers if header in EXPLAINED),
        ("Left out", "An image without an answer is not counted; you may save, stop and continue at any time."),
        ("", ""),
        ("", "For research only. Many images are synthetic: not for clinical use."),
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
