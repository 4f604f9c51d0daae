"""Tables of the paper: CSV for machines, LaTeX (booktabs) for the article."""

import html
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from p2d_lib.run import Run, atomic

TEXT_WIDTH = 347.1  # pt: 12.2 cm, the text width of Springer's LNCS
SIZES = (("small", 0.925, 6.0), ("footnotesize", 0.85, 4.0), ("footnotesize", 0.85, 2.5), ("scriptsize", 0.8, 2.0))
WRAPPED = 24  # characters: texts longer than this may be broken into lines
_POINTS = (  # what a character takes in 10 pt Computer Modern; 5.2 pt where it is not listed
    dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ", 7.4)
    | dict.fromkeys("mwMW%&@±×≥≤≠≈→Δ+=−", 8.3)
    | dict.fromkeys("ijltfrI.,:;'|![]()- ", 3.3)
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
    The LaTeX keeps to LNCS's text width by headings in two lines, smaller type and, if need be, wrapped texts.
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
    """A LaTeX table as wide as the text at most: first headings go in two lines, then type shrinks, then texts wrap."""
    cells = shown.map(_width).max() * np.where(bold.any(), 1.15, 1)  # bold is wider
    heads = {column: [column] for column in shown}
    numeric = _leading(shown).notna().mean() > 0.5
    texts = shown.columns[~numeric & (shown.map(len).max() > WRAPPED)]
    for size, scale, gap in SIZES:
        widths = pd.Series({column: max(cells[column], *map(_width, lines)) for column, lines in heads.items()})
        excess = widths.sum() - (TEXT_WIDTH - 2 * gap * len(widths)) / scale
        setting = rf"\{size}\setlength{{\tabcolsep}}{{{gap}pt}}"
        if excess <= 0 or (len(texts) and size == "footnotesize"):
            break
        heads = {column: _in_two(column) if _width(column) > cells[column] else [column] for column in shown}
    kept = 1 - max(excess, 0) / widths[texts].sum() if len(texts) else 1  # of each text's natural width
    boxes = {column: f"p{{{scale * kept * widths[column]:.0f}pt}}" for column in texts if kept < 1}
    sides = {column: "r" if numeric[column] else "l" for column in shown}

    def cell(row: int, column: str) -> str:
        ragged, strong = r"\raggedright " * (column in boxes), r"\bfseries " * bool(bold.at[row, column])
        return ragged + strong + latex(shown.at[row, column])

    def head(column: str) -> str:
        lines = [latex(line) for line in heads[column]]
        return lines[0] if len(lines) == 1 else rf"\shortstack[{sides[column]}]{{{lines[0]}\\{lines[1]}}}"

    end = r" \tabularnewline"  # \\ means a new line of the text in a wrapped cell
    return "\n".join(
        [
            rf"\begin{{table}}[t]\centering\caption{{{latex(caption)}}}\label{{{label}}}",
            setting,
            rf"\begin{{tabular}}{{{''.join((sides | boxes).values())}}}",
            r"\toprule",
            " & ".join(map(head, shown)) + end,
            r"\midrule",
            *(" & ".join(cell(row, column) for column in shown) + end for row in shown.index),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _width(text: str) -> float:
    return sum(_POINTS.get(character, 5.2) for character in text)


def _in_two(head: str) -> list[str]:
    """A heading broken at the space that leaves its longer half shortest."""
    words = head.split(" ")
    breaks = [[" ".join(words[:i]), " ".join(words[i:])] for i in range(1, len(words))]
    return min(breaks, key=lambda lines: max(map(_width, lines)), default=[head])
