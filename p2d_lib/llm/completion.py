"""The body of a server's reply -> what the model answered, in whichever form a gateway puts it.

Bodies come with a byte order mark, in another encoding, as a stream that nobody asked for; answers come as a list of
parts, as a tool's arguments, or under the model's reasoning.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass

from p2d_lib.files import lines

_CUT = ("length", "max_tokens", "max_output_tokens", "model_length")
_FILTERED = ("content_filter", "safety", "refusal", "prohibited_content", "recitation")
_REASONING = ("reasoning_content", "reasoning", "thinking")
_REASONING_TYPE = re.compile(r"reason|think|summary")
_EVENTS = ("data:", "event:", "id:", "retry:", ":")  # beginnings of the lines of a stream


@dataclass(frozen=True)
class Completion:
    """One answer. text: "" where there is none, though `part` may say that the model has reasoned."""

    text: str
    part: str = ""  # of the message that holds the answer: "": its content, else "parsed", "tool call", "reasoning"
    refused: bool = False  # as the server states it
    is_cut: bool = False  # at max_tokens
    model: str = ""  # as the server names it
    n_in: int | None = None  # tokens; None where the server does not count them
    n_out: int = 0


class ErrorInBody(Exception):
    """A body that came with status 200 and holds an error. status: as the body states it, else 500."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status, self.text = status, text


def completion(text: str) -> Completion:
    """The first answer in a body. Raises ErrorInBody, and ValueError for a body that is no chat completion."""
    record = _record(text)
    choice = _first(record.get("choices"))
    if error := record.get("error") or choice.get("error"):
        raise ErrorInBody(_status(error), json.dumps(error, ensure_ascii=False))
    message = choice.get("message", {"content": choice.get("text")} if "text" in choice else None)
    message = {"content": message} if isinstance(message, str) else message
    if not isinstance(message, dict):
        raise ValueError("no message")
    end = str(choice.get("finish_reason") or choice.get("stop_reason") or "").lower()
    text, part = _answer(message, end in _CUT)
    refusal = _refusal(message)
    n_in, n_out = _usage(record.get("usage"))
    return Completion(
        text=refusal or text,
        part="" if refusal else part,
        refused=bool(refusal) or end in _FILTERED,
        is_cut=end in _CUT,
        model=record["model"] if isinstance(record.get("model"), str) else "",
        n_in=n_in,
        n_out=n_out,
    )


def decoded(data: bytes, charset: str | None) -> str:
    """A body as text. charset: as the header of the reply states it.

    JSON is UTF-8 (RFC 8259, sec. 8.1), whatever the header says; where it is not, the header is believed.
    """
    for encoding in (json.detect_encoding(data), charset):
        with suppress(UnicodeDecodeError, LookupError, TypeError):
            return data.decode(encoding)
    return data.decode(errors="replace")


def _record(text: str) -> dict:
    """The body's object; what follows it, such as "data: [DONE]", is passed over."""
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith(_EVENTS):
        return _streamed(text)
    try:
        record, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(record, list) and len(record) == 1:
        record = record[0]
    if not isinstance(record, dict):
        raise ValueError("no object")
    return record


def _streamed(text: str) -> dict:
    """Server-sent events put together to one completion. Raises ValueError for a stream without its end."""
    whole: dict = {"choices": [{"message": {"content": ""}, "finish_reason": None}]}
    choice, has_begun, has_ended = whole["choices"][0], False, False
    for line in lines(text):
        if not line.startswith("data:"):
            continue
        event = line.removeprefix("data:").strip()
        has_ended |= event == "[DONE]"
        chunk = _record(event) if event.startswith(("{", "[{")) else {}
        whole |= {name: chunk[name] for name in ("model", "usage", "error") if chunk.get(name)}
        part = _first(chunk.get("choices"))
        delta = part.get("delta") or part.get("message")
        has_begun |= isinstance(delta, dict)
        for name in ("content", "refusal", *_REASONING) if isinstance(delta, dict) else ():
            if text := _joined_text(delta.get(name)):
                choice["message"][name] = choice["message"].get(name, "") + text
        choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
    if not ((has_begun and (has_ended or choice["finish_reason"])) or "error" in whole):
        raise ValueError("a stream without its end")
    return whole


def _answer(message: dict, is_cut: bool) -> tuple[str, str]:
    """The answer in a message, and the part that it stands in.

    Reasoning holds drafts. It is an answer only where it is one JSON object and nothing else, and the model came to its
    end: so do servers reply that take an answer in a schema for reasoning.
    """
    content = _joined_text(message.get("content"))
    if content.strip():
        return content, ""
    if isinstance(message.get("parsed"), dict):
        return json.dumps(message["parsed"]), "parsed"
    calls = message.get("tool_calls") if isinstance(message.get("tool_calls"), list) else []
    functions = [call.get("function") for call in calls if isinstance(call, dict)] + [message.get("function_call")]
    for function in functions:
        if isinstance(function, dict) and (arguments := function.get("arguments")):
            return arguments if isinstance(arguments, str) else json.dumps(arguments), "tool call"
    reasoning = next((message[name] for name in _REASONING if message.get(name)), None)
    with suppress(ValueError, TypeError, RecursionError):
        if isinstance(json.loads(reasoning), dict) and not is_cut:
            return reasoning, "reasoning"
    return "", "reasoning" if reasoning else ""


def _refusal(message: dict) -> str:
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return _joined_text([message.get("refusal"), *(part.get("refusal") for part in parts)])


def _joined_text(content: object) -> str:
    """The text of a content: a string, parts with a text (those of reasoning left out), or an object already parsed."""
    if isinstance(content, list):
        return "".join(map(_joined_text, content))
    if isinstance(content, dict) and _REASONING_TYPE.search(str(content.get("type"))):
        return ""
    if isinstance(content, dict):
        inner = next((name for name in ("text", "value") if name in content), None)
        return _joined_text(content[inner]) if inner else "" if "type" in content else json.dumps(content)
    return content if isinstance(content, str) else ""


def _first(values: object) -> dict:
    """The first of several objects; {} where there is none."""
    return values[0] if isinstance(values, list) and values and isinstance(values[0], dict) else {}


def _status(error: object) -> int:
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _usage(usage: object) -> tuple[int | None, int]:
    """Input and output tokens that the server counted; None, 0 where it did not."""
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else [None]
    if all(isinstance(count, int | float) and not isinstance(count, bool) and 0 <= count < 1e9 for count in counts):
        return int(counts[0]), int(counts[1])
    return None, 0
