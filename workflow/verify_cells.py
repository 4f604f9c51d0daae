"""What a cell of a table holds, and how near another cell of the same place is to it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, log10

NUMBER = re.compile(r"(?<![\w.,])[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
INTERVAL = re.compile(rf"({NUMBER.pattern}) \[({NUMBER.pattern}), ({NUMBER.pattern})\]")
LEADING_NUMBER = re.compile(rf"(?:< )?{NUMBER.pattern}(?=$| |%)")
DIGITS = 6  # significant digits of a number that is not formatted (report/tables.py)

# the classes of a cell, from the nearest to the farthest
SAME = "same bits"
ROUNDING = "same to rounding"
INSIDE = "inside the interval"
SPREAD = "inside the spread of reruns"
OUTSIDE = "outside"
TIMING = "a time, not compared"
CLASSES = (SAME, ROUNDING, INSIDE, SPREAD, OUTSIDE, TIMING)


@dataclass(frozen=True)
class Cell:
    """The text of a cell. formatted: False in a column of numbers with six significant digits."""

    text: str
    formatted: bool = True

    @cached_property
    def numbers(self) -> list[float]:
        return [_value(number) for number in NUMBER.findall(self.text)]

    @cached_property
    def words(self) -> str:
        """The text without its numbers; "< 0.001" has the words of a number."""
        return NUMBER.sub("#", self.text).removeprefix("< ")

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The interval that the cell begins with, as in "0.712 [0.688, 0.735]"."""
        match = INTERVAL.match(self.text)
        return (_value(match[2]), _value(match[3])) if match else None

    @property
    def is_numeric(self) -> bool:
        """Whether it begins with a number: "36 [13, 65]", "5 (5)", "34.7%"; not "45–59" or "not readable"."""
        return LEADING_NUMBER.match(self.text) is not None

    @cached_property
    def units(self) -> list[float]:
        """Of each number, one unit in the last digit that is printed; 0 for a count."""
        return [self._unit(number) for number in NUMBER.findall(self.text)]

    def _unit(self, number: str) -> float:
        if "." not in number and "e" not in number:
            return 1.0 if self.interval else 0.0
        if self.formatted:
            return 10.0 ** -len(number.partition(".")[2])
        return 10.0 ** (floor(log10(abs(_value(number)) or 1.0)) - DIGITS + 1)

    @property
    def scale(self) -> float:
        """What changes of its numbers are measured in, to be comparable within a column: half the interval, or 1."""
        return (self.interval[1] - self.interval[0]) / 2 or 1.0 if self.interval else 1.0


def unformatted(texts: Sequence[str]) -> bool:
    """Whether a column holds numbers with six significant digits: fixed places never give one so many."""
    digits = [re.sub(r"[-+−.]|e.*", "", text).lstrip("0") for text in texts if NUMBER.fullmatch(text) and "." in text]
    return any(len(each) >= DIGITS for each in digits)


def nearness(reference: Cell, cell: Cell, limits: Sequence[tuple[float, float]] = ()) -> str:
    """One of CLASSES, for two cells that hold numbers among the same words. limits: of each number, from the reruns."""
    if cell.text == reference.text:
        return SAME
    if {len(reference.numbers), len(cell.numbers)} == {1, 3} and bool(reference.interval) != bool(cell.interval):
        low, high = reference.interval or cell.interval  # that of the other one has no width as it is printed
        narrow = high - low <= 2 * reference.units[0] * (1 + 1e-6)
        inside = all(low <= each.numbers[0] <= high for each in (reference, cell))
        return INSIDE if narrow and inside else OUTSIDE
    if cell.words != reference.words or len(cell.numbers) != len(reference.numbers):
        return OUTSIDE
    pairs = list(zip(reference.numbers, cell.numbers, strict=True))
    if all(abs(b - a) <= unit * (1 + 1e-6) for (a, b), unit in zip(pairs, reference.units, strict=True)):
        return ROUNDING
    if reference.interval and cell.interval and _is_inside(reference, cell):
        return INSIDE
    if limits and all(low <= b <= high for (_, b), (low, high) in zip(pairs, limits, strict=True)):
        return SPREAD
    return OUTSIDE


def _is_inside(reference: Cell, cell: Cell) -> bool:
    """The value lies in the interval that the reference prints, no bound has moved by more than its width, and no
    other number of the cell has changed."""
    (low, high), (new_low, new_high) = reference.interval, cell.interval
    width = high - low
    moved = max(abs(new_low - low), abs(new_high - high))
    return low <= cell.numbers[0] <= high and moved <= width and cell.numbers[3:] == reference.numbers[3:]


def _value(number: str) -> float:
    return float(number.replace("−", "-").replace(",", ""))
