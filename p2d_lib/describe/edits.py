"""People's edits of the describers' descriptions: additional rows, which take priority over the others."""

import math
from pathlib import Path

import pandas as pd

from p2d_lib.describe.table import rows
from p2d_lib.vocabulary import FEATURES


class EditError(Exception):
    """A line of a file of edits that cannot be used; the message names file, line and value."""


def read_edits(path: Path, descriptions: pd.DataFrame) -> pd.DataFrame:
    """The edits in a CSV file as rows of descriptions with `reviewer` filled.

    Columns of the file: image_id, reviewer and any of text and the features. An empty cell takes the value of the first
    of the image's `descriptions`. A feature is a number in 0..1, or "unknown". Raises EditError.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise EditError(f"{path}: no table in UTF-8 ({error}); save it as CSV UTF-8, with a line of headers") from None
    if missing := {"image_id", "reviewer"} - set(table):
        raise EditError(
            f"{path}: has no column {min(missing)!r}; it needs image_id, reviewer and the columns that were changed"
        )
    if foreign := set(table) - {"image_id", "reviewer", "text", *FEATURES}:
        raise EditError(f"{path}: {min(foreign)!r} is no column of edits: write text or a feature of the vocabulary")
    machine = descriptions.drop_duplicates("image_id").set_index("image_id")
    edited = []
    for line, row in enumerate(table.to_dict("records"), start=2):
        where = f"{path}, line {line}"
        if row["image_id"] not in machine.index:
            raise EditError(f"{where}: no description of an image {row['image_id']!r} to edit")
        if not row["reviewer"]:
            raise EditError(f"{where}: reviewer is empty: say who edited {row['image_id']}")
        before = machine.loc[row["image_id"]]
        scores = {name: _score(row[name], name, where) if row.get(name) else before[name] for name in FEATURES}
        text = row.get("text") or before["text"]
        edited.append(rows([row["image_id"]], before["describer"], [text], [scores]).assign(reviewer=row["reviewer"]))
    twice = table.duplicated(["image_id", "reviewer"])
    if twice.any():
        first = table[twice].iloc[0]
        raise EditError(
            f"{path}, line {twice.idxmax() + 2}: {first.reviewer} has edited {first.image_id} twice; keep one"
        )
    return (
        pd.concat(edited, ignore_index=True)
        if edited
        else descriptions.iloc[:0].drop(columns="prompt", errors="ignore")
    )


def _score(value: str, name: str, where: str) -> float:
    if value == "unknown":
        return math.nan
    try:
        score = float(value)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise EditError(f"{where}: {name} is {value!r}; write a score from 0 to 1, or unknown")
    return score
