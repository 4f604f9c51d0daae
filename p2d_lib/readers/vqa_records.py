"""Questions about images as records: JSONL as VQA-VLM-Derma publishes it, and LLaVA's conversations.

VQA-VLM-Derma (github.com/allaaamr/LLaVAMed-VLM-Derma) asks LLaVA-Med for one of the seven diagnoses of HAM10000.
Conversations: Liu et al., NeurIPS 2023, as LLaVA's training reads them.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from p2d_lib.files import atomic
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


@dataclass(frozen=True)
class Record:
    """One question about one image. answer: in `vocabulary.DX`; answer_idx: its place there."""

    id: str
    image: str
    question: str
    answer: str
    answer_idx: int
    template_id: str  # in QUESTIONS


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
