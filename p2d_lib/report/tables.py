"""Tables of the paper: CSV for machines, LaTeX (booktabs) for the article."""

import html
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from p2d_lib.files import atomic
from p2d_lib.run import Run

TEXT_WIDTH = 347.1  # pt: 12.2 cm, the text width of Springer's LNCS
LAYOUTS = (  # tried in turn: size, its scale, half the gap between columns (pt), what is broken into lines
    ("small", 0.925, 6.0, ()),
    ("small", 0.925, 6.0, ("headings",)),
    ("footnotesize", 0.85, 4.0, ("headings",)),
    ("footnotesize", 0.85, 2.5, ("headings",)),
    ("footnotesize", 0.85, 4.0, ("headings", "intervals")),
    ("footnotesize", 0.85, 2.5, ("headings", "intervals")),
    ("scriptsize", 0.8, 2.0, ("headings", "intervals")),
)
WRAPPED = 24  # characters: texts longer than this may be broken into lines
_POINTS = (  # what a character takes in 10 pt Computer Modern; 5.2 pt where it is not listed
    dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ", 7.4)
    | dict.fromkeys("mwMW%&@±×≥≤≠≈→Δ+=−", 8.3)
    | dict.fromkeys("0123456789–", 5.0)
    | dict.fromkeys("ftrI()- ", 3.6)
    | dict.fromkeys("ijl.,:;'|![]", 2.9)
)
_LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%$#_{}"}
    | {character: f"${character}$" for character in "<>|"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": r"\ldots{}"}
    | {"–": "--", "—": "---", "“": "``", "”": "''", "‘": "`", "’": "'", "\u00a0": "~", "\u202f": r"\,"}
    | {"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "≥": r"$\geq$", "≤": r"$\leq$", "≠": r"$\neq$"}
    | {"≈": r"$\approx$", "→": r"$\to$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "°": r"$^\circ$", "√": r"$\surd$"}
    | {"Δ": r"$\Delta$", "α": r"$\alpha$", "β": r"$\beta$", "κ": r"$\kappa$", "μ": r"$\mu$", "µ": r"$\mu$"}
    | {"σ": r"$\sigma$", "ρ": r"$\rho$", "²": "$^2$", "³": "$^3$", "⁻": "$^-$", "¹": "$^1$", "½": "$^1/_2$"}
)


def interval(estimate: float, low: float, high: float, digits: int = 3) -> str:
    """ "0.712 [0.688, 0.735]"; an estimate that is NaN gives "–"."""
    if estimate != estimate:
        return "–"
    return f"{estimate:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def latex(text: str) -> str:
    """Plain text as LaTeX sets it: special characters escaped, signs and Greek letters in mathematics."""
    return text.translate(_LATEX)


def save(
    run: Run,
    name: str,
    table: pd.DataFrame,
    caption: str,
    best: Mapping[str | tuple[str, ...], str] | None = None,
    digits: int | Mapping[str, int] = 3,
) -> Styler:
    """Writes tables/<run>/<name>.csv and .tex and their provenance; returns the table as a notebook shows it.

    table: its columns as they shall be read, the index as first columns (unless it is a plain range). caption: plain
    text, with n, seeds and feature extractor where they apply; "phantom data" is added by itself. best: {column: "min"
    | "max"} sets the column's best in bold, {(column, column): ...} the best of these in each row; texts like "0.712
    [0.688, 0.735]" count by their first number, and what reads the same shares the bold. digits: after the point, for
    all columns or {column: digits} (3 where not given).
    The LaTeX keeps to LNCS's text width by smaller type, headings and intervals in lines, and wrapped texts.
    """
    caption = f"{caption} {run.note.capitalize()}." if run.note else caption
    flat = (table if isinstance(table.index, pd.RangeIndex) else table.reset_index()).rename(columns=str)
    shown = _shown(flat, digits)
    bold = _bold(shown, best or {})
    for suffix, text in (
        ("csv", flat.to_csv(index=False, float_format="{:.6g}".format, lineterminator="\n")),
        ("tex", _booktabs(shown, bold, caption, f"tab:{name}")),
    ):
        path = run.tables / f"{name}.{suffix}"
        with atomic(path) as partial:
            partial.write_text(text)
        run.provenance(path, beside=run.folder / "tables" / path.name)
    return _styled(shown, bold).set_caption(html.escape(caption)).set_uuid(name)


def _shown(table: pd.DataFrame, digits: int | Mapping[str, int]) -> pd.DataFrame:
    """The cells as texts, with "–" for nothing and a minus for a hyphen before a number."""

    def text(value: object, places: int) -> str:
        if pd.isna(value):
            return "–"
        if isinstance(value, float):
            value = f"{value:.{places}f}"
            value = value.lstrip("-") if float(value) == 0 else value
        return re.sub(r"(?<![\w.])-(?=\d)", "−", str(value))

    places = {column: digits if isinstance(digits, int) else digits.get(column, 3) for column in table}
    return table.apply(lambda cells: cells.astype(object).map(lambda value: text(value, places[cells.name])))


def _leading(shown: pd.DataFrame) -> pd.DataFrame:
    """The number each cell starts with, NaN where it starts with none."""
    return shown.apply(lambda cells: cells.str.extract(r"^(−?\d+(?:\.\d+)?)")[0].str.replace("−", "-").astype(float))


def _bold(shown: pd.DataFrame, best: Mapping[str | tuple[str, ...], str]) -> pd.DataFrame:
    """Which cells are the best; none where all are equal."""
    bold = pd.DataFrame(False, index=shown.index, columns=shown.columns)
    for columns, which in best.items():
        numbers = _leading(shown[list(columns)].T if isinstance(columns, tuple) else shown[[columns]])
        won = numbers.eq(numbers.agg(which)) & (numbers.min() < numbers.max())
        bold.update(won.T if isinstance(columns, tuple) else won)
    return bold


def _styled(shown: pd.DataFrame, bold: pd.DataFrame) -> Styler:
    styler = shown.style.hide(axis="index").format(html.escape).format_index(html.escape, axis="columns")
    return styler.apply(lambda _: np.where(bold, "font-weight: bold", ""), axis=None)


def _booktabs(shown: pd.DataFrame, bold: pd.DataFrame, caption: str, label: str) -> str:
    """A LaTeX table as wide as the text at most: the first of LAYOUTS that fits, else with texts wrapped."""
    numeric = shown.apply(lambda cells: cells[cells != "–"].str.match(r"[<−]? ?\d").mean() > 0.5)
    texts = shown.columns[~numeric & (shown.map(lambda text: len(text) * (" " in text)).max() > WRAPPED)]
    for size, scale, gap, broken in LAYOUTS[:4] if len(texts) else LAYOUTS:  # texts wrap before intervals break
        cells = shown.map(lambda text: re.split(r" (?=\[)", text) if "intervals" in broken else [text])  # noqa: B023
        needed = cells.map(_widest).max() * np.where(bold.any(), 1.15, 1)  # bold is wider
        heads = {c: _fold(c, needed[c]) if "headings" in broken else [c] for c in shown}
        widths = needed.combine(pd.Series(heads).map(_widest), max)
        excess = widths.sum() - (TEXT_WIDTH - 2 * gap * len(widths)) / scale
        setting = rf"\{size}\setlength{{\tabcolsep}}{{{gap}pt}}"
        if excess <= 0:
            break
    kept = 1 - max(excess, 0) / widths[texts].sum() if len(texts) else 1  # of each text's natural width
    boxes = {column: f"p{{{scale * kept * widths[column]:.0f}pt}}" for column in texts if kept < 1}
    sides = {column: "r" if numeric[column] else "l" for column in shown}

    def cell(row: int, column: str) -> str:
        ragged, strong = r"\raggedright " * (column in boxes), r"\bfseries " * bool(bold.at[row, column])
        return ragged + strong + _stack(cells.at[row, column], f"[t]{{@{{}}{sides[column]}@{{}}}}")

    end = r" \tabularnewline"  # \\ means a new line of the text in a wrapped cell
    apart = "[2pt]" if cells.map(len).max(axis=None) > 1 else ""
    return "\n".join(
        [
            rf"\begin{{table}}[t]\centering\caption{{{latex(caption)}}}\label{{{label}}}",
            setting,
            rf"\begin{{tabular}}{{{''.join((sides | boxes).values())}}}",
            r"\toprule",
            " & ".join(_stack(heads[column], f"[b]{{@{{}}{sides[column]}@{{}}}}") for column in shown) + end,
            r"\midrule",
            *(" & ".join(cell(row, column) for column in shown) + end + apart for row in shown.index),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _stack(lines: list[str], layout: str) -> str:
    """One line as it is, several above each other in a table of their own."""
    text = r"\\{}".join(map(latex, lines))  # {}: a line may start with a bracket
    return text if len(lines) == 1 else rf"\begin{{tabular}}{layout}{text}\end{{tabular}}"


def _width(text: str) -> float:
    return sum(_POINTS.get(character, 5.2) for character in text)


def _widest(lines: list[str]) -> float:
    return max(map(_width, lines))


def _fold(head: str, width: float) -> list[str]:
    """A heading in lines no wider than `width` (points at 10 pt), or than its longest word."""
    words = head.split(" ")
    room, lines = max(width, _widest(words)), words[:1]
    for word in words[1:]:
        if _width(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
