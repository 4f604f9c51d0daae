"""Replies on disk: a JSONL file that is only appended to, each line flushed to disk before its reply is used.

Work that was stopped, or killed, continues where it was, and no request that was paid for is sent again.
"""

import dataclasses
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from p2d_lib.llm.errors import ApiError

_START = b'{"key": "'  # of every line


@dataclass(frozen=True)
class Answer:
    """One reply, as it was paid for."""

    text: str
    refused: bool  # as the server states it
    model: str  # as the server names it, mostly with its version
    input_tokens: int  # 0 where the server does not count
    output_tokens: int
    cost: float  # USD, 0 where prices are not known
    seconds: float
    cut_at: int  # max_tokens, where the reply was truncated there, else 0
    requested: str = ""  # the model as the request named it; "" in lines of earlier versions
    part: str = ""  # of the message that held the text (`Completion.part`)


class Cache:
    """Answers by key, of all models that used this file; a line that a crash truncated is ignored.

    path: the file, made with the first reply. Raises ApiError for a file that holds something else.
    """

    def __init__(self, path: Path):
        self.path, self.answers = path, {}
        self.costs: dict[str, float] = {}  # USD by model, with requests that were never answered
        self._lock = threading.Lock()
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise ApiError(f"{path}: cannot be read ({error.strerror}); name another file") from None
        if not data.startswith(_START[: len(data)]):
            raise ApiError(f"{path}: is no cache of replies; name another file")
        for number, line in enumerate(data.split(b"\n"), start=1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # truncated, or the empty end
                continue
            try:
                self._take(**record)
            except (LookupError, TypeError, AttributeError) as error:
                raise ApiError(f"{path}, line {number}: is no reply ({error!r}); name another file") from None
        if data and not data.endswith(b"\n"):
            self._append("")

    def of_model(self, model: str) -> list[Answer]:
        """The answers to requests that named this model."""
        return [answer for answer in self.answers.values() if (answer.requested or answer.model) == model]

    def keep(self, key: str, answer: Answer) -> None:
        self.keep_all({key: answer})

    def keep_all(self, answers: Mapping[str, Answer]) -> None:
        """Keeps the answers of a batch, by key; of two answers to one key the later one counts from then on."""
        self._note(*({"key": key, **dataclasses.asdict(answer)} for key, answer in answers.items()))

    def lose(self, key: str, model: str, cost: float) -> None:
        """Notes what a request to a model may have cost (USD) whose reply never arrived."""
        self._note({"key": key, "lost": cost, "requested": model})

    def _note(self, *records: dict) -> None:
        with self._lock:
            self._append("\n".join(map(json.dumps, records)))
            for record in records:
                self._take(**record)

    def _take(self, key: str, lost: float | None = None, **fields) -> None:
        if lost is None:
            answer = self.answers[key] = Answer(**fields)
            model, cost = answer.requested or answer.model, answer.cost
        else:
            model, cost = fields.get("requested", ""), lost
        self.costs[model] = self.costs.get(model, 0.0) + cost

    def _append(self, line: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ApiError(
                f"{self.path}: the reply that came cannot be written ({error.strerror}); make room or the folder "
                "writable, and run again"
            ) from None
