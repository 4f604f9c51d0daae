"""What language models reply about an image -> a text and 22 scores, with every repair on the way named and counted.

A reply is a JSON object with a description and the scores, flat or under "features", named as in the vocabulary or as
the original prompt2derm named them ("Border Irregularity"). What models make of that is mended where it leaves no doubt
and left unknown (NaN) where it does: no score is clipped, guessed or taken from a value that was cut off.
"""

import ast
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Annotated, NamedTuple

import pandas as pd
from pydantic import ConfigDict, Field, create_model

from p2d_lib.describe.table import rows
from p2d_lib.vocabulary import FEATURES

REPAIRS = {  # what is done to a reply, or found wrong with it
    "fenced": "JSON taken out of a ``` fence",
    "text around": "text before or after the JSON left out",
    "loose syntax": "single quotes or trailing commas read as Python reads them",
    "cut off": "kept up to the last value that is whole",
    "respelled": "a name in another spelling (Border-irregularity) understood",
    "score as text": '"0.3" or "30%" read as 0.3',
    "score out of range": "outside 0..1: unknown",
    "no number": "a score that is no number: unknown",
    "given twice": "a score given twice, with different values: unknown",
    "score missing": "unknown",
    "extra field": "left out",
    "no description": "the reply has scores and no text",
    "refused": "nothing known of the image",
    "no JSON": "nothing known of the image",
}
_SCORE = Annotated[float, Field(ge=0, le=1)]
Reply = create_model(
    "Reply",
    __config__=ConfigDict(extra="forbid"),
    __doc__="What a model is asked for: a description, then the features' scores in 0..1, all required.",
    description=str,
    **{name: (_SCORE, Field(description=feature.phrase)) for name, feature in FEATURES.items()},
)
QUESTION = "\n".join(
    [
        "This is a dermoscopic image of one skin lesion. Describe in two or three sentences what is seen, without "
        "naming a diagnosis. Then score each feature from 0 (absent, none, lightest) to 1 (marked, much, darkest).",
        *(f"- {name}: {feature.phrase}" for name, feature in FEATURES.items()),
        'Reply with one JSON object: "description" first, then a number from 0 to 1 under the name of each feature.',
    ]
)
_NAMES = {name: name for name in FEATURES} | {feature.field: name for name, feature in FEATURES.items()}
_FENCE = re.compile(r"```[\w-]*\s*(.*?)(?:```|$)", re.DOTALL)
_REFUSAL = re.compile(
    r"^.{0,60}?\b(?:(?:i['’]m|i am) (?:very |so )?sorry|i apologi[sz]e|"
    r"i(?:['’]m| am)? (?:can['’]?t|cannot|can not|won['’]t|unable to|not able to) "
    r"(?:assist|help|analy[sz]e|provide|describe|comply|do (?:this|that)|process|interpret|evaluate|diagnose|score|"
    r"(?:view|see|open) (?:the |this |any |your )?images?))",
    re.IGNORECASE | re.DOTALL,
)
_ONE_AT_A_TIME = threading.Lock()  # Python 3.11's ast is not safe in threads (python/cpython#106905)
_SHOWN = 200  # characters of a reply that could not be used


class ReplyError(Exception):
    """A line that says of no image what it shows; the message names file and line."""


class Parsed(NamedTuple):
    """What a reply says. Of one that says nothing of the image the text is "[why] what it says instead"."""

    text: str
    features: dict[str, float]  # all 22, 0..1 or NaN: unknown
    repairs: list[str]  # names out of REPAIRS, each once

    @property
    def valid(self) -> bool:
        """Whether nothing is missing: a text and all scores."""
        return bool(self.text) and not any(map(math.isnan, self.features.values()))

    @property
    def usable(self) -> bool:
        """Whether anything was said of the image."""
        return not {"refused", "no JSON"} & set(self.repairs)


def parse(reply: str) -> Parsed:
    """Reads one reply, whatever it holds; nothing is raised."""
    repairs: list[str] = []
    found = _json(reply, repairs)
    description = _one_line(found.get("description", "")) if found else ""
    if _REFUSAL.match(description or reply.strip()):
        return unusable(reply, "refused")
    if not found:
        return unusable(reply, "no JSON")
    features = _features(found, repairs)
    if not description:
        repairs.append("no description")
    return Parsed(description, features, list(dict.fromkeys(repairs)))


def unusable(reply: str, why: str) -> Parsed:
    """A reply that says nothing of its image; why: "refused" or "no JSON"."""
    return Parsed(f"[{why}] {_one_line(reply)[:_SHOWN]}".strip(), dict.fromkeys(FEATURES, math.nan), [why])


def described(
    image_ids: Sequence[str],
    describer: str,
    parsed: Sequence[Parsed],
    seconds: Sequence[float] | float = 0.0,
    cost: Sequence[float] | float = 0.0,
) -> pd.DataFrame:
    """Replies as `table.rows`; what was repaired stays with the table, in its attrs, for `repairs`."""
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
    """How many replies behind tables of `described` needed which repair.

    Columns: repair, meaning, n (replies); every repair has a row. attrs do not survive a concat: give the parts.
    """
    counts = sum((Counter(table.attrs["repairs"]) for table in tables), Counter())
    return pd.DataFrame({"repair": list(REPAIRS), "meaning": list(REPAIRS.values()), "n": [counts[r] for r in REPAIRS]})


def read(path: Path, describer: str) -> pd.DataFrame:
    """Replies as the original prompt2derm collected them, as `described`, one row a line, in the file's order.

    One JSON object a line: {"image": "mel\\\\ISIC_0273046.jpg", "class": "mel", "description": "", "features": {}}.
    Raises ReplyError for a line that is no reply at all and for an image that comes twice.
    """
    parsed: dict[str, Parsed] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            reply = json.loads(line)
            image_id = PureWindowsPath(reply["image"]).stem  # takes / and \ alike
            said = {"description": reply.get("description"), "features": dict(reply["features"])}
        except (ValueError, TypeError, KeyError) as error:
            raise ReplyError(f"{where}: not a reply with image, description and features ({error!r})") from None
        if image_id in parsed:
            raise ReplyError(f"{where}: {image_id} has a reply in line {lines[image_id]}; remove one")
        parsed[image_id], lines[image_id] = parse(json.dumps(said)), number
    return described(list(parsed), describer, list(parsed.values()))


def _json(reply: str, repairs: list[str]) -> dict:
    """The object in a reply, the last one where there are several; {} where there is none."""
    text = reply.strip()
    fenced = [found for found in _FENCE.finditer(text) if "{" in found[1]]
    if fenced:
        repairs.append("fenced")
        text, outside = fenced[-1][1].strip(), text[: fenced[-1].start()] + text[fenced[-1].end() :]
        repairs += ["text around"] * bool(outside.strip())
    found = _strict(text)
    if not any("description" in value for _, value, _ in found):  # an inner object may be whole by itself
        found += _mended(text)
    found = [each for each in found if "description" in each[1]] or found
    for how, value, around in found:
        if _says_something(value):
            repairs += ["text around"] * bool(around.strip()) + how
            return value
    return {}


def _strict(text: str) -> list[tuple[list[str], dict, str]]:
    """The JSON objects in a text, the last one first: repairs, object, the text around it."""
    decoder, found, start = json.JSONDecoder(object_pairs_hook=_unambiguous, strict=False), [], text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
            found.append(([], value, text[:start] + text[end:]))
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return found[::-1]


def _mended(text: str) -> list[tuple[list[str], dict, str]]:
    """The object that a text's braces enclose, read as Python, and the one they begin, closed; as `_strict`."""
    start, end = text.find("{"), text.rfind("}") + 1
    found = []
    if 0 <= start < end:
        with _ONE_AT_A_TIME, suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found.append((["loose syntax"], ast.literal_eval(text[start:end]), text[:start] + text[end:]))
    if start >= 0:
        with suppress(ValueError, RecursionError):
            found.append((["cut off"], json.loads(_closed(text[start:]), strict=False), text[:start]))
    return [each for each in found if isinstance(each[1], dict)]


class _Twice(list):
    """The values of a name that an object has more than once."""


def _unambiguous(pairs: list[tuple[str, object]]) -> dict:
    found: dict = {}
    for name, value in pairs:
        found[name] = _Twice([found[name], value]) if name in found else value
    return found


def _says_something(value: dict) -> bool:
    return "description" in value or any(_name(key) in FEATURES for key in _members(value))


def _members(found: dict) -> dict:
    """An object's members, those under "features" among them."""
    inner = found.get("features")
    if not isinstance(inner, dict):
        return found
    return {key: value for key, value in found.items() if key != "features"} | inner


def _name(key: object) -> str:
    plain = re.sub(r"[\s-]+", "_", str(key).strip().lower()).replace("colour", "color")
    return _NAMES.get(str(key), plain)


def _features(found: dict, repairs: list[str]) -> dict[str, float]:
    given: dict[str, list] = {}
    for key, value in _members(found).items():
        name = _name(key)
        if name in FEATURES:
            given.setdefault(name, []).append(value)
            repairs += ["respelled"] * (key not in _NAMES)
        elif key != "description":
            repairs.append("extra field")
    return {name: _score(given[name], repairs) if name in given else _missing(repairs) for name in FEATURES}


def _missing(repairs: list[str]) -> float:
    repairs.append("score missing")
    return math.nan


def _score(values: list, repairs: list[str]) -> float:
    values = [one for value in values for one in (value if isinstance(value, _Twice) else [value])]
    if any(value != values[0] for value in values[1:]):
        repairs.append("given twice")
        return math.nan
    value = values[0]
    if isinstance(value, str) and (text := re.fullmatch(r"\s*(\d*\.?\d+)\s*(%?)\s*", value)):
        repairs.append("score as text")
        value = float(text[1]) / (100 if text[2] else 1)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        repairs.append("no number")
        return math.nan
    if not 0 <= value <= 1:
        repairs.append("score out of range")
        return math.nan
    return float(value)


def _closed(text: str) -> str:
    """An object that was cut off, up to its last member that a comma ends, and closed; "" where there is none."""
    opened, whole, inside = [], "", False
    for place, found in ((match.start(), match[0]) for match in re.finditer(r'\\.|["{}\[\],]', text, re.DOTALL)):
        if found == '"':
            inside = not inside
        elif inside or found.startswith("\\"):
            continue
        elif found in "{[":
            opened.append("}" if found == "{" else "]")
        elif found in "}]":
            if not opened or opened.pop() != found:
                return ""
        else:
            whole = text[:place] + "".join(reversed(opened))
    return whole


def _one_line(text: object) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""
