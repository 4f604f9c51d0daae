"""Questions about images as records: JSONL as VQA-VLM-Derma publishes it, and LLaVA's conversations.

VQA-VLM-Derma (github.com/allaaamr/LLaVAMed-VLM-Derma) asks LLaVA-Med for one of the seven diagnoses of HAM10000.
Conversations: Liu et al., NeurIPS 2023, as LLaVA's training reads them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from p2d_lib.files import atomic, lines
from p2d_lib.vocabulary import DX, DX_NAMES

_LABELS = ", ".join(DX)
QUESTIONS = {  # by template_id; the first as published, the others to see how far answers depend on the words
    "lesion_7way_v1": f"You are a medical vision assistant. Answer with EXACTLY one label from: {_LABELS}. Do not "
    "output anything else. Just the single label. What is the lesion type?",
    "lesion_7way_v2": "Which of these seven does the dermoscopic image show: "
    + ", ".join(f"{name} ({dx})" for dx, name in DX_NAMES.items())
    + "? Reply with the label in parentheses alone.",
    "lesion_7way_v3": f"Name the most likely diagnosis of this skin lesion in one word, out of {_LABELS}.",
}
_IMAGE = "<image>\n"  # where LLaVA puts the image into a question
_OTHER_NAMES = {"question_id": "id", "text": "question", "answer_id": "answer_idx"}  # in the published files


class VqaError(Exception):
    """A file of records that cannot be used; the message names file, record and field."""


@dataclass(frozen=True)
class Record:
    """One question about one image. answer: in `vocabulary.DX`; answer_idx: its place there."""

    id: str
    image: str
    question: str
    answer: str
    answer_idx: int
    template_id: str  # in QUESTIONS; "" for a question that is none of them


def records(cases: pd.DataFrame, template_id: str = "lesion_7way_v1", folder: str = "") -> list[Record]:
    """One record a case (image_id, dx). template_id: in QUESTIONS. folder: stands before the images' names."""
    question = QUESTIONS[template_id]
    rows = zip(cases["image_id"], cases["dx"], strict=True)
    return [Record(i, f"{folder}{i}.jpg", question, dx, DX.index(dx), template_id) for i, dx in rows]


def write(records: Iterable[Record], path: Path) -> None:
    """Records as JSONL, one a line; the file is there whole or not at all."""
    lines = [json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records]
    with atomic(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def read(path: Path) -> list[Record]:
    """The records of a JSONL file; those of the published files, which name three fields otherwise, as well.

    Raises VqaError for a line that is no record, an unknown diagnosis, an index of another one, or an id that repeats.
    """
    found = []
    for number, line in enumerate(lines(_text(path)), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            fields = _object(line, where)
            found.append(_record({_OTHER_NAMES.get(name, name): value for name, value in fields.items()}, where))
    _check_ids(found, path)
    return found


def write_conversations(records: Iterable[Record], path: Path) -> None:
    """Records as one JSON list of LLaVA's conversations: human: "<image>" and the question; gpt: the answer."""
    value = [
        {
            "id": record.id,
            "image": record.image,
            "conversations": [
                {"from": "human", "value": f"{_IMAGE}{record.question}"},
                {"from": "gpt", "value": record.answer},
            ],
        }
        for record in records
    ]
    with atomic(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def read_conversations(path: Path) -> list[Record]:
    """The records of a file of conversations. Raises VqaError as `read`, and for other than one question and answer."""
    try:
        items = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise VqaError(f"{path}: is no JSON ({error}); give a list of LLaVA's conversations") from None
    templates = {question: template_id for template_id, question in QUESTIONS.items()}
    found = []
    for number, item in enumerate(items if isinstance(items, list) else [items], start=1):
        where = f"{path}, item {number}"
        try:
            (human, question), (gpt, answer) = ((turn["from"], turn["value"]) for turn in item["conversations"])
            if (human, gpt) != ("human", "gpt") or _IMAGE.strip() not in question:
                raise ValueError
            question = question.replace(_IMAGE.strip(), "").strip()
        except (LookupError, TypeError, ValueError, AttributeError):
            raise VqaError(f'{where}: "conversations" is not one question with <image> and one answer') from None
        fields = {name: item.get(name) for name in ("id", "image")}
        found.append(_record(fields | _answer(question, answer, templates), where))
    _check_ids(found, path)
    return found


def _answer(question: str, answer: object, templates: dict[str, str]) -> dict:
    index = DX.index(answer) if answer in DX else None
    return {"question": question, "answer": answer, "answer_idx": index, "template_id": templates.get(question, "")}


def _record(fields: dict, where: str) -> Record:
    for name, kind in Record.__annotations__.items():
        if name == "answer" and fields.get("answer") not in DX:
            raise VqaError(f"{where}: answer is {fields.get('answer')!r}; expected one of {_LABELS}")
        if not isinstance(fields.get(name), kind) or isinstance(fields[name], bool):
            raise VqaError(f"{where}: {name} is {fields.get(name)!r}; expected {kind.__name__}")
    if DX.index(fields["answer"]) != fields["answer_idx"]:
        raise VqaError(
            f"{where}: answer_idx is {fields['answer_idx']}, and {fields['answer']} is number "
            f"{DX.index(fields['answer'])} of {_LABELS}, counted from 0"
        )
    return Record(**{name: fields[name] for name in Record.__annotations__})


def _check_ids(records: Sequence[Record], path: Path) -> None:
    counts = pd.Series([(record.id, record.template_id) for record in records], dtype=object).value_counts()
    if len(counts) and counts.iloc[0] > 1:
        raise VqaError(f"{path}: id {counts.index[0][0]!r} stands {counts.iloc[0]} times; keep one of them")


def _object(line: str, where: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise VqaError(f"{where}: is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise VqaError(f"{where}: is no object; expected one record a line")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise VqaError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise VqaError(f"{path}: cannot be read ({error.strerror})") from None
