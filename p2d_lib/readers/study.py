"""The blinded reader study: which images, the sheet that readers fill, the key that stays at home, the way back.

Half of the images are photographs of the test split, half were made from prompts; readers say of each which it is, and
its diagnosis. Nothing a reader receives tells the halves apart: neutral numbers in a shuffled order, equal counts per
class and source, pictures written by one encoder, no dates, no metadata.
"""

import difflib
import os
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import pandas as pd
from openpyxl import Workbook, load_workbook
from openpyxl.cell import Cell
from openpyxl.drawing.image import Image as Picture
from openpyxl.formatting.rule import FormulaRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from p2d_lib import images
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, DX_NAMES

SOURCES = ("real", "synthetic")
GRADES = ("1", "2", "3", "4", "5")
KEY = ("number", "file", "source", "dx", "image_id", "path", "study")

_COLUMNS = {  # header: width in characters, answers offered
    "No.": (6, None),
    "Picture": (18, None),
    "File": (10, None),
    "Real or synthetic?": (16, SOURCES),
    "Diagnosis": (24, tuple(DX_NAMES.values())),
    "Confidence (1–5)": (13, GRADES),
    "Image quality (1–5)": (13, GRADES),
    "Comment": (44, None),
}
_HEADERS = tuple(_COLUMNS)
_SOURCE, _DX, _CONFIDENCE, _QUALITY, _COMMENT = _HEADERS[3:]
_NAME_CELL, _STUDY_CELL = "B3", "B4"
_PICTURE = 110  # px on screen
_EMBEDDED = 256  # px at most; the file in images/ has all of them
_INK, _PAPER, _EMPTY = "1F3A4D", "F3F6F8", "FFF8E1"
_DATE = (2000, 1, 1, 0, 0, 0)


class SheetError(Exception):
    """A sheet or key that cannot be read; the message names file, sheet, cell, value and what was expected."""


class Filled(NamedTuple):
    """What a reader answered."""

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
        some = ", ".join(f"{number:03d} ({lacks})" for number, lacks in list(self.missing.items())[:5])
        more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
        return f"{self.reader}: {len(self.readings)} of {n} images read; left out: {some}{more}."


def choose(cases: pd.DataFrame, synthetic: pd.DataFrame, n_images: int, seed: int) -> tuple[pd.DataFrame, str]:
    """The study's images in the order they are shown, as the key (columns KEY), and a sentence on what was short.

    cases, synthetic: tables of 01 and 04. Of each class as many real as synthetic ones, n_images / 14 or as many as
    there are: real ones from the test split, at most one a lesion (so that readings are independent), synthetic ones
    accepted and drawn with the adapter. Which ones and in which order hangs on the seed and each image's name alone.
    Raises ValueError when no class has both.
    """
    quota = n_images // (2 * len(DX))
    pools = {
        "real": _shuffled(cases[cases["split"] == "test"], seed, "choose").drop_duplicates("lesion_id"),
        "synthetic": _shuffled(
            synthetic[synthetic["accepted"] & (synthetic["generator"] == "adapter")], seed, "choose"
        ),
    }
    parts, short = [], []
    for dx in DX:
        there = {source: pool[pool["dx"] == dx] for source, pool in pools.items()}
        n = min(quota, *map(len, there.values()))
        parts += [pool.head(n).assign(source=source) for source, pool in there.items()]
        if n < quota:
            short.append(
                f"{dx} {n} instead of {quota} ({len(there['real'])} test lesions, "
                f"{len(there['synthetic'])} accepted synthetic images)"
            )
    key = _shuffled(pd.concat(parts), seed, "order").reset_index(drop=True)
    if key.empty:
        raise ValueError("no class has both a real test image and an accepted synthetic one: there is nothing to read")
    key["number"] = key.index + 1
    key["file"] = key["number"].map("{:03d}.png".format)
    key["study"] = f"{derive(seed, 'study', *key['image_id']):016x}"[-8:]
    return key[list(KEY)], f"Fewer images of each source: {'; '.join(short)}." if short else ""


def build(folder: Path, key: pd.DataFrame, pictures: np.ndarray) -> None:
    """Writes the study: images/001.png …, sheet.xlsx, and apart from them key/key.csv.

    folder: a new one. key: from `choose`. pictures: uint8 (n, h, w, 3) in the key's order. Equal input, equal bytes.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "key").mkdir()
    for file, picture in zip(key["file"], pictures, strict=True):
        images.save(folder / "images" / file, picture)
    write_sheet(folder / "sheet.xlsx", key, pictures)
    key.to_csv(folder / "key" / "key.csv", index=False)
    (folder / "key" / "DO_NOT_SEND.txt").write_text(
        "key.csv says which image is real and what it shows: keep this folder at home.\n"
        "Readers receive sheet.xlsx and images/, nothing else.\n"
    )
    for path in folder.rglob("*"):  # all of one age: the order of writing is nobody's business
        os.utime(path, (946_684_800, 946_684_800))


def write_sheet(path: Path, key: pd.DataFrame, pictures: Sequence[np.ndarray] | None = None) -> None:
    """The blank sheet: of the key it holds number, file and study. Without pictures it names the files only."""
    path.write_bytes(_bytes(_workbook(key, pictures)))


def read_key(path: Path) -> pd.DataFrame:
    """A key as `build` wrote it. Raises SheetError when it is missing or lacks a column."""
    if not path.exists():
        raise SheetError(f"{path}: there is no key here; it lies in the study's key/ folder")
    key = pd.read_csv(path, dtype={"study": str})
    if lacking := [name for name in KEY if name not in key.columns]:
        raise SheetError(f"{path}: column {lacking[0]!r} is missing; expected {', '.join(KEY)}")
    return key


def read_sheet(path: Path, key: pd.DataFrame) -> Filled:
    """A filled sheet as readings; rows may have been sorted, and images left out.

    An image counts when it has source and diagnosis, and confidence too unless the reader graded nothing at all. The
    confidence grades the source: is_synthetic_read is 0.5 ± confidence / 10, or 0 and 1 in a sheet without grades.
    Raises SheetError for a file that is no such sheet, one of another study, and answers that were not offered.
    """
    book = _open(path)
    name, study = (book["Instructions"][cell].value for cell in (_NAME_CELL, _STUDY_CELL))
    if study != key["study"].iloc[0]:
        raise SheetError(
            f"{path.name}, sheet Instructions, cell {_STUDY_CELL}: the sheet belongs to study {study!r}, "
            f"the key to {key['study'].iloc[0]!r}; read it with the key it was built with"
        )
    answers = _answers(path, book["Readings"], key)
    needed = [_SOURCE, _DX] + [_CONFIDENCE] * bool(answers[_CONFIDENCE].notna().any())
    lacking = answers[needed].isna()
    missing = {
        int(number): ", ".join(header.split(" (")[0].rstrip("?").lower() for header in row.index[row])
        for number, row in lacking[lacking.any(axis=1)].iterrows()
    }
    done = answers[~lacking.any(axis=1)]
    image_id = key.set_index("number")["image_id"].reindex(done.index)
    doubt = done[_CONFIDENCE].astype(float).fillna(5) / 10
    says_synthetic = done[_SOURCE] == "synthetic"
    reader = str(name).strip() if name else path.stem
    readings = pd.DataFrame(
        {
            "image_id": image_id.to_numpy(str),
            "reader": reader,
            "kind": "person",
            "arm": "",
            "seed": -1,
            "dx_read": done[_DX].to_numpy(str),
            **{f"p_{dx}": np.nan for dx in DX},
            "is_synthetic_read": np.where(says_synthetic, 0.5 + doubt, 0.5 - doubt),
            "seconds": np.nan,
        }
    )
    grades = pd.DataFrame(
        {
            "image_id": image_id.to_numpy(str),
            "confidence": done[_CONFIDENCE].to_numpy(float),
            "quality": done[_QUALITY].to_numpy(float),
            "comment": done[_COMMENT].fillna("").to_numpy(str),
        }
    )
    return Filled(reader, readings, grades, missing)


def read_sheets(folder: Path, key: pd.DataFrame) -> tuple[list[Filled], pd.DataFrame]:
    """All filled sheets (*.xlsx) of a folder, by file name, and the key they were read with.

    key: the run's; a key.csv that lies beside the sheets is taken instead, so that answers outlive the run that made
    the study. Raises SheetError for a folder without sheets, and when two bear one reader's name.
    """
    paths = sorted(p for p in folder.glob("*.xlsx") if not p.name.startswith("~$"))  # ~$: open in Excel
    if not paths:
        raise SheetError(f"{folder}: there is no filled sheet (*.xlsx) here")
    if (folder / "key.csv").exists():
        key = read_key(folder / "key.csv")
    sheets, names = [], {}
    for path in paths:
        sheet = read_sheet(path, key)
        if sheet.reader in names:
            raise SheetError(
                f"{path.name} and {names[sheet.reader]} both say reader {sheet.reader!r} in cell {_NAME_CELL} of sheet "
                "Instructions: give each reader a name of their own"
            )
        names[sheet.reader] = path.name
        sheets.append(sheet)
    return sheets, key


def fill(blank: Path, filled: Path, reader: str, answers: pd.DataFrame) -> None:
    """Writes answers into a sheet, as a reader would.

    answers: number, source (real | synthetic), dx (key of DX_NAMES), confidence, quality (1..5), comment; NaN or ""
    leaves the cell empty.
    """
    book = load_workbook(blank)
    book["Instructions"][_NAME_CELL] = reader
    rows = {row[0].value: row for row in book["Readings"].iter_rows(min_row=2)}
    for answer in answers.itertuples():
        given = (answer.source, DX_NAMES.get(answer.dx), answer.confidence, answer.quality, answer.comment)
        for cell, value in zip(rows[answer.number][3:], given, strict=True):
            cell.value = None if pd.isna(value) or value == "" else value
    filled.write_bytes(_bytes(book))


def _shuffled(table: pd.DataFrame, seed: int, purpose: str) -> pd.DataFrame:
    return table.iloc[np.argsort([derive(seed, "study", purpose, name) for name in table["image_id"]])]


# --- the sheet, written ---------------------------------------------------------------------------------------------


def _workbook(key: pd.DataFrame, pictures: Sequence[np.ndarray] | None) -> Workbook:
    book = Workbook()
    book.properties.creator = "prompt2derm"
    _instructions(book.active, len(key), key["study"].iloc[0])
    sheet = book.create_sheet("Readings")
    thin = Side(style="thin", color="D5DCE1")
    for column, (header, (width, offered)) in enumerate(_COLUMNS.items(), 1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = width
        cell = sheet.cell(1, column, header)
        cell.font, cell.fill = _font(bold=True, color="FFFFFF"), PatternFill("solid", fgColor=_INK)
        cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
        if offered:
            _offer(sheet, f"{letter}2:{letter}{len(key) + 1}", header, offered)
    sheet.row_dimensions[1].height = 34
    sheet.freeze_panes = "D2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(_HEADERS))}{len(key) + 1}"
    for row, (number, file) in enumerate(zip(key["number"], key["file"], strict=True), 2):
        sheet.row_dimensions[row].height = 88 if pictures is not None else 20
        for column, value in enumerate((number, None, file, *[None] * 5), 1):
            cell = sheet.cell(row, column, value)
            cell.border = Border(bottom=thin)
            cell.alignment = Alignment(
                horizontal="left" if column == len(_HEADERS) else "center", vertical="center", wrap_text=True
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


def _offer(sheet: Worksheet, cells: str, header: str, offered: tuple[str, ...]) -> None:
    rule = DataValidation("list", formula1=f'"{",".join(offered)}"', allow_blank=True, showErrorMessage=True)
    rule.errorTitle, rule.error = header, f"Please choose: {', '.join(offered)}"[:250]
    sheet.add_data_validation(rule)
    rule.add(cells)
    first = cells.split(":")[0]
    sheet.conditional_formatting.add(
        cells, FormulaRule([f"LEN({first})=0"], fill=PatternFill("solid", bgColor=_EMPTY, fgColor=_EMPTY))
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
        (_SOURCE, "Photograph of a patient's skin (real), or made by a computer (synthetic)?"),
        (_DX, "The most likely of seven: " + "; ".join(f"{name} ({dx})" for dx, name in DX_NAMES.items()) + "."),
        (_CONFIDENCE, "How sure are you of real or synthetic? 1 = a guess, 5 = certain."),
        (_QUALITY, "How good is the image for a diagnosis? 1 = useless, 5 = excellent."),
        (_COMMENT, "Free text, e.g. what gave an image away. May stay empty."),
        ("Left out", "An image without an answer is not counted; you may save, stop and continue at any time."),
        ("", ""),
        ("", "For research only; not for clinical use."),
    )  # fmt: skip
    for row, (label, text) in enumerate(rows, 1):
        left, right = sheet.cell(row, 1, label), sheet.cell(row, 2, text)
        left.font = _font(bold=True, color=_INK)
        left.alignment = right.alignment = Alignment(vertical="top", horizontal="left", wrap_text=True)
        sheet.row_dimensions[row].height = 16 * (1 + len(text or "") // 92)
    sheet["A1"].font, sheet.row_dimensions[1].height = _font(bold=True, size=16, color=_INK), 24
    sheet[_NAME_CELL].fill = PatternFill("solid", fgColor=_EMPTY)
    sheet[_NAME_CELL].border = Border(bottom=Side(style="medium", color=_INK))
    sheet[_STUDY_CELL].fill = PatternFill("solid", fgColor=_PAPER)


def _font(**look) -> Font:
    return Font(**{"name": "Calibri", "size": 11, **look})


def _picture(pixels: np.ndarray) -> Picture:
    image, buffer = Image.fromarray(pixels), BytesIO()
    image.thumbnail((_EMBEDDED, _EMBEDDED), Image.Resampling.LANCZOS)
    image.save(buffer, format="PNG")
    picture = Picture(buffer)
    picture.width = picture.height = _PICTURE
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
            target.writestr(ZipInfo(entry, _DATE), content, ZIP_DEFLATED)
    return fixed.getvalue()


# --- the sheet, read ------------------------------------------------------------------------------------------------


def _open(path: Path) -> Workbook:
    if not path.exists():
        raise SheetError(f"{path}: no such sheet")
    try:
        book = load_workbook(path, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, OSError) as error:
        raise SheetError(f"{path}: not a readable xlsx file ({error}); save the sheet as .xlsx") from None
    for name in ("Instructions", "Readings"):
        if name not in book.sheetnames:
            raise SheetError(f"{path.name}: sheet {name!r} is missing; it holds {', '.join(book.sheetnames)}")
    for column, header in enumerate(_HEADERS, 1):
        cell = book["Readings"].cell(1, column)
        if cell.value != header:
            raise SheetError(f"{_where(path, cell)}: header {cell.value!r}; expected {header!r}")
    return book


def _answers(path: Path, sheet: Worksheet, key: pd.DataFrame) -> pd.DataFrame:
    """What was answered, one row per image of the key (index: number), None where nothing was."""
    given: dict[int, dict] = {}
    for row in sheet.iter_rows(min_row=2, max_col=len(_HEADERS)):
        if all(cell.value is None for cell in row):
            continue
        number = _whole(row[0].value)
        if number not in set(key["number"]):
            raise SheetError(f"{_where(path, row[0])}: {row[0].value!r} is no image of this study (1 to {len(key)})")
        if number in given:
            raise SheetError(f"{_where(path, row[0])}: image {number} comes twice")
        given[number] = {
            _SOURCE: _one_of(path, row[3], {source: source for source in SOURCES}),
            _DX: _one_of(path, row[4], {**{name: dx for dx, name in DX_NAMES.items()}, **{dx: dx for dx in DX}}),
            _CONFIDENCE: _one_of(path, row[5], {grade: int(grade) for grade in GRADES}),
            _QUALITY: _one_of(path, row[6], {grade: int(grade) for grade in GRADES}),
            _COMMENT: row[7].value,
        }
    return pd.DataFrame.from_dict(given, orient="index", columns=_HEADERS[3:], dtype=object).reindex(key["number"])


def _one_of(path: Path, cell: Cell, offered: dict[str, object]) -> object | None:
    if cell.value is None or not str(cell.value).strip():
        return None
    said = _whole(cell.value)
    said = str(cell.value if said is None else said).strip().lower()
    if said not in offered:
        close = difflib.get_close_matches(said, offered, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise SheetError(f"{_where(path, cell)}: {cell.value!r}; expected one of {', '.join(offered)}{hint}")
    return offered[said]


def _whole(value: object) -> int | None:
    """3, 3.0 and "3" as 3; anything else None."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _where(path: Path, cell: Cell) -> str:
    return f"{path.name}, sheet {cell.parent.title}, cell {cell.coordinate}"
