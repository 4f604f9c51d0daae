"""Tables of the paper: CSV for machines, LaTeX for the article, both from one table.

The LaTeX needs two packages, \\usepackage{booktabs,adjustbox}, and a table far wider than the text "rotating", too.
"""

import html
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from p2d_lib.files import atomic
from p2d_lib.run import Run

NOTHING = "–"  # in a cell without a value
TOO_SMALL = "n too small"  # in a cell whose value few images or lesions would give
LONG_TEXT = 40  # characters of a cell; longer ones are broken into lines
LONG_HEADING = 14  # characters; longer headings are broken into lines, no narrower than their column
PAGE = 95  # characters that a text width (LNCS: 12.2 cm) shows legibly; wider tables of intervals break these
TEXT, TEXT_HEIGHT = 347, 549  # points: the page of LNCS, 12.2 by 19.3 cm
DIGIT, NARROW, LINE, GAP = 4.7, 2.7, 11, 8  # points, in \small (9): a character, one of .,[]il, a line, between columns
WIDEST = 1.4  # text widths; wider tables, whose letters would be under 6.4 points, stand sideways
INTERVAL = re.compile(r"^(−?\d+(?:\.\d+)?) \[(−?\d+(?:\.\d+)?), (−?\d+(?:\.\d+)?)\]")

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
    """ "0.712 [0.688, 0.735]"; "0.712" where the interval is NaN or, as printed, has no width; "–" where the estimate
    is NaN.

    An interval without width says that nothing varied between resamples, not that the value is known.
    """
    if estimate != estimate:
        return NOTHING
    value, least, greatest = (f"{number:z.{digits}f}" for number in (estimate, low, high))  # z: zero has no sign
    return value if low != low or least == greatest else f"{value} [{least}, {greatest}]"


def p_value(p: float, equals: str = "") -> str:
    """ "0.012", or "< 0.001"; "–" for NaN. equals: what stands before a number, "= " in a sentence."""
    if p != p:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


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

    table: its columns with the headings to print, the index as first columns (unless it is a plain range); it may be
    empty. caption: plain text, with n, seeds and feature extractor where they apply; "phantom data" is added
    automatically. best: {column: "min" | "max"} sets the best cell of a column in bold, {(column, column): ...} the
    best of these in each row; only where a difference is shown: its interval, as in "0.712 [0.688, 0.735]", overlaps
    with no other's. digits: after the point, for all columns or {column: digits} (default 3).
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
        run.provenance(path, beside=run.folder / "tables" / path.name, caption=caption)
    return _styled(shown, bold, html.escape, html.escape).set_caption(html.escape(caption)).set_uuid(name)


def of_csv(path: Path, caption: str) -> str:
    """A table that `save` has written, as HTML with its caption; every cell is escaped."""
    shown = _shown(pd.read_csv(path), 3)
    bold = pd.DataFrame(False, index=shown.index, columns=shown.columns)
    styled = _styled(shown, bold, html.escape, html.escape).set_caption(html.escape(caption))
    return styled.set_uuid(re.sub(r"\W", "_", path.stem)).to_html()


def _shown(table: pd.DataFrame, digits: int | Mapping[str, int]) -> pd.DataFrame:
    """The cells as texts, with "–" for nothing and a minus for a hyphen before a number.

    A table without rows is shown with one row of "–", one without columns with one cell.
    """

    def text(value: object, places: int) -> str:
        if pd.isna(value):
            return NOTHING
        if isinstance(value, float):
            value = f"{value:.{places}f}"
            value = value.lstrip("-") if float(value) == 0 else value
        return re.sub(r"(?<![\w.])-(?=\d)", "−", str(value))

    places = {column: digits if isinstance(digits, int) else digits.get(column, 3) for column in table}
    cells = {column: [text(value, places[column]) for value in table[column].astype(object)] for column in table}
    if table.empty:
        cells = {column: [NOTHING] for column in cells or [""]}
    return pd.DataFrame(cells)


def _bold(shown: pd.DataFrame, best: Mapping[str | tuple[str, ...], str]) -> pd.DataFrame:
    """Which cells are the best of their column or row and have an interval apart from all others."""
    bold = pd.DataFrame(False, index=shown.index, columns=shown.columns)
    for columns, which in best.items():
        if isinstance(columns, tuple):
            for row in shown.index:
                bold.loc[row, list(columns)] = _apart(shown.loc[row, list(columns)], which)
        else:
            bold[columns] = _apart(shown[columns], which)
    return bold


def _apart(cells: pd.Series, which: str) -> np.ndarray:
    """bool (n,): True at most once. which: min | max. Cells without an interval do not compete."""
    parts = [INTERVAL.match(cell) for cell in cells]
    bounds = np.array([[float(part[i].replace("−", "-")) if part else np.nan for i in (2, 3)] for part in parts])
    low, high = bounds.T if which == "max" else -bounds.T[::-1]
    if np.isfinite(low).sum() < 2:
        return np.zeros(len(cells), bool)
    best = np.arange(len(cells)) == np.nanargmax(low)
    return best & (low > np.nanmax(np.where(best, np.nan, high)))


def _styled(shown: pd.DataFrame, bold: pd.DataFrame, cell: Callable[[str], str], head: Callable[[str], str]) -> Styler:
    styler = shown.style.hide(axis="index").format(cell).format_index(head, axis="columns")
    return styler.apply(lambda _: np.where(bold, "font-weight: bold", ""), axis=None)


def _booktabs(shown: pd.DataFrame, bold: pd.DataFrame, caption: str, label: str) -> str:
    """A LaTeX table: sideways where it is too wide, divided where it is too high, reduced by adjustbox to the width."""
    sides = {column: "r" if _is_numeric(shown[column]) else "l" for column in shown}
    too_wide = shown.map(len).max().clip(upper=LONG_TEXT).add(2).sum() > PAGE
    breaks_intervals = too_wide and sum(shown[column].str.match(INTERVAL).any() for column in shown) > 2

    def lines(text: str) -> list[str]:
        return text.split(" ", 1) if breaks_intervals and INTERVAL.match(text) else [text]

    def heading(column: str) -> list[str]:
        widest = min(max(len(line) for text in shown[column] for line in lines(text)), LONG_TEXT)
        return textwrap.wrap(column, max(LONG_HEADING, widest)) or [""]

    def cell(text: str) -> str:
        if len(text) > LONG_TEXT:
            return rf"\parbox[t]{{{0.4 * TEXT:.0f}pt}}{{\raggedright {latex(text)}\strut}}"
        return _stack(lines(text), "[t]{@{}r@{}}", below=r"\\[2pt]")

    def head(column: str) -> str:
        return _stack(heading(column), f"[b]{{@{{}}{sides[column]}@{{}}}}")

    width = sum(
        _width([*heading(column), *(line for text in shown[column] for line in lines(text))]) for column in shown
    )
    sideways = width > WIDEST * TEXT
    across, down = (TEXT_HEIGHT, TEXT) if sideways else (TEXT, TEXT_HEIGHT)
    room = max(down - LINE * (4 + len(caption) * DIGIT // across), down / 4)  # points: less caption and headings
    high = shown.map(lambda text: len(textwrap.wrap(text, LONG_TEXT - 8) if len(text) > LONG_TEXT else lines(text)))
    high = high.max(axis=1).cumsum() * LINE * min(1, across / width)  # points, down to each row
    n_parts = int(-(-high.iloc[-1] // room))
    parts = [rows.index for _, rows in shown.groupby((high - 1) // (high.iloc[-1] / n_parts))]
    texts = []
    for k, rows in enumerate(parts):
        text = _styled(shown.loc[rows], bold.loc[rows], cell, head).to_latex(
            column_format="".join(sides.values()),
            environment="sidewaystable" if sideways else "table",
            position="p" if sideways else "t",
            position_float="centering",
            hrules=True,
            caption=latex(caption) if k == 0 else "(continued)",
            label=label if k == 0 else None,
            convert_css=True,
        )
        before, tabular, after = re.fullmatch(r"(.*?)(\\begin\{tabular\}.*\\end\{tabular\}\n)(.*)", text, re.S).groups()
        same = "\\addtocounter{table}{-1}\n" if k else ""  # the number of the first part
        texts.append(
            f"{same}{before}\\small\\setlength{{\\tabcolsep}}{{4pt}}\n"
            f"\\begin{{adjustbox}}{{max width=\\linewidth}}\n{tabular}\\end{{adjustbox}}\n{after}"
        )
    needed = "booktabs,adjustbox" + ",rotating" * sideways
    return f"% needs \\usepackage{{{needed}}}\n{''.join(texts)}"


def _width(texts: list[str]) -> float:
    """About the width of a column in \\small, points: of its longest line, with the gap to the next column."""
    narrow = [len(re.findall(r"[.,\[\]il ]", text)) for text in texts]
    wide = [DIGIT * len(text) - (DIGIT - NARROW) * n for text, n in zip(texts, narrow, strict=True)]
    return max(0.4 * TEXT if len(text) > LONG_TEXT else points for text, points in zip(texts, wide, strict=True)) + GAP


def _is_numeric(cells: pd.Series) -> bool:
    return cells[cells != NOTHING].str.match(r"[<−]? ?\d").mean() > 0.5


def _stack(lines: list[str], layout: str, below: str = "") -> str:
    """One line as it is, several above each other in a table of their own; below: what ends that table."""
    text = r"\\{}".join(map(latex, lines))  # {}: a line may start with a bracket
    return text if len(lines) == 1 else rf"\begin{{tabular}}{layout}{text}{below}\end{{tabular}}"
