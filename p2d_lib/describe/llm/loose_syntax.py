"""Objects in faulty JSON: what leaves no doubt is mended, and a number that has to be guessed becomes text.

json-repair mends the syntax. It also guesses (">0.5" becomes 0.5, "0.5%" becomes 0.5), so each mended number is
compared with what the reply has in its place, and is replaced by that text where this is not a plain number.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress

from json_repair import repair_json

MOST_STARTS = 4  # places that are tried as the beginning of an object
_COMMENT = r"//[^\n]*|/\*.*?(?:\*/|$)|(?<=[\s,{])\#[^\n]*"
_START = re.compile(
    rf"""\{{(?:\s|{_COMMENT})*("[^"\n]{{1,80}}"|'[^'\n]{{1,80}}'|[A-Za-z][\w -]{{0,80}})\s*:""", re.DOTALL
)
_TOKEN = re.compile(  # a string, also one cut off, or a sign of structure; an apostrophe opens no string
    r"""(?<=[{\[,:\s])(["'])(?:\\.|(?!\1)[^\\])*(?:\1|$)|[{}\[\],]""", re.DOTALL
)
_MEMBER = re.compile(
    r"""(?:"([^"\n]*)"|'([^'\n]*)'|\b(\w+))\s*:\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,{}\[\]\n"']*(?:["'](?=\s*:))?)"""
)
_OUTSIDE_STRINGS = re.compile(
    rf"""(?P<string>(?<=[{{\[,:\s])(["'])(?:\\.|(?!\2)[^\\])*(?:\2|$))|(?P<comment>{_COMMENT})
       |(?<=:)(?P<plus>\s*\+)(?=[.\d])|(?<=:)(?P<comma>\s*[01],\d{{1,2}})(?=\s*[,}}\n])
       |(?<=:)(?P<none>\s*[?*.–—-]+\s*)(?=[,}}\n])""",
    re.DOTALL | re.VERBOSE,
)


class Repeated(list):
    """The values of a name that an object has more than once."""


def first_name(text: str) -> str:
    """The first name of the first object that begins in a text (a brace, a name and a colon), or ""."""
    match = _START.search(text)
    return match[1].strip("\"' ") if match else ""


def is_inner(before: str) -> bool:
    """Whether what follows a text is the value of a name, and not an object by itself."""
    return bool(re.search(r"""["']\s*:\s*\[?\s*$""", before[-100:]))


def mended(text: str) -> list[tuple[dict, int, int, list[str]]]:
    """Objects in a text, the last one first, each with where it begins and ends and the repair that it took.

    "cut off": of an object that was cut off there is what stands before its last comma; "loose syntax" otherwise.
    """
    candidates = []
    starts = [match.start() for match in _START.finditer(text)]
    for start in [start for start in starts if not is_inner(text[:start])][:MOST_STARTS]:
        closed, last_comma = _structure(_tidy(text[start:]))
        end = text.rfind("}") + 1 if closed else len(text)
        body = _tidy(text[start:end])
        body = body if closed else body[:last_comma]
        values = []
        with suppress(ValueError, RecursionError, AssertionError):  # json_repair asserts what it believes of a text
            values = repair_json(body, return_objects=True)
        values = values if isinstance(values, list) else [values]
        written, repairs = _members_as_written(body), ["loose syntax" if closed else "cut off"]
        candidates += [(_checked(v, written), start, end, repairs) for v in values[::-1] if isinstance(v, dict)]
    return candidates


def _tidy(body: str) -> str:
    """Faulty JSON without comments and signs, with points as decimal commas, outside its strings.

    A comment with digits right after a value may be another value: it stays, so that the value is no number.
    """

    def tidied(match: re.Match) -> str:
        if match["comment"]:
            follows_value = re.search(r"\w\s*$", body[: match.start()])
            return match[0] if follows_value and re.search(r"\d", match[0]) else " "
        if match["plus"] or match["none"]:
            return " null" if match["none"] else " "
        return match[0].replace(",", ".") if match["comma"] else match[0]

    tidy = _OUTSIDE_STRINGS.sub(tidied, body)
    has_decimal_commas = any(match["comma"] for match in _OUTSIDE_STRINGS.finditer(body))
    return re.sub(r"(?<=:)\s*[01],?\d*\s*$", "", tidy) if has_decimal_commas else tidy


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
    numbers = Counter(_names_of_numbers(value))
    texts = {name: deque(written[name]) for name in numbers if len(written.get(name, ())) == numbers[name]}

    def checked(member: object, name: str) -> object:
        if isinstance(member, dict):
            return {key: checked(inner, str(key)) for key, inner in member.items()}
        if isinstance(member, list):
            return [checked(inner, name) for inner in member]
        if isinstance(member, bool) or not isinstance(member, int | float):
            return member
        if name in texts:
            return _number(texts[name].popleft())
        values = [_number(text) for text in written.get(name, [])] or [str(member) + "?"]
        return Repeated(values) if len(values) > 1 else values[0]

    return checked(value, "")


def _names_of_numbers(member: object, name: str = "") -> Iterator[str]:
    """The name of every number in an object, in order."""
    if isinstance(member, dict):
        for key, inner in member.items():
            yield from _names_of_numbers(inner, str(key))
    elif isinstance(member, list):
        for inner in member:
            yield from _names_of_numbers(inner, name)
    elif isinstance(member, int | float) and not isinstance(member, bool):
        yield name


def _number(text: str) -> float | str:
    try:
        return json.loads(re.sub(r"^\.(?=\d)", "0.", text))
    except ValueError:
        return text
