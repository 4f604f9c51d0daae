"""A language model's reply about an image -> a text and 22 scores; every repair on the way is named and counted.

A reply is a JSON object with a description and the scores, flat or under "features", named as in the vocabulary or as
the original prompt2derm named them ("Border Irregularity"). Faults are repaired where the meaning is clear; where it is
not, the score is unknown (NaN): no score is clipped, guessed or taken from a value that was cut off. json_object.py
takes the object out of the reply, and members.py the description and the scores out of the object.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd
from pydantic import ConfigDict, Field, create_model

from p2d_lib.describe.llm.json_object import last_object
from p2d_lib.describe.llm.loose_syntax import Repeated
from p2d_lib.describe.llm.members import DESCRIPTION, members, rank
from p2d_lib.describe.llm.refusal import is_refusal
from p2d_lib.describe.table import rows
from p2d_lib.parameters.types import ShareFrom0To1
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words import thinking

REPAIRS = {  # repairs and faults of a reply
    "other field": "the answer stood beside the content of the message: a tool's arguments or the reasoning",
    "fenced": "JSON taken out of a ``` fence",
    "text around": "text before or after the JSON ignored",
    "loose syntax": "single quotes, missing or extra commas and the like mended",
    "cut off": "kept up to the last value that is complete",
    "encoded twice": "JSON that was given as text within JSON decoded",
    "wrapped": "scores and text taken out of an object or list around them",
    "respelled": "a name in another spelling (Border-irregularity) recognised",
    "score as text": '"0.3", "0,3" or "30%" taken as 0.3',
    "score out of range": "outside 0..1: unknown",
    "other scale": "three or more scores above 1, as on a scale to 10: all unknown",
    "no number": "a score that is no number: unknown",
    "given twice": "a score or text given twice, with different values: unknown",
    "score missing": "unknown",
    "extra field": "ignored",
    "no description": "the reply has scores and no text",
    "refused": "nothing known of the image",
    "unfilled": "the form came back as it was sent: nothing known of the image",
    "no JSON": "nothing known of the image",
}
Reply = create_model(
    "Reply",
    __config__=ConfigDict(extra="forbid"),
    __doc__="What a model is asked for: a description, then the features' scores in 0..1, all required.",
    description=str,
    **{name: (ShareFrom0To1, Field(description=feature.phrase)) for name, feature in FEATURES.items()},
)
QUESTION = "\n".join(
    [
        "This is a dermoscopic image of one skin lesion. Describe in two or three sentences what is seen, without "
        "naming a diagnosis. Then score each feature from 0 (absent, none, lightest) to 1 (marked, much, darkest).",
        *(f"- {name}: {feature.phrase}" for name, feature in FEATURES.items()),
        'Reply with one JSON object: "description" first, then a number from 0 to 1 under the name of each feature.',
    ]
)
_OTHER_SCALE = 3  # scores above 1, of which a single one may be a slip
_UNFILLED = re.compile(  # what forms and schemas have in place of a description
    r"(string|text|description|your description.*|two or three sentences.*|\.\.\.|…|<[^<>]*>|\[[^\[\]]*\]|\{+[^{}]*\}+)"
    r"\.?",
    re.IGNORECASE,
)
_SHOWN = 200  # characters that are kept of a reply that cannot be used


class Parsed(NamedTuple):
    """A reply about an image. Without any information on the image, its text is "[reason] beginning of the reply"."""

    text: str
    features: dict[str, float]  # all 22, 0..1 or NaN: unknown
    repairs: list[str]  # names out of REPAIRS, each once

    @property
    def valid(self) -> bool:
        """Whether nothing is missing: a text and all scores."""
        return bool(self.text) and not any(map(math.isnan, self.features.values()))


def parse(reply: str, is_cut: bool = False) -> Parsed:
    """Text, scores and repairs of one reply; nothing is raised, whatever the reply holds.

    is_cut: whether the reply ended because there were no tokens left.
    """
    value, repairs = last_object(reply, rank, is_cut)
    values, of_members = members(value)
    repairs += of_members
    description = _description(values.get(DESCRIPTION, []), repairs)
    if is_refusal(description or thinking.answer(reply).strip()):
        return unusable(reply, "refused")
    if not value:
        return unusable(reply, "no JSON")
    features = _features(values, repairs)
    if _UNFILLED.fullmatch(description):
        description = ""
        if len(set(features.values())) == 1:
            return unusable(reply, "unfilled")
    if not description:
        repairs.append("no description")
    return Parsed(description, features, list(dict.fromkeys(repairs)))


def unusable(reply: str, why: str) -> Parsed:
    """A reply without information on its image; why: "refused", "unfilled" or "no JSON"."""
    return Parsed(f"[{why}] {one_line(reply)[:_SHOWN]}".strip(), dict.fromkeys(FEATURES, math.nan), [why])


def described(
    image_ids: Sequence[str],
    describer: str,
    parsed: Sequence[Parsed],
    seconds: Sequence[float] | float = 0.0,
    cost: Sequence[float] | float = 0.0,
) -> pd.DataFrame:
    """Replies as `table.rows`; the counts of repairs are kept in the table's attrs, for `repairs`."""
    table = rows(
        image_ids,
        describer,
        [reply.text for reply in parsed],
        [reply.features for reply in parsed],
        [reply.valid for reply in parsed],
        seconds,
        cost,
    )
    table.attrs["repairs"] = dict(Counter(name for reply in parsed for name in reply.repairs))
    return table


def repairs(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """How many replies, needed which repair, over tables of `described`.

    Columns: repair, meaning, n (replies); every repair has a row. attrs do not survive a concat: give the parts.
    """
    counts = sum((Counter(table.attrs["repairs"]) for table in tables), Counter())
    return pd.DataFrame({"repair": list(REPAIRS), "meaning": list(REPAIRS.values()), "n": [counts[r] for r in REPAIRS]})


def _features(values: dict[str, list], repairs: list[str]) -> dict[str, float]:
    numbers = {name: _number(values[name], repairs) if name in values else _missing(repairs) for name in FEATURES}
    if sum(number > 1 for number in numbers.values()) >= _OTHER_SCALE:
        repairs.append("other scale")
        return dict.fromkeys(FEATURES, math.nan)
    outside = [name for name, number in numbers.items() if number < 0 or number > 1]
    repairs += ["score out of range"] * len(outside)
    return {name: math.nan if name in outside else float(number) for name, number in numbers.items()}


def _missing(repairs: list[str]) -> float:
    repairs.append("score missing")
    return math.nan


def _number(values: list, repairs: list[str]) -> float:
    """The number that all values of a score agree on, of any size; NaN where there is none."""
    values = [one for value in values for one in (value if isinstance(value, Repeated) else [value])]
    if any(value != values[0] for value in values[1:]):
        repairs.append("given twice")
        return math.nan
    value = values[0]
    if isinstance(value, str) and (text := re.fullmatch(r"\s*\+?(\d*\.?\d+|[01],\d{1,2})\s*(%?)\s*", value)):
        repairs.append("score as text")
        value = float(text[1].replace(",", ".")) / (100 if text[2] else 1)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        repairs.append("no number")
        return math.nan
    return value


def _description(texts: list, repairs: list[str]) -> str:
    lines = {one_line(text) for text in texts}
    if len(lines) > 1:
        repairs.append("given twice")
    return lines.pop() if len(lines) == 1 else ""


def one_line(text: object) -> str:
    """A text in one line, without characters that tables cannot hold; "" for what is no text."""
    characters = text if isinstance(text, str) else ""
    return " ".join("".join(each for each in characters if each.isprintable() or each.isspace()).split())
