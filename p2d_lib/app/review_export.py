"""Reviewers' decisions as the file of edits that 02 reads."""

from pathlib import Path

import pandas as pd

from p2d_lib.app.review_log import Reviews
from p2d_lib.files import atomic
from p2d_lib.vocabulary import FEATURES

FILE = "edits.csv"


def write(path: Path, reviews: Reviews) -> int:
    """Writes every standing decision as one row of edits (describe/edits.py), the oldest first; returns their number.

    A row holds the text and all 22 scores, so that what was reviewed is what 02 takes, whatever the machine says by
    then; a rejected description has its reason in the column rejected.
    """
    decisions = [decision for of_name in reviews.standing.values() for decision in of_name.values()]
    rows = [
        {
            "image_id": decision["image_id"],
            "reviewer": decision["name"],
            "text": decision["text"],
            "rejected": decision["reason"],
            **{name: "unknown" if score is None else repr(score) for name, score in decision["scores"].items()},
        }
        for decision in sorted(decisions, key=lambda decision: decision["time"])
    ]
    columns = ["image_id", "reviewer", "text", "rejected", *FEATURES]
    with atomic(path) as partial:
        pd.DataFrame(rows, columns=columns).to_csv(partial, index=False)
    return len(rows)
