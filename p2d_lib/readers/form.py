"""The form that readers fill in a browser: one file that holds the images, needs no network and saves as they go.

It holds numbers, images and orders, and nothing of the key. Its answers are saved as CSV, which `answers` reads.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from p2d_lib import images
from p2d_lib.files import atomic
from p2d_lib.readers.sheet import (
    ABOUT,
    ABOUT_PHANTOM,
    CHOICES,
    COMMENT,
    EXPLAINED,
    EXPLAINED_PHANTOM,
    HEADERS,
    NUMBER,
    QUALITY,
    REALISM_HEADERS,
    STUDY,
)
from p2d_lib.readers.sheet_rows import READER, SECONDS

TEMPLATE = Path(__file__).parent / "template" / "form.html"
PLACE = "__STUDY__"  # where the template takes the study
CONTENT = re.compile(r'<script type="application/json" id="study">(.*?)</script>', re.S)
OPTIONAL = (QUALITY, COMMENT)  # an image counts without them


def write(
    path: Path,
    study: str,
    orders: Mapping[int, Sequence[int]],
    pictures: Mapping[int, np.ndarray],
    realism_scale: bool = False,
    phantom: bool = False,
) -> None:
    """Writes the form.

    study: its identifier. orders: {reader: numbers of the images in this reader's order}. pictures: {number: uint8
    (h, w, 3)}. realism_scale, phantom: see `study.build`. Equal input, equal bytes.
    """
    headers = REALISM_HEADERS if realism_scale else HEADERS
    explained = EXPLAINED_PHANTOM if phantom else EXPLAINED
    content = {
        "study": study,
        "about": ABOUT_PHANTOM if phantom else ABOUT,
        "headers": {"reader": READER, "study": STUDY, "number": NUMBER, "seconds": SECONDS},
        "questions": [_question(header, explained[header]) for header in headers if header in explained],
        "orders": {str(reader): list(map(int, numbers)) for reader, numbers in orders.items()},
        "images": {
            str(number): images.data_uri(images.encode(picture)) for number, picture in sorted(pictures.items())
        },
    }
    text = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")  # no text can end the script it stands in
    with atomic(path) as partial:
        partial.write_text(TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text), encoding="utf-8")


def content(path: Path) -> dict:
    """What a form holds: {"study": its identifier, "about": what its images are, "headers", "questions", "orders":
    {reader: numbers}, "images": {number: data URI}}, numbers and readers as text. Raises ValueError for a file that is
    no form, or one of an older version."""
    found = CONTENT.search(path.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{path}: is no form of a reader study; run notebooks/07_readers.ipynb again")
    held = json.loads(found[1])
    if "about" not in held:
        raise ValueError(f"{path}: was written by an older version; run notebooks/07_readers.ipynb again")
    return held


def _question(header: str, explained: str) -> dict:
    choices = CHOICES.get(header)
    graded = bool(choices) and choices[0] == "1"
    return {"header": header, "choices": choices, "graded": graded, "optional": header in OPTIONAL,
            "help": None if choices and not graded and len(choices) > 2 else explained}  # fmt: skip
