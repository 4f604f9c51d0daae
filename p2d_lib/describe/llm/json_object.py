"""The JSON object in a language model's reply, which may stand in a fence, among other text, and have faulty syntax.

json-repair mends the syntax (loose_syntax.py). Of several objects the last one counts, as long as it holds an answer:
models draft, correct themselves, and repeat the schema that they were given.
"""

import html
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from p2d_lib.describe.llm.loose_syntax import Repeated, first_name, is_inner, mended
from p2d_lib.words import thinking

_FENCED = re.compile(r"```[\w-]*\s*(.*?)(?:(?<=[}\]\n])[ \t]*```|```\s*$|$)", re.DOTALL)
_LISTED = "listed"
_FENCE_BEFORE, _FENCE_AFTER = re.compile(r"```[\w-]*\s*$"), re.compile(r"^\s*```")


class _Candidate(NamedTuple):
    value: dict
    before: str  # the text before and after the object
    after: str
    repairs: list[str]


def last_object(reply: str, rank: Callable[[dict], int], is_cut: bool = False) -> tuple[dict, list[str]]:
    """The last object of the highest rank in a reply, and the names of the repairs it took ("fenced", ...).

    rank: how much of an answer an object is; 0: none. is_cut: whether the reply ended for want of tokens. A name that
    has several values has them as `Repeated`. ({}, []) where there is no such object, or where it is in doubt: the
    model was still thinking, or has begun another object after it.
    """
    text, has_thoughts, repairs = _plain(reply)
    strict = [each for each in _strict(text) if rank(each.value) >= 2 or not is_inner(each.before)]
    best = max(strict, key=lambda each: rank(each.value), default=_Candidate({}, "", text, []))
    if rank(best.value) < 2:
        best = max([best, *_mended(text, rank)], key=lambda each: rank(each.value))
    elif name := first_name(tail := strict[0].after):
        later = max(_mended(tail, rank), key=lambda each: rank(each.value), default=None)
        if later is None and rank({name: ""}):
            return {}, []
        best = best if later is None else later._replace(before=text[: -len(tail)] + later.before)
    before, after = _FENCE_BEFORE.sub("", best.before), _FENCE_AFTER.sub("", best.after)
    if not rank(best.value) or (is_cut and before.strip() and after.strip()):
        return {}, []
    is_fenced = before != best.before and best.before.count("```") % 2 == 1
    has_text = has_thoughts or bool((before if is_fenced else best.before).strip() or after.strip())
    return best.value, ["fenced"] * is_fenced + ["text around"] * has_text + repairs + best.repairs


def _plain(reply: str) -> tuple[str, bool, list[str]]:
    """A reply's answer as text with JSON in it, whether there were thoughts beside it, and the repairs it took."""
    text = reply.strip("\ufeff \t\r\n")
    with suppress(ValueError, RecursionError):
        if isinstance(json.loads(text, strict=False), dict):  # marks of thoughts in its strings are none
            return text, False, []
    answer = thinking.answer(text)
    plain, repairs = _decoded(answer.strip())
    decoded = thinking.answer(plain) if repairs else plain  # marks of thoughts may have been encoded too
    return decoded.strip(), answer != text or decoded != plain, repairs


def _decoded(text: str) -> tuple[str, list[str]]:
    """A text whose quotes are those of JSON, and the repair that it took, if any."""
    with suppress(ValueError, RecursionError):
        value = json.loads(text, strict=False)
        if isinstance(value, str) and "{" in value:
            return value.strip(), ["encoded twice"]
    bare = text.strip('"')
    if re.search(r'\{(?:\s|\\n|\\t)*\\"', bare) and not re.search(r'(?<!\\)"', bare):
        return bare.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\"), ["encoded twice"]
    if '"' not in text and "&quot;" in text:
        return html.unescape(text), ["loose syntax"]
    if '"' not in text and re.search("[{,]\\s*[“”]", text):
        return re.sub("[“”]", '"', text), ["loose syntax"]
    return text, []


def _strict(text: str) -> list[_Candidate]:
    """The objects of a text that are JSON, the last one first; a line end within a string is no fault.

    Objects that only a comma parts are one answer, under the name "listed": none of them revises another.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_with_repeated_names, strict=False)
    candidates, start = [], text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
            before = text[:start]
            if candidates and text[len(text) - len(candidates[-1].after) : start].strip() == ",":
                first = candidates.pop()
                before, value = first.before, {_LISTED: [*first.value.get(_LISTED, [first.value]), value]}
            candidates.append(_Candidate(value, before, text[end:], []))
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return candidates[::-1]


def _with_repeated_names(pairs: list[tuple[str, object]]) -> dict:
    value: dict = {}
    for name, member in pairs:
        value[name] = Repeated([value[name], member]) if name in value else member
    return value


def _mended(text: str, rank: Callable[[dict], int]) -> list[_Candidate]:
    """The objects of a text after mending: those of the fences, the last one first, else those of the whole."""
    spans = [match.span(1) for match in _FENCED.finditer(text) if first_name(match[1])][::-1]
    for start, end in [*spans, (0, len(text))]:
        candidates = [
            _Candidate(value, text[: start + first], text[start + last : end] + text[end:], repairs)
            for value, first, last, repairs in mended(text[start:end])
        ]
        if any(rank(candidate.value) for candidate in candidates):
            return candidates
    return []
