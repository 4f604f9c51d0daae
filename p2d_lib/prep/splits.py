"""Train, val and test by lesion, and what a split that ignores lesions would leak."""

import math

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from p2d_lib.prep.pixels import DataError
from p2d_lib.schemas import SPLITS


def split(metadata: pd.DataFrame, test_size: float, val_size: float, seed: int) -> pd.Series:
    """train, val or test of each row, by lesion and stratified by dx; index and order are the metadata's.

    test_size: share of the lesions, val_size: share of those that are left. The first row of a lesion, in file order,
    decides its dx: with 0.2, 1/9 and seed 42 this is the published split of HAM10000, 7,130 / 890 / 1,995 images.
    Raises DataError, naming the class, where one has too few lesions for the three parts.
    """
    lesions = metadata.drop_duplicates("lesion_id").set_index("lesion_id")["dx"]
    try:
        rest, test = train_test_split(lesions, test_size=test_size, stratify=lesions, random_state=seed)
        train, val = train_test_split(rest, test_size=val_size, stratify=rest, random_state=seed)
    except ValueError:  # scikit-learn does not name the class
        train = val = test = lesions[:0]
    counts = lesions.value_counts()
    for dx in counts.index[::-1]:
        if not all((part == dx).any() for part in (train, val, test)):
            needed = math.ceil(1 / min(test_size, (1 - test_size) * val_size))
            more = "render more images (01_prep.n_images) or a flatter tail (01_prep.tail)"
            if not ("dataset" in metadata and (metadata["dataset"] == "phantom").all()):
                more = "take a larger val_size, or map the class to null in the layout"
            raise DataError(
                f"dx {dx!r} has {counts[dx]} lesions, too few for train, val and test, about {needed}: {more}"
            )
    part_of = pd.concat([pd.Series(name, part.index) for name, part in zip(SPLITS, (train, val, test), strict=True)])
    return metadata["lesion_id"].map(part_of).rename("split")


def shared_lesions(cases: pd.DataFrame) -> int:
    """How many lesions have images in more than one split: 0, or the split leaks."""
    return int((cases.groupby("lesion_id")["split"].nunique() > 1).sum())


def leak_of_image_split(cases: pd.DataFrame, test_size: float) -> pd.Series:
    """Per dx and for "all": the share of test images whose lesion is also in train, were images split at random.

    The exact expectation, not one random split: a lesion's k images escape only if its other k - 1 fall into test as
    well, prod_{j=1..k-1} (n_test - j) / (n - j).
    """
    n, n_test = len(cases), math.ceil(test_size * len(cases))
    siblings = cases.groupby("lesion_id")["image_id"].transform("size") - 1
    escapes = np.cumprod([1, *((n_test - j) / (n - j) for j in range(1, siblings.max() + 1))])
    leaks = 1 - pd.Series(escapes[siblings], cases.index)
    return pd.concat([leaks.groupby(cases["dx"]).mean(), pd.Series({"all": leaks.mean()})])


def leakage(cases: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """What crosses the split, in columns check and result (texts): lesions, which must be 0, and copies.

    pairs: `copies.duplicates` of the cases.
    """
    counts = {"lesions in more than one split": shared_lesions(cases)}
    for kind, name in (("bytes", "identical pairs"), ("perceptual", "pairs that look alike")):
        rows = pairs[pairs["kind"] == kind]
        for where, part in (("", rows), (" across splits", rows[~rows["same_split"]])):
            apart = (~part["same_lesion"]).sum()
            counts[f"{name}{where} (of these, of different lesions)"] = f"{len(part)} ({apart})"
    return pd.DataFrame({"check": list(counts), "result": [str(value) for value in counts.values()]})
