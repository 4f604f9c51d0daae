"""How far reviewers agree: kappa for acceptance and for each feature."""

from collections.abc import Iterable

import pandas as pd

from p2d_lib.app.review_log import Reviews
from p2d_lib.instruments import agreement
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import PRESENT

KEPT = "kept or rejected"
COLUMNS = ("question", *agreement.COLUMNS)


def table(reviews: Reviews, image_ids: Iterable[str]) -> pd.DataFrame:
    """One row per question and pair of reviewers, COLUMNS, see `agreement.kappa`; blind decisions on image_ids.

    Questions: whether a description was kept (accepted, edited) or rejected; and of each feature whether a prompt would
    mention it (score from `render.PRESENT` on), on images whose description both kept. All start from the machine's
    scores, so two people who only accept agree perfectly: kappa is an upper bound of what they would agree on alone.
    """
    image_ids = list(image_ids)
    decided = {
        name: [of_name.get(image_id) for image_id in image_ids] for name, of_name in reviews.blind.items() if of_name
    }
    answers = {KEPT: {name: [_kept(one) for one in column] for name, column in decided.items()}}
    for feature in FEATURES:
        answers[feature] = {name: [_present(one, feature) for one in column] for name, column in decided.items()}
    parts = [
        agreement.kappa(pd.DataFrame(columns, image_ids, dtype=object)).assign(question=question)
        for question, columns in answers.items()
    ]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def _kept(decision: dict | None) -> bool | None:
    return None if decision is None else decision["verdict"] != "reject"


def _present(decision: dict | None, feature: str) -> bool | None:
    if not _kept(decision) or decision["scores"][feature] is None:
        return None
    return decision["scores"][feature] >= PRESENT
