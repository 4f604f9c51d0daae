"""The vlm describer: a vision-language model on this machine describes each image.

"constrained" puts two questions, for a text and for scores in a forced JSON skeleton, so that even a small model gives
all 22 scores; "repaired" puts one, as the api describer does, and parses the JSON that the model writes.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from p2d_lib.describe.llm import replies
from p2d_lib.files import atomic
from p2d_lib.models.vlm import Vlm, generate, scores
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words import thinking

TEXT_QUESTION = (
    "This is a dermoscopic image of one skin lesion. Describe in two or three sentences what is seen, without naming "
    "a diagnosis."
)
SCORES_QUESTION = "\n".join(
    [
        "This is a dermoscopic image of one skin lesion. Score each feature below from 0 (absent, none, lightest) to 1 "
        "(marked, much, darkest).",
        *(f"- {name}: {feature.phrase}" for name, feature in FEATURES.items()),
        "Reply with one JSON object: a number from 0 to 1 under the name of each feature.",
    ]
)
QUESTIONS = {"constrained": [TEXT_QUESTION, SCORES_QUESTION], "repaired": [replies.QUESTION]}
BATCH_SIZE = 8  # images that the model reads in one call
IMAGES_AT_ONCE = 64  # in memory, and at most this many are described again after an interruption


def describe(
    cases: pd.DataFrame,
    load_images: Callable[[pd.DataFrame], np.ndarray],
    vlm: Vlm,
    folder: Path,
    *,
    mode: str = "constrained",
    max_new_tokens: int = 512,
) -> pd.DataFrame:
    """One row per case, as `replies.described`; seconds: the mean over IMAGES_AT_ONCE images.

    load_images: some rows of cases -> uint8 (n, h, w, 3), such as `Run.images`. folder: keeps finished replies, so that
    the same call resumes after an interruption; a reply is used again only for the same pixels, questions and model
    name. mode: "constrained" or "repaired". max_new_tokens: of a text or a JSON reply; 512 are enough for both. Raises
    ValueError for another mode, VlmError where the model's tokenizer does not allow "constrained".
    """
    if mode not in QUESTIONS:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(QUESTIONS)}")
    answers = []
    with tqdm(total=len(cases), desc="describe", unit="image", mininterval=1) as bar:
        for start in range(0, len(cases), IMAGES_AT_ONCE):
            images = load_images(cases.iloc[start : start + IMAGES_AT_ONCE])
            settings = json.dumps([vlm.name, mode, QUESTIONS[mode], max_new_tokens, images.shape])
            file = folder / f"{hashlib.sha256(settings.encode() + images.tobytes()).hexdigest()[:16]}.json"
            if not file.exists():
                began = time.perf_counter()
                written = _replies(vlm, images, mode, max_new_tokens)
                seconds = (time.perf_counter() - began) / len(images)
                with atomic(file) as partial:
                    partial.write_text(json.dumps([[reply, seconds] for reply in written]))
            answers += json.loads(file.read_text())
            bar.update(len(images))
    parsed = [replies.parse(reply) for reply, _ in answers]
    return replies.described(cases["image_id"], "vlm", parsed, [seconds for _, seconds in answers])


def _replies(vlm: Vlm, images: np.ndarray, mode: str, max_new_tokens: int) -> list[str]:
    texts = generate(vlm, images, QUESTIONS[mode][0], max_new_tokens, BATCH_SIZE)
    if mode == "repaired":
        return texts
    forced = scores(vlm, images, SCORES_QUESTION, list(FEATURES), BATCH_SIZE).round(4).tolist()
    return [
        json.dumps({"description": thinking.answer(text)} | dict(zip(FEATURES, row, strict=True)))
        for text, row in zip(texts, forced, strict=True)
    ]
