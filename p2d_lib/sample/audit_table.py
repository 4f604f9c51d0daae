"""The table of a memorisation audit that somebody brings."""

import re
from pathlib import Path

import pandas as pd

from p2d_lib import table_files
from p2d_lib.suggest import did_you_mean

AS_FILE = re.compile(r"[/\\]|\.(?:png|jpe?g)$", re.IGNORECASE)
NEEDED = ("image_id", "memorised")


class AuditError(Exception):
    """A table of an audit that cannot be used; the message names file, line and value."""


def read(path: str | Path) -> pd.DataFrame:
    """The verdicts of an audit: image_id, memorised (bool), and sha256 (text) where the table has it.

    Any table that `table_files.read` reads; memorised is a word for true or false as R, Excel or people write it.
    Raises AuditError for a missing column, another value, an image without a name, and one that comes twice; the
    verdict on a name that no image has would be passed over.
    """
    try:
        table = table_files.read(path, columns=NEEDED)
    except table_files.TableError as error:
        raise AuditError(str(error)) from None
    for column in NEEDED:
        if column not in table:
            near = did_you_mean(column, table.columns)
            raise AuditError(f"{path}: has no column {column!r}{near}; it needs {' and '.join(NEEDED)}")
    unnamed, twice = table_files.missing(table["image_id"]), table["image_id"].duplicated()
    memorised = table["memorised"].map(table_files.truth)
    digests = table.get("sha256", pd.Series("0" * 64, table.index)).str.lower()
    for wrong, column, expected in (
        (unnamed, "image_id", "the name of an image"),
        (table["image_id"].str.contains(AS_FILE), "image_id", "the name of an image, without folder and .png"),
        (twice, "image_id", "each image once"),
        (memorised.isna(), "memorised", "true or false"),
        (~digests.str.fullmatch("[0-9a-f]{64}"), "sha256", "64 hexadecimal digits; leave the column out if unknown"),
    ):
        if wrong.any():
            line = wrong.idxmax()
            raise AuditError(f"{path}, line {line}: {column} is {table[column][line]!r}, expected {expected}")
    verdicts = table[["image_id"]].assign(memorised=memorised.astype(bool))
    return (verdicts.assign(sha256=digests) if "sha256" in table else verdicts).reset_index(drop=True)
