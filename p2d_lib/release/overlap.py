"""Whether a synthetic set overlaps the images that others will be tested on: by ids, and by pixels."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib import images
from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.classify.external_sets import layout_and_folder
from p2d_lib.instruments import copies
from p2d_lib.prep import raw
from p2d_lib.release.refusal import Refused
from p2d_lib.run import Run

TRAIN = "the train split"  # prompts describe its images


class RealSet(NamedTuple):
    """Real images that no released image may show: their name, ids (image_id, lesion_id) and thumbnails."""

    name: str
    ids: pd.DataFrame
    thumbnails: np.ndarray


def of_run(run: Run, cases: pd.DataFrame) -> list[RealSet]:
    """The run's train, val and test split, and the external sets that its classifiers were tested on."""
    sets = [
        (TRAIN if split == "train" else f"the {split} split", part)
        for split, part in cases.groupby("split", sort=False)
    ]
    if (run.folder / ARTEFACTS["external_cases"].path).exists():
        run.path("external_images")
        sets += [(_label(entry), part) for entry, part in run.read("external_cases").groupby("set", sort=False)]
    return [
        RealSet(name, part[["image_id", "lesion_id"]], run.in_parts(part, copies.thumbnails)) for name, part in sets
    ]


def named(entry: str, size: int) -> RealSet:
    """A raw set that the user names as "layout=folder", cut and resized to size px as the run's images are.

    Raises prep.pixels.DataError where it cannot be read.
    """
    layout, folder = layout_and_folder(entry)
    read = raw.read(raw.find(folder, layout), layout)
    pictures = (read.images[image_id].image(at_least=size) for image_id in read.metadata["image_id"])
    squares = (np.asarray(images.square(picture, size))[None] for picture in pictures)
    ids = read.metadata[["image_id", "lesion_id"]]
    return RealSet(_label(entry), ids, np.concatenate([copies.thumbnails(square) for square in squares]))


def _label(entry: str) -> str:
    """An entry as a card may name it: layout and last folder, without the path on this machine."""
    layout, folder = layout_and_folder(entry)
    return f"{Path(layout).stem} ({Path(folder).name})"


def refuse_shared_cases(cases: pd.DataFrame, sets: Iterable[RealSet]) -> None:
    """Raises Refused where a named test set holds images or lesions that the generator was trained on."""
    train = cases[cases["split"] == "train"]
    for real in sets:
        for column in ("image_id", "lesion_id"):
            shared = real.ids.loc[real.ids[column].isin(train[column]), column].unique()
            if len(shared):
                what = column.removesuffix("_id")
                raise Refused(
                    f"the test set {real.name} shares {len(shared)} {what}s with the images that the generator was "
                    f"trained on ({shared[0]} first): whoever trains on the released set and tests on it would test on "
                    f"what was trained on; remove these {what}s from the test set, or train the generator without them"
                )


def prompting_sets(prompted_by: pd.Series, sets: Iterable[RealSet]) -> pd.Series:
    """For each image the set that holds the case its prompt describes; "" where that is the train split or none."""
    names = pd.Series("", prompted_by.index)
    for real in sets:
        if real.name != TRAIN:
            names[prompted_by.isin(real.ids["image_id"])] = real.name
    return names


def shown_images(thumbnails: np.ndarray, sets: list[RealSet]) -> pd.DataFrame:
    """Which images show a real image, as `copies.nearest_originals` decides: copy (bool), set and image_id of the real
    image, a row for each of the thumbnails, uint8 (n, s, s, 3)."""
    nearest = copies.nearest_originals(thumbnails, np.concatenate([real.thumbnails for real in sets]))
    ids = pd.concat([real.ids.assign(set=real.name) for real in sets], ignore_index=True)
    of = ids.iloc[nearest["original"]].reset_index(drop=True)
    return pd.DataFrame({"copy": nearest["copy"].to_numpy(), "set": of["set"], "image_id": of["image_id"]})
