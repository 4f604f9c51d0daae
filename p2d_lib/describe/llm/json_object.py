"""The JSON object in a language model's reply, which may stand in a fence, among other text, and have faulty syntax.

json-repair mends the syntax. It also guesses (">0.5" becomes 0.5, "0.5%" becomes 0.5), so each mended number is
compared with what the reply has in its place, and is replaced by that text where this is not a plain number.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from json_repair import repair_json

_FENCE = re.compile(r"```[\w-]*\s*(.*?)(?:```|$)", re.DOTALL)
_TOKEN = re.compile(  # a string, also one cut off, or a sign of structure; an apostrophe opens no string
    r"""(?<=[{\[,:\s])(["'])(?:\\.|(?!\1)[^\\])*(?:\1|$)|[{}\[\],]""", re.DOTALL
)
_MEMBER = re.compile(
    r"""(?:"([^"\n]*)"|'([^'\n]*)'|\b(\w+))\s*:\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,{}\[\]\n"']*)"""
)


class Repeated(list):
    """The values of a name that an object has more than once."""


class _Candidate(NamedTuple):
    value: dict
    around: str  # the text before and after the object
    repairs: list[str]


def last_object(reply: str, useful: Callable[[dict], bool]) -> tuple[dict, list[str]]:
    """The last useful object in a reply, and the names of the repairs it took ("fenced", "text around", ...).

    Objects with a "description" come before others: an inner object may be complete by itself. A name that has several
    values has them as `Repeated`. ({}, []) where there is no useful object.
    """
    text, repairs = reply.strip(), []
    fences = [match for match in _FENCE.finditer(text) if "{" in match[1]]
    if fences:
        repairs.append("fenced")
        text, outside = fences[-1][1].strip(), text[: fences[-1].start()] + text[fences[-1].end() :]
        repairs += ["text around"] * bool(outside.strip())
    candidates = _strict(text)
    if not any("description" in candidate.value for candidate in candidates):
        candidates += _mended(text)
    candidates = [each for each in candidates if "description" in each.value] or candidates
    for candidate in filter(lambda each: useful(each.value), candidates):
        return candidate.value, repairs + ["text around"] * bool(candidate.around.strip()) + candidate.repairs
    return {}, []


def _strict(text: str) -> list[_Candidate]:
    """The objects of a text that are JSON, the last one first; a line end within a string is no fault."""
    decoder = json.JSONDecoder(object_pairs_hook=_with_repeated_names, strict=False)
    candidates, start = [], text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
            candidates.append(_Candidate(value, text[:start] + text[end:], []))
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return candidates[::-1]


def _with_repeated_names(pairs: list[tuple[str, object]]) -> dict:
    value: dict = {}
    for name, member in pairs:
        value[name] = Repeated([value[name], member]) if name in value else member
    return value


def _mended(text: str) -> list[_Candidate]:
    """The objects from the first brace on, mended; of an object that was cut off, what stands before its last comma."""
    start = text.find("{")
    if start < 0:
        return []
    closed, last_comma = _structure(text[start:])
    end = text.rfind("}") + 1 if closed else start + last_comma
    body, around = text[start:end], text[:start] + (text[end:] if closed else "")
    values = []
    with suppress(ValueError, RecursionError):
        values = repair_json(body, return_objects=True)
    values = values if isinstance(values, list) else [values]
    written = _members_as_written(body)
    repair = ["loose syntax" if closed else "cut off"]
    return [_Candidate(_checked(value, written), around, repair) for value in values[::-1] if isinstance(value, dict)]


def _structure(body: str) -> tuple[bool, int]:
    """Whether all brackets of a text are closed, and the place of the last comma between members (0: there is none)."""
    depth, last_comma = 0, 0
    for match in _TOKEN.finditer(body):
        depth += (match[0] in "{[") - (match[0] in "}]")
        last_comma = match.start() if match[0] == "," else last_comma
    return depth == 0, last_comma


def _members_as_written(body: str) -> dict[str, list[str]]:
    """The values of each name as they stand in a text, in order."""
    written: dict[str, list[str]] = {}
    for match in _MEMBER.finditer(body):
        name = next(group for group in match.groups()[:3] if group is not None)
        written.setdefault(name, []).append(match[4].strip())
    return written


def _checked(value: dict, written: dict[str, list[str]]) -> dict:
    """A mended object: numbers that do not stand in the text become text, and names that occur twice are `Repeated`."""
    checked = {}
    for name, member in value.items():
        texts = written.get(str(name), [])
        if isinstance(member, dict):
            checked[name] = _checked(member, written)
        elif isinstance(member, int | float) and not isinstance(member, bool):
            values = [_number(text) for text in texts] or [str(member) + "?"]
            checked[name] = Repeated(values) if len(values) > 1 else values[0]
        else:
            checked[name] = member
    return checked


def _number(text: str) -> float | str:
    try:
        return json.loads(re.sub(r"^\.(?=\d)", "0.", text))
    except ValueError:
        return text
