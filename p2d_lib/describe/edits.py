"""What people changed of the machine's descriptions: rows of their own, which win over the machine's."""

import math
from pathlib import Path

import pandas as pd

from p2d_lib.describe.table import rows
from p2d_lib.vocabulary import FEATURES


class EditError(Exception):
    """A line of a file of edits that cannot be used; the message names file, line and value."""


def read(path: Path, descriptions: pd.DataFrame) -> pd.DataFrame:
    """The edits in a CSV file as rows of descriptions, `reviewer` filled, machine rows untouched.

    Columns: image_id, reviewer and any of text and the features; what is left empty stays as the first of the
    image's `descriptions` has it. A feature is written as 0..1, or "unknown" to withdraw it. Raises EditError.
    """
    given = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := {"image_id", "reviewer"} - set(given):
        raise EditError(f"{path}: has no column {min(missing)!r}; it needs image_id, reviewer and what was changed")
    if foreign := set(given) - {"image_id", "reviewer", "text", *FEATURES}:
        raise EditError(f"{path}: {min(foreign)!r} is no column of edits: write text or a feature of the vocabulary")
    machine = descriptions.drop_duplicates("image_id").set_index("image_id")
    edited = []
    for line, row in enumerate(given.to_dict("records"), start=2):
        where = f"{path}, line {line}"
        if row["image_id"] not in machine.index:
            raise EditError(f"{where}: no description of an image {row['image_id']!r} to edit")
        if not row["reviewer"]:
            raise EditError(f"{where}: reviewer is empty: say who edited {row['image_id']}")
        before = machine.loc[row["image_id"]]
        scores = {name: _score(row[name], name, where) if row.get(name) else before[name] for name in FEATURES}
        text = row.get("text") or before["text"]
        edited.append(rows([row["image_id"]], before["describer"], [text], [scores]).assign(reviewer=row["reviewer"]))
    twice = given.duplicated(["image_id", "reviewer"])
    if twice.any():
        first = given[twice].iloc[0]
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
