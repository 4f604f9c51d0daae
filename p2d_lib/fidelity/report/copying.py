"""Whether generators reproduce train images, as table and sentence."""

import pandas as pd

from p2d_lib.fidelity.controls import RECONSTRUCTED
from p2d_lib.fidelity.copying import VAL
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.report import tables

NAMES = {VAL: "real (val)", RECONSTRUCTED: "train images, reconstructed"}


def copying_table(copying: pd.DataFrame) -> pd.DataFrame:
    """A row for each set of `copying.of_sets`: how much nearer to train images it lies, and the test's p."""
    return pd.DataFrame({
        "images": copying["set"].replace(NAMES),
        "n": copying["n"].astype(str),
        "nearer to train than to unseen images": [f"{value:+.4f}" for value in copying["difference"]],
        "nearest real image is of train (%)": [f"{100 * value:.0f}" for value in copying["share"]],
        "expected without copying (%)": [f"{100 * value:.0f}" for value in copying["expected"]],
        "p": [tables.p_value(p) for p in copying["p"]],
    })  # fmt: skip


def copying_finding(copying: pd.DataFrame, tests: pd.DataFrame) -> str:
    """Whether the adapter's accepted images, which 04 has checked for copies, lie nearer to train images than to unseen
    ones, beside both controls; "" where no independent extractor has looked."""
    if copying.empty:
        return ""
    rows, p = copying.set_index("set"), tests.set_index("measure").at["copying", "holm"]
    verdict = "they lie nearer to them than unseen real images allow" if p <= LEVEL else "no copying is shown"
    others = ", ".join(f"{NAMES[name]} {100 * rows.at[name, 'share']:.0f} %" for name in NAMES if name in rows.index)
    return (
        f"Of the adapter's accepted images {100 * rows.at['adapter', 'share']:.0f} % have a train image for nearest "
        f"real image, {100 * rows.at['adapter', 'expected']:.0f} % are expected without copying (Holm p "
        f"{tables.p_value(p, '= ')}: {verdict}; {others})."
    )
