"""A vision-language model is asked about images once: what it answered is kept on disk and not asked again.

An answer is kept under a digest of the image's pixels, the words that the model was given, its weights and the settings
of generation, so that it never serves another question. A batch is on disk before the next one is asked; work that was
killed goes on where it was.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from p2d_lib.llm.cache import Answer, Cache

IMAGES_IN_MEMORY = 256
Load = Callable[[pd.DataFrame], np.ndarray]
"""Some rows of a table with image_id -> their images, uint8 (n, h, w, 3), such as `Run.images`."""


def ask(
    table: pd.DataFrame,
    load: Load,
    answer: Callable[[np.ndarray], list[str]],
    *,
    asked: str,
    model: str,
    file: Path,
    batch_size: int,
    anew: Collection[str] = (),
) -> pd.DataFrame:
    """One row an image, in the table's order: image_id, answer, seconds.

    answer: images, uint8 (n, h, w, 3) -> n texts; called with batch_size images at most. asked: all that the answer
    depends on but the pixels: question, weights, settings. model: its name, for the file. file: JSONL, appended to; one
    process at a time writes it. anew: image_ids that are asked again, whatever is kept; the later answer then counts.
    Raises llm.errors.ApiError for a file that holds something else.
    """
    cache, rows = Cache(file), []
    with tqdm(total=len(table), desc="read", unit="image", mininterval=1) as bar:
        for part, images in _parts(table, load):
            keys = [_key(asked, image) for image in images]
            names = part["image_id"].tolist()
            open_ = [k for k, key in enumerate(keys) if key not in cache.answers or names[k] in anew]
            for start in range(0, len(open_), batch_size):
                batch = open_[start : start + batch_size]
                began = time.perf_counter()
                texts = answer(images[batch])
                each = (time.perf_counter() - began) / len(batch)
                answers = [Answer(text, False, model, 0, 0, 0.0, round(each, 4), 0, model) for text in texts]
                cache.keep_all({keys[k]: given for k, given in zip(batch, answers, strict=True)})
            kept = [cache.answers[key] for key in keys]
            rows += [(name, one.text, one.seconds) for name, one in zip(names, kept, strict=True)]
            bar.update(len(part))
    return pd.DataFrame(rows, columns=["image_id", "answer", "seconds"])


def settings(**values: object) -> str:
    """What an answer depends on, as one text in which the order of the names plays no part."""
    return json.dumps(values, sort_keys=True)


def _parts(table: pd.DataFrame, load: Load) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    for start in range(0, len(table), IMAGES_IN_MEMORY):
        part = table.iloc[start : start + IMAGES_IN_MEMORY]
        yield part, load(part)


def _key(asked: str, image: np.ndarray) -> str:
    digest = hashlib.sha256(f"{asked} {image.shape}".encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()
