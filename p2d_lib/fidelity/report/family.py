"""The family of hypotheses as a table."""

import pandas as pd

from p2d_lib.fidelity.report.cells import SPLITS, number
from p2d_lib.report import tables

HEADINGS = {
    "kid": "KID, difference",
    "auc": "AUC",
    "wins": "own prompt fits better",
    "copying": "nearer to train than to unseen images",
}


def tests_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The whole family of hypotheses: what is compared, by which measure, its estimate, p and p by Holm."""
    return pd.DataFrame({
        "first": tests["first"].replace(SPLITS),
        "second": tests["second"].replace(SPLITS),
        "measure": tests["measure"].map(HEADINGS),
        "class": tests["dx"],
        "n": tests["n"].astype(str),
        "estimate": [number(row.measure, row.estimate, row.low, row.high) for row in tests.itertuples()],
        "p": [tables.p_value(p) for p in tests["p"]],
        "p (Holm)": [tables.p_value(p) for p in tests["holm"]],
    })  # fmt: skip
