"""Which images of a study each reader sees, and in which order.

All readers see the images of block 0. The others are divided into blocks of which a reader sees one, so that many
readers can share many images (incomplete blocks with shared images). Some images are shown twice: a reader who names
them differently the second time is not sure of the answer.
"""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib.seeds import derive

CODE = re.compile(r"(?P<study>.+?)-(?P<reader>\d{2,})")
FIRST_PART = 0.45  # of the order: one showing of a repeated image lies before it, the other as far from the end


class Design(NamedTuple):
    """blocks: into how many the images that not all readers see are divided; 1: every reader sees all images.
    shared: share (0..1) of the images that all readers see; without blocks it has no meaning. repeated: how many images
    are shown twice."""

    blocks: int = 1
    shared: float = 0.5
    repeated: int = 0


def block_of(reader: int, n_blocks: int) -> int:
    """The block that a reader (1, 2 …) sees beside block 0; 0 where all images are in block 0."""
    return (reader - 1) % n_blocks + 1 if n_blocks else 0


def divided(key: pd.DataFrame, design: Design) -> pd.Series:
    """The block of each image (int), of equal size within each class and source.

    key: columns dx and source, in random order.
    """
    place = key.groupby(["source", "dx"]).cumcount()
    if design.blocks == 1:
        return place * 0
    n_shared = np.floor(design.shared * key.groupby(["source", "dx"])["dx"].transform("size"))
    return (1 + (place - n_shared) % design.blocks).where(place >= n_shared, 0).astype(int)


def repeats(key: pd.DataFrame, design: Design, seed: int) -> pd.DataFrame:
    """The rows of the images that are shown twice: of block 0, as many real as synthetic ones, whatever their class."""
    shared = key[key["block"] == 0]
    order = np.argsort([derive(seed, "study", "repeat", name) for name in shared["image_id"]])
    return shared.iloc[order].groupby("source").head(design.repeated // 2)


def seen_by(key: pd.DataFrame, reader: int) -> pd.DataFrame:
    """The rows of the key that a reader (1, 2 …) sees, in the order of this reader.

    The order is derived from the study's identifier and the reader's number. Of two showings of an image one lies in
    the first half of it and the other in the second.
    """
    rows = key[key["block"].isin([0, block_of(reader, int(key["block"].max()))])]
    twice = rows["image_id"].duplicated(keep=False).to_numpy()
    places = np.array([_uniform(key["study"].iloc[0], reader, "place", number) for number in rows["number"]])
    later = [
        (showing == 2) == (_uniform(key["study"].iloc[0], reader, "first", image_id) < 0.5)
        for image_id, showing in zip(rows["image_id"], rows["showing"], strict=True)
    ]
    parted = FIRST_PART * places + np.where(later, 1 - FIRST_PART, 0)
    return rows.iloc[np.argsort(np.where(twice, parted, places), kind="stable")]


def code(study: str, reader: int) -> str:
    """What stands in a reader's sheet: the study's identifier and the reader's number."""
    return f"{study}-{reader:02d}"


def parted(value: object) -> tuple[object, int | None]:
    """The study's identifier and the reader's number in a `code`; None where it is an identifier alone."""
    match = CODE.fullmatch(str(value).strip())
    return (match["study"], int(match["reader"])) if match else (value, None)


def _uniform(*address: object) -> float:
    return derive(0, "order of a reader", *map(str, address)) / 2**63
