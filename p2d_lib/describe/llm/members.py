"""Which members of an object are the description and the scores, wherever in it and however named they stand."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from p2d_lib.describe.llm.loose_syntax import Repeated
from p2d_lib.vocabulary import FEATURES

DESCRIPTION = "description"
NAMES = {name: name for name in FEATURES} | {feature.field: name for name, feature in FEATURES.items()}
_DEEPEST = 6  # levels of objects
_SCORE = ("score", "value", "rating")
_LABEL = ("name", "feature", "attribute", "key", "field", "id")
_BESIDE = re.compile(
    r"confid|certain|probab|reason|rational|explan|comment|example|draft|previous|justif|evidence", re.I
)


def _letters(text: str) -> str:
    return re.sub("[^a-z]", "", text.lower().replace("colour", "color"))


_BY_LETTERS = {_letters(spelling): name for name, feature in FEATURES.items() for spelling in (feature.phrase, name)}


class Member(NamedTuple):
    """A description or a score. depth: of the object that it stands in, 0: the outermost."""

    name: str  # "description" or a feature
    value: object
    depth: int
    repairs: tuple[str, ...]


def members(value: dict) -> tuple[dict[str, list], list[str]]:
    """The values of the description and of each feature that an object has, and the names of the repairs.

    Where a name stands at several depths, the outermost counts: deeper ones belong to confidences, examples and the
    like. A JSON schema has no values, unless they were filled into it.
    """
    candidates = list(_walk(value, 0, in_schema=False))
    outermost: dict[str, int] = {}
    for member in candidates:
        outermost[member.name] = min(member.depth, outermost.get(member.name, member.depth))
    values: dict[str, list] = {}
    repairs = []
    for member in candidates:
        if not member.name or member.depth > outermost[member.name]:
            repairs.append("extra field")
            continue
        values.setdefault(member.name, []).append(member.value)
        repairs += member.repairs
    return values, repairs


def rank(value: dict) -> int:
    """How much of an answer an object is: 3: it has a description and most scores, 2: a description and a score, 1: one
    of both, 0: neither. So an answer comes before the example of a form that follows it.
    """
    values, _ = members(value)
    n_scores = sum(name in FEATURES for name in values)
    return (DESCRIPTION in values) + (n_scores > 0) + (DESCRIPTION in values and 2 * n_scores >= len(FEATURES))


def _walk(value: object, depth: int, in_schema: bool, repairs: tuple[str, ...] = ()) -> Iterator[Member]:
    """All members below a value; one with the name "" stands for a field that nobody asked for."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, depth, in_schema, repairs) if isinstance(item, dict) else ()
        return
    if label := _label(value):
        score = next(key for key in value if str(key).lower() in _SCORE)
        yield Member(label, value[score], depth, (*repairs, "wrapped"))
        return
    schema = _is_schema(value)
    for key, member in value.items():
        name = _name(str(key))
        how = repairs + (() if key in NAMES or key == DESCRIPTION else ("respelled",))
        if schema and key != "properties":
            continue
        if name in FEATURES:
            score = _score_in(member)
            if not (in_schema and isinstance(score, dict)):
                yield Member(name, score, depth, how + ("wrapped",) * (score is not member))
        elif name == DESCRIPTION and (texts := _texts(member)) is not None:
            yield from (Member(name, text, depth, how + ("wrapped",) * (type(member) is list)) for text in texts)
        else:
            yield from _below(str(key), member, depth, in_schema or schema, repairs)


def _below(key: str, member: object, depth: int, in_schema: bool, repairs: tuple[str, ...]) -> Iterator[Member]:
    """The members in a field that is neither a description nor a score; itself, as one with the name "", if none is."""
    inner, members_below = _inner(member), []
    if inner is not None and not _BESIDE.search(key):
        how = ("encoded twice",) * isinstance(member, str) + ("wrapped",) * (_letters(key) != "features")
        members_below = list(_walk(inner, depth + 1, in_schema, repairs + how))
    yield from members_below or [Member("", None, depth, ())] * (not in_schema)


def _texts(member: object) -> list | None:
    """The texts of a description: several where its name repeats, lines joined; None for what holds something else."""
    if isinstance(member, Repeated):
        return member
    if isinstance(member, list) and all(isinstance(line, str) for line in member):
        return [" ".join(member)]
    return None if isinstance(member, dict | list) else [member]


def _name(key: str) -> str:
    """The feature or "description" that a key names, in any spelling; "": neither."""
    if key in NAMES:
        return NAMES[key]
    letters = re.sub("(score|value|rating)$", "", _letters(key)) or _letters(key)
    return DESCRIPTION if letters.endswith(DESCRIPTION) else _BY_LETTERS.get(letters, "")


def _inner(member: object) -> dict | list | None:
    """A member that may hold others: an object, a list, or either of them as text."""
    if isinstance(member, str) and member.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            member = json.loads(member)
    return member if isinstance(member, dict | list) else None


def _label(value: dict) -> str:
    """The feature of {"name": "asymmetry", "score": 0.3}; "" for another object."""
    keys = {str(key).lower(): key for key in value}
    label = next((value[keys[name]] for name in _LABEL if isinstance(value.get(keys.get(name)), str)), "")
    return _name(label) if _name(label) in FEATURES and any(key in keys for key in _SCORE) else ""


def _score_in(member: object) -> object:
    """The score of {"score": 0.3, "reason": "..."}; any other member as it is."""
    keys = [key for key in member if str(key).lower() in _SCORE] if isinstance(member, dict) else []
    return member[keys[0]] if len(keys) == 1 else member


def _is_schema(value: dict) -> bool:
    """Whether an object is a JSON schema, or a schema that an answer was filled into."""
    scores = (key for key, member in value.items() if _name(str(key)) in FEATURES and not isinstance(member, dict))
    return isinstance(value.get("properties"), dict) and not any(scores)
