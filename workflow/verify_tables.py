"""The tables of a run beside those of a reference: each cell's class, with tolerances that nobody has typed.

A number may lie in the interval that the reference prints, or in the spread of the reference's reruns. A column in
which no rerun with the same parameters changed anything is exact: its counts and words must be the same.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from cli import Refused
from verify_cells import OUTSIDE, SAME, SPREAD, TIMING, Cell, nearness, unformatted

from p2d_lib.instruments.rerun_spread import limits, probability_of_changes

LEVEL = 0.01  # how often an honest rerun is called changed, by any of its cells
Key = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A CSV file. Its rows are known by the fewest first columns that tell them apart, or else by their position."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, path: Path) -> "Table":
        """The table in a file. Raises Refused for one that is no CSV in UTF-8 with as many cells in each row."""
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                head, *rows = [tuple(row) for row in csv.reader(stream)] or [()]
        except (UnicodeDecodeError, csv.Error) as error:
            raise Refused(f"{path} is no table ({error}): take it anew from where it was made") from None
        for number, row in enumerate(rows, 1):
            if len(row) != len(head):
                raise Refused(f"{path}, row {number}: {len(row)} cells, and its head has {len(head)}: correct the file")
        return cls(head, tuple(rows))

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        for width in range(len(self.columns) + 1):
            if len({row[:width] for row in self.rows}) == len(self.rows):
                key = self.columns[:width]
                numbers = [self.rows[0][i] for i in range(width)] if self.rows else []
                return () if any(unformatted([text]) for text in numbers) else key
        return ()

    def keyed(self, key_columns: tuple[str, ...]) -> dict[Key, dict[str, str]]:
        """{key: {column: text}}, in order; rows of the same key are counted."""
        seen, rows = Counter(), {}
        for row in self.rows:
            cells = dict(zip(self.columns, row, strict=True))
            key = tuple(cells.get(column, "") for column in key_columns)
            seen[key] += 1
            rows[(*key, f"row {seen[key]}") if seen[key] > 1 or not key else key] = cells
        return rows

    def is_numeric(self, column: str) -> bool:
        """Whether at least half of the column's cells that hold anything begin with a number."""
        texts = [text for text in self.texts(column) if text not in ("", "–")]
        return sum(Cell(text).is_numeric for text in texts) * 2 >= len(texts) > 0

    def texts(self, column: str) -> list[str]:
        i = self.columns.index(column)
        return [row[i] for row in self.rows]


def read_folder(folder: Path) -> dict[str, Table]:
    """{name: table} of the CSV files in a folder."""
    return {path.stem: Table.read(path) for path in sorted(folder.glob("*.csv"))}


@dataclass(frozen=True)
class Reference:
    """What a run is compared with. same_parameters: by rerun, whether it differs in threads or device alone."""

    tables: Mapping[str, Table]
    reruns: Mapping[str, Mapping[str, Table]] = field(default_factory=dict)
    same_parameters: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """A cell of the reference, or a row or table that is missing or new, and its class."""

    table: str
    row: str
    column: str
    reference: str
    run: str
    nearness: str
    why: str = ""
    loose: bool = False  # whether the reruns allow it to move by more than its size, or its interval's width


@dataclass(frozen=True)
class _Place:
    """A cell of the reference with the cells of the reruns (None where one has no such row or column) and the run."""

    table: str
    key: Key
    column: str
    reference: Cell
    reruns: tuple[Cell | None, ...]
    run: Cell
    is_exact: bool
    is_numeric: bool

    def numbers(self) -> list[list[float]] | None:
        """[number][run] of reference and reruns; None where one has other words."""
        cells = (self.reference, *self.reruns)
        if any(cell is None or cell.words != self.reference.words for cell in cells) or not self.reference.numbers:
            return None
        return [list(each) for each in zip(*(cell.numbers for cell in cells), strict=True)]

    def group(self, i: int) -> tuple:
        """Among which numbers the spread of the cell's i-th is usual: the first stands apart from its bounds."""
        printed = self.reference.units[i] if self.reference.formatted else 0.0
        return self.table, self.column, i == 0, printed

    def changes(self, cell: Cell | None) -> bool:
        """Whether a cell has other words than the reference."""
        if cell is None:
            return False
        return cell.words != self.reference.words if self.is_numeric else cell.text != self.reference.text

    def result(self, kind: str, why: str = "") -> Compared:
        return Compared(self.table, " · ".join(self.key), self.column, self.reference.text, self.run.text, kind, why)


def compare(reference: Reference, tables: Mapping[str, Table]) -> list[Compared]:
    """Every cell of the reference's tables in `tables`, and what is missing or new there."""
    results, places = [], []
    for name, table in reference.tables.items():
        if name not in tables:
            results.append(Compared(name, "", "", "a table", "", OUTSIDE, "the table is missing"))
            continue
        results += _rows(name, table, tables[name], reference)
        places += _places(name, table, tables[name], reference)
    allowed, changed_words = _allowed(places), _words_beyond_chance(places)
    known_words = {text for each in (reference.tables, *reference.reruns.values()) for text in _all_texts(each)}
    for place in places:
        results.append(_judged(place, allowed, changed_words, known_words))
    return results


def _all_texts(tables: Mapping[str, Table]) -> Iterator[str]:
    for table in tables.values():
        for row in table.rows:
            yield from row


def _rows(name: str, table: Table, other: Table, reference: Reference) -> list[Compared]:
    """The rows and columns of a table that are missing or new."""
    keys, others = (list(each.keyed(table.key_columns)) for each in (table, other))
    missing, new = [key for key in keys if key not in others], [key for key in others if key not in keys]
    reruns = [
        set(tables[name].keyed(table.key_columns))
        for rerun, tables in reference.reruns.items()
        if name in tables and reference.same_parameters[rerun]
    ]
    kind = SPREAD if any(rerun != set(keys) for rerun in reruns) else OUTSIDE
    results = []
    for key in missing:
        position = keys.index(key)
        renamed = others[position] if position < len(others) and len(keys) == len(others) else None
        if renamed in new:
            new.remove(renamed)
            why = "a label of the row has changed"
            results.append(Compared(name, " · ".join(key), "", " · ".join(key), " · ".join(renamed), kind, why))
        else:
            results.append(Compared(name, " · ".join(key), "", "a row", "", kind, "the row is missing"))
    results += [Compared(name, " · ".join(key), "", "", "a row", kind, "the row is new") for key in new]
    for column in table.columns:
        if column not in other.columns:
            results.append(Compared(name, "", column, "a column", "", OUTSIDE, "the column is missing"))
    return results


def _places(name: str, table: Table, other: Table, reference: Reference) -> Iterator[_Place]:
    run = other.keyed(table.key_columns)
    reruns = {
        rerun: tables[name].keyed(table.key_columns) for rerun, tables in reference.reruns.items() if name in tables
    }
    rows = table.keyed(table.key_columns)
    for column in table.columns:
        formatted, is_numeric = not unformatted(table.texts(column)), table.is_numeric(column)
        varies = any(
            rows[key][column] != cells.get(column)
            for rerun, other_rows in reruns.items()
            if reference.same_parameters[rerun]
            for key, cells in other_rows.items()
            if key in rows
        )
        for key in rows:
            if key in run and column in other.columns:
                texts = [other_rows.get(key, {}).get(column) for other_rows in reruns.values()]
                cells = tuple(None if text is None else Cell(text, formatted) for text in texts)
                here, there = Cell(rows[key][column], formatted), Cell(run[key][column], formatted)
                yield _Place(name, key, column, here, cells, there, not varies, is_numeric)


def _allowed(places: list[_Place]) -> dict[tuple[str, Key, str], list[tuple[float, float]]]:
    """{cell: [(low, high) of each number]}, from the spread of the reruns. Spreads are taken to be comparable within a
    column, among numbers that are printed alike, in half widths of the intervals where there are any."""
    notebooks = defaultdict(list)
    for place in places:
        if not place.is_exact and place.is_numeric and (numbers := place.numbers()):
            notebooks[place.table.partition("_")[0], place.reference.interval is not None].append((place, numbers))
    judged = sum(len(numbers) for cells in notebooks.values() for _, numbers in cells) + _word_columns(places)
    allowed = {}
    for cells in notebooks.values():
        scales = np.array([place.reference.scale for place, numbers in cells for _ in numbers])[:, None]
        values = np.array([each for _, numbers in cells for each in numbers]) / scales
        groups = [place.group(i) for place, numbers in cells for i in range(len(numbers))]
        bounds = iter((limits(values, groups, LEVEL / judged) * scales).tolist())
        for place, numbers in cells:
            allowed[place.table, place.key, place.column] = [tuple(next(bounds)) for _ in numbers]
    return allowed


def _word_columns(places: list[_Place]) -> int:
    return len({(place.table, place.column) for place in places if not place.is_exact})


def _words_beyond_chance(places: list[_Place]) -> set[tuple[str, str]]:
    """The columns in which more words have changed than the reruns' rate explains."""
    columns, level = defaultdict(list), LEVEL / max(_word_columns(places), 1)
    for place in places:
        if not place.is_exact:
            columns[place.table, place.column].append(place)
    beyond = set()
    for column, cells in columns.items():
        changed = sum(cell.changes(cell.run) for cell in cells)
        earlier = [cell.changes(again) for cell in cells for again in cell.reruns if again is not None]
        if probability_of_changes(changed, len(cells), sum(earlier), len(earlier)) < level:
            beyond.add(column)
    return beyond


def _judged(place: _Place, allowed: dict, changed_words: set, known_words: set[str]) -> Compared:
    if place.column.startswith("seconds"):
        return place.result(TIMING)
    if place.run.text == place.reference.text:
        return place.result(SAME)
    if place.is_numeric and place.run.words == place.reference.words:
        limits_of_numbers = allowed.get((place.table, place.key, place.column), ())
        kind = nearness(place.reference, place.run, limits_of_numbers)
        if kind == OUTSIDE and not place.is_exact and any(place.changes(again) for again in place.reruns):
            return replace(place.result(SPREAD, "a rerun has other words here"), loose=True)
        why = _explained(place, limits_of_numbers) if kind in (OUTSIDE, SPREAD) else ""
        return replace(
            place.result(kind, why), loose=kind == SPREAD and _is_loose(place.reference, limits_of_numbers[0])
        )
    if place.is_exact:
        return place.result(OUTSIDE, "the words have changed, which no rerun has done")
    if (place.table, place.column) in changed_words:
        return place.result(OUTSIDE, "more words of this column have changed than in the reruns")
    if place.run.text in known_words or place.run.is_numeric:
        return place.result(SPREAD)
    return place.result(OUTSIDE, "no table of the reference has these words")


def _explained(place: _Place, allowed: list[tuple[float, float]]) -> str:
    if allowed:
        return f"the reruns allow {allowed[0][0]:.4g} to {allowed[0][1]:.4g}"
    if place.reference.interval:
        return "not in the interval of the reference"
    return "no rerun has changed this column" if place.is_exact and place.reruns else "the spread is not known"


def _is_loose(reference: Cell, allowed: tuple[float, float]) -> bool:
    reach, (value, *_) = (allowed[1] - allowed[0]) / 2, reference.numbers
    return reach > (2 * reference.scale if reference.interval else abs(value))
