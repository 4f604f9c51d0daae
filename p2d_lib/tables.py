"""Tables of the paper: CSV for machines, LaTeX (booktabs) for the article."""

import pandas as pd
from pandas.io.formats.style import Styler

from p2d_lib.run import Run, atomic


def interval(estimate: float, low: float, high: float, digits: int = 3) -> str:
    """ "0.712 [0.688, 0.735]"; an estimate that is NaN gives "–"."""
    if estimate != estimate:
        return "–"
    return f"{estimate:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def save(
    run: Run, name: str, table: pd.DataFrame, caption: str, best: dict[str, str] | None = None, digits: int = 3
) -> Styler:
    """Writes tables/<run>/<name>.csv and .tex and their provenance; returns the table as a notebook shows it.

    table: its columns as they shall be read, the index as first columns (unless it is a plain range). best: {column:
    "min" | "max"}: the best value of the column is set in bold. caption: with n, seeds and feature extractor where
    they apply; "phantom data" is added by itself.
    """
    caption = f"{caption} {run.note.capitalize()}." if run.note else caption
    flat = table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
    shown, latex = (_style(flat, caption, best or {}, digits, escape) for escape in ("html", "latex"))
    for suffix, text in (
        ("csv", flat.to_csv(index=False, float_format=f"%.{digits + 3}g", lineterminator="\n")),
        (
            "tex",
            latex.to_latex(
                hrules=True, convert_css=True, label=f"tab:{name}", position="t", position_float="centering"
            ),
        ),
    ):
        path = run.tables / f"{name}.{suffix}"
        with atomic(path) as partial:
            partial.write_text(text)
        run.provenance(path, beside=run.folder / "tables" / path.name)
    return shown


def _style(table: pd.DataFrame, caption: str, best: dict[str, str], digits: int, escape: str) -> Styler:
    styler = table.style.hide(axis="index").set_caption(caption).format_index(escape=escape, axis=1)
    styler = styler.format(precision=digits, na_rep="–" if escape == "html" else "--", escape=escape)
    for column, which in best.items():
        numbers = pd.to_numeric(table[column], errors="coerce")
        bold = ["font-weight: bold" * won for won in numbers == getattr(numbers, which)()]
        styler = styler.apply(lambda _, bold=bold: bold, subset=[column])
    return styler
