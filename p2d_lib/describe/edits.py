"""People's reviews of the describers' descriptions: additional rows, which take priority over the others."""

import math
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from p2d_lib import table_files
from p2d_lib.describe.llm.replies import one_line
from p2d_lib.describe.table import rows
from p2d_lib.suggest import did_you_mean
from p2d_lib.vocabulary import FEATURES

LONGEST_NAME = 60  # letters of a reviewer's name, as of a reader's
COLUMNS = ("image_id", "reviewer", "text", "rejected", *FEATURES)


class EditError(Exception):
    """A line of a file of edits that cannot be used; the message names file, line and value."""


def read_edits(path: Path, descriptions: pd.DataFrame) -> pd.DataFrame:
    """The edits in a table (see `cells`) as rows of descriptions with `reviewer` filled.

    A cell without a value takes that of the first of the image's `descriptions`. Raises EditError.
    """
    machine = descriptions.drop_duplicates("image_id").set_index("image_id")
    edited = [_edit(row, machine, f"{path}, line {line}") for line, row in cells(path).iterrows()]
    return pd.concat(edited, ignore_index=True)


def cells(path: Path) -> pd.DataFrame:
    """The cells of a table of edits (CSV or .xlsx, see `table_files.read`), as text; "" where nothing is written, also
    for a marker of a missing value (NA, #N/A).

    Columns of the file: image_id, reviewer and any of text, rejected and the features. A feature is a number in 0..1,
    or "unknown". rejected: the reason why the image must not be described so, or a word for true or false; a rejected
    row is not valid, and the image has no description then (`words.choose`). The Review tab of the app writes such a
    file. Raises EditError for everything that is wrong whatever the run's descriptions are.
    """
    try:
        table = table_files.read(path, columns=COLUMNS[:2])
    except table_files.TableError as error:
        raise EditError(str(error)) from None
    if lacking := [name for name in COLUMNS[:2] if name not in table]:
        foreign = {name.casefold(): name for name in table if name not in COLUMNS}
        near = [f": rename column {foreign[like]!r} to {lacking[0]}" for like in get_close_matches(lacking[0], foreign)]
        raise EditError(
            f"{path}: has no column {lacking[0]!r}{''.join(near[:1])}; it needs image_id, reviewer and the columns "
            "that were changed"
        )
    if foreign := [name for name in table if name not in COLUMNS]:
        raise EditError(
            f"{path}: {foreign[0]!r} is no column of edits{did_you_mean(foreign[0], COLUMNS)}; write text, rejected or "
            "a feature of the vocabulary, and remove all other columns, also those without a name"
        )
    table = table.mask(table.apply(table_files.missing), "")
    for line, row in table.iterrows():
        _check(row, f"{path}, line {line}")
    twice = table.assign(reviewer=table["reviewer"].str.casefold()).duplicated(["image_id", "reviewer"])
    if twice.any():
        line = twice.idxmax()
        first = table.loc[line]
        raise EditError(f"{path}, line {line}: {first.reviewer} has edited {first.image_id} twice; keep one")
    return table


def _check(row: pd.Series, where: str) -> None:
    if not row["image_id"]:
        raise EditError(f"{where}: image_id is empty; name the image, or remove the row")
    if not row["reviewer"]:
        raise EditError(f"{where}: reviewer is empty: say who edited {row['image_id']}")
    if (name := row["reviewer"]) != one_line(name) or len(name) > LONGEST_NAME:
        raise EditError(
            f"{where}: reviewer is {name[:LONGEST_NAME]!r}; write a name of one line, {LONGEST_NAME} letters at most"
        )
    for name in FEATURES:
        if value := row.get(name):
            _score(value, name, where)
    for name in ("text", "rejected"):
        if table_files.FAILED.fullmatch(words := one_line(row.get(name, ""))):
            raise EditError(
                f"{where}: {name} is {words!r}, which Excel shows for a formula that fails; write the text anew"
            )


def _edit(row: pd.Series, machine: pd.DataFrame, where: str) -> pd.DataFrame:
    image_id = row["image_id"]
    if image_id not in machine.index:
        raise EditError(
            f"{where}: no description of an image {image_id!r} to edit{did_you_mean(image_id, machine.index)}; correct "
            "the image_id, or remove the row"
        )
    before = machine.loc[image_id]
    scores = {name: _score(row[name], name, where) if row.get(name) else before[name] for name in FEATURES}
    text, valid = one_line(row.get("text", "")) or before["text"], not _is_rejected(row.get("rejected", ""))
    return rows([image_id], before["describer"], [text], [scores], valid=valid).assign(reviewer=row["reviewer"])


def _is_rejected(reason: str) -> bool:
    return bool(reason) and table_files.truth(reason) is not False  # "no" is the answer to a question, and no reason


def _score(value: str, name: str, where: str) -> float:
    if value.lower() == "unknown":
        return math.nan
    score = table_files.number(value)
    if score is None or not 0 <= score <= 1:
        raise EditError(f"{where}: {name} is {value!r}; write a score from 0 to 1, or unknown")
    return score
