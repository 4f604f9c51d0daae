"""The first screen of a run's page: a row of images, and the numbers that answer the paper.

The numbers are cells of the run's tables, declared in NUMBERS. Where a table, row or column is not there, the page
says so; nothing is computed here and no prose is parsed.
"""

import csv
import html
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NOT_THERE = "not in this run"
LEVEL = 0.05  # of the verdicts in words


@dataclass(frozen=True)
class Cell:
    """One cell of a table: the first row whose columns hold these values, and a column of it."""

    table: str
    row: Mapping[str, str]
    column: str

    def read(self, tables: Path) -> str:
        """The cell's text; "" where table, row or column are missing or the cell is empty."""
        path = tables / f"{self.table}.csv"
        if not path.exists():
            return ""
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if all(row.get(column) == value for column, value in self.row.items()):
                    return row.get(self.column) or ""
        return ""


@dataclass(frozen=True)
class Number:
    """A headline number: a question, what is measured, the cells to show by name, and its verdict.

    p: the cell that holds the p-value, corrected where several tests are announced; verdicts: the words for p below
    LEVEL and otherwise. verdict: the cell that holds the words instead, where more than p decides.
    """

    question: str
    measure: str
    cells: Mapping[str, Cell]
    p: Cell | None = None
    verdicts: tuple[str, str] = ("a difference is shown", "no difference is shown")
    verdict: Cell | None = None

    def html(self, tables: Path, folder: Path) -> str:
        """A card with a link to the table that the first cell comes from."""
        values = {name: cell.read(tables) for name, cell in self.cells.items()}
        shown = [f"{name} {rounded(value)}".strip() for name, value in values.items() if value]
        verdict = self._verdict(tables) if shown else ""
        table = next(iter(self.cells.values())).table
        link = os.path.relpath(tables / f"{table}.csv", folder)
        return (
            f"<div class='number'><h3>{html.escape(self.question)}</h3>"
            f"<span class='value'>{'<br>'.join(map(html.escape, shown)) or NOT_THERE}</span>"
            f"<span class='verdict'>{html.escape(verdict)}</span>"
            f"<span class='quiet'>{html.escape(self.measure)} · <a href='#{table}'>{table}</a> · "
            f"<a href='{link}'>csv</a></span></div>"
        )

    def _verdict(self, tables: Path) -> str:
        """ "no difference is shown (p = 0.8)"; p may be a text such as "< 0.001" or "n too small"."""
        p = self.p.read(tables) if self.p else ""
        number = p.removeprefix("< ")
        try:
            below = float(number) <= LEVEL
        except ValueError:
            return p
        words = self.verdict.read(tables) if self.verdict else self.verdicts[not below]
        return f"{words} (p {'= ' if number == p else '< '}{float(number):.2g})"


def _paired(comparison: str, column: str) -> Cell:
    return Cell("t6_paired", {"comparison": comparison, "score": "balanced accuracy"}, column)


NUMBERS = (
    Number(
        "Do the synthetic pixels help a classifier?",
        "points of balanced accuracy, real + synthetic against real + replayed real images",
        {"": _paired("mixed − real+replay", "difference (points)")},
        _paired("mixed − real+replay", "p (Holm)"),
        verdict=_paired("mixed − real+replay", "verdict"),
    ),
    Number(
        "Does balancing the classes alone help?",
        "points of balanced accuracy, real + replayed real images against real",
        {"": _paired("real+replay − real", "difference (points)")},
        _paired("real+replay − real", "p (Holm)"),
        verdict=_paired("real+replay − real", "verdict"),
    ),
    Number(
        "How far from real images?",
        "kernel inception distance (KID) to real test images, in features of the first extractor of 05; 0 on average "
        "where both come from one distribution. It sees little of a lack of variety; recall does: the share of real "
        "images that lie among the synthetic ones",
        {name: Cell("t5_overall", {"measure": "KID ↓"}, column)
         for name, column in (("adapter", "adapter"), ("base", "base"), ("real", "real"))}
        | {f"recall, {name}": Cell("t5_overall", {"measure": "recall ↑"}, column)
           for name, column in (("adapter", "adapter"), ("real", "real"))},
    ),
    Number(
        "Can a network tell them from real images?",
        "AUC against real test images, in features of the first extractor of 05; 0.5: it cannot",
        {name: Cell("t5_overall", {"measure": "AUC against real ↓"}, column)
         for name, column in (("adapter", "adapter"), ("base", "base"), ("real", "real"))},
        Cell("t5_tests", {"first": "adapter", "second": "real (test)", "measure": "AUC"}, "p (Holm)"),
        ("adapter and real images differ", "no difference is shown"),
    ),
    Number(
        "Do images show the class that was asked for?",
        "share of images whose class a linear readout of 05's first extractor reads as asked for; chance 0.14. The "
        "scout is no independent reader, since it was fitted on the generator's own train images",
        {name: Cell("t5_attributes", {"images": images}, "class")
         for name, images in (("adapter", "adapter"), ("base", "base"), ("real", "real (test)"))}
        | {f"{name}, by the scout": Cell("t4_obedience", {"images": images}, "class")
           for name, images in (("adapter", "adapter"), ("real", "real (val)"))},
    ),
    Number(
        "Are they copies of train images?",
        "percent refused by the check for copies; neither real images of other lesions can be copies, nor images of a "
        "base that has seen no train image",
        {name: Cell("t4_copies", {"images": images}, "copies (%)")
         for name, images in (("adapter", "adapter"), ("base", "base"), ("real", "real (val)"))},
    ),
    Number(
        "Does it serve all groups alike?",
        "best group minus worst: malignant sensitivity by sex, arm real + synthetic; p corrected over all gaps of 08",
        {name: Cell("t8_gaps", {"attribute": "sex", "metric": "malignant sensitivity", "arm": "mixed"}, column)
         for name, column in (("", "gap"), ("the phantom's true gap within a class:", "true gap within a class"))},
        Cell("t8_gaps", {"attribute": "sex", "metric": "malignant sensitivity", "arm": "mixed"}, "p (Holm)"),
    ),
)  # fmt: skip


def first_screen(folder: Path, home: Path) -> str:
    """The images and the numbers of a run, as HTML. Nothing of a run that has got nowhere yet."""
    tables = home / "tables" / folder.name
    cards = "".join(number.html(tables, folder) for number in NUMBERS)
    return _pictures(folder) + (f"<div class='numbers'>{cards}</div>" if tables.exists() else "")


def _pictures(folder: Path) -> str:
    """One image a class: a real test image, and the first prompt's image by base and adapter. Not picked."""
    if not ((folder / "cases.parquet").exists() and (folder / "synthetic.parquet").exists()):
        return ""
    import pandas as pd

    try:
        cases = pd.read_parquet(folder / "cases.parquet", columns=["dx", "split", "path", "dataset"])
        synthetic = pd.read_parquet(folder / "synthetic.parquet", columns=["dx", "generator", "path"])
    except (OSError, ValueError):  # damaged tables: the notebook that reads them says so
        return ""
    rows = {"real": cases[cases["split"] == "test"]}
    rows |= {name: synthetic[synthetic["generator"] == name] for name in ("base", "adapter")}
    classes, phantom = sorted(set(cases["dx"])), (cases["dataset"] == "phantom").all()
    cells = ["<span class='corner'></span>", *(f"<span class='head'>{html.escape(dx)}</span>" for dx in classes)]
    for name, table in rows.items():
        first = table.drop_duplicates("dx").set_index("dx")["path"]
        cells.append(f"<span class='row'>{name}</span>")
        cells += [
            f"<img src='{html.escape(first[dx])}' alt='{name} {html.escape(dx)}'>" if dx in first else "<span></span>"
            for dx in classes
        ]
    return (
        f"<div class='pictures' style='--columns: {len(classes)}'>{''.join(cells)}</div><p class='quiet'>The first "
        "test image of each diagnosis; the first image that base and adapter make, of one and the same prompt."
        f"{' Phantom data: the images called real are rendered.' if phantom else ''}</p>"
    )


def rounded(value: str) -> str:
    """A number with three significant digits at most, any other text as it is, with a minus before a number."""
    with suppress(ValueError):
        number = float(value)
        value = value if number.is_integer() else f"{number:.3g}"
    return re.sub(r"(?<![\w.])-(?=\d)", "−", value)
