"""Replies of multimodal LLMs, in the layout that the original prompt2derm wrote -> descriptions.

One JSON object a line: {"image": "mel\\\\ISIC_0273046.jpg", "class": "mel", "description": "...", "features": {...}},
the features under the names of `vocabulary.Feature.field` ("Border Irregularity", "light_brown").
"""

import json
import math
from pathlib import Path, PureWindowsPath

import pandas as pd

from p2d_lib.prompts import prompt
from p2d_lib.vocabulary import DX, FEATURES

CLASSES = {dx: dx for dx in DX} | {"nev": "nv"}  # what the replies call a diagnosis


class ReplyError(Exception):
    """A line that says of no image what it shows; the message names file and line."""


def read(path: Path, describer: str, max_features: int = 8) -> pd.DataFrame:
    """The replies in a JSONL file as the artefact descriptions, one row a line, in the file's order.

    A score that is missing, no number or outside 0..1 becomes NaN, never a number, and the row is not `valid`; nor is
    one without a text. Raises ReplyError for a line that is no reply at all, an unknown class, an image twice.
    """
    rows, seen = [], {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        row = _row(line, f"{path}, line {number}", describer, max_features)
        if (first := seen.setdefault(row["image_id"], number)) != number:
            raise ReplyError(f"{path}, line {number}: {row['image_id']} has a reply in line {first}; remove one")
        rows.append(row)
    return pd.DataFrame(rows)


def _row(line: str, where: str, describer: str, max_features: int) -> dict:
    try:
        reply = json.loads(line)
        image, klass, given = reply["image"], reply["class"], dict(reply["features"])
    except (ValueError, TypeError, KeyError) as error:
        raise ReplyError(f"{where}: not a reply with image, class, description and features ({error!r})") from None
    if klass not in CLASSES:
        raise ReplyError(f"{where}: class is {klass!r}, expected one of {', '.join(CLASSES)}")
    features = {name: _score(given.get(feature.field)) for name, feature in FEATURES.items()}
    text = " ".join(str(reply.get("description") or "").split())
    return {
        "image_id": PureWindowsPath(image).stem,  # takes / and \ alike
        "describer": describer,
        "text": text,
        **features,
        "prompt": prompt(CLASSES[klass], features, max_features=max_features),
        "valid": bool(text) and not any(map(math.isnan, features.values())),
        "reviewer": "",
        "seconds": 0.0,
        "cost": 0.0,
    }


def _score(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 <= value <= 1 else math.nan
