"""External sets: images from elsewhere that the run's classifiers also read, without what the run already has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.instruments import copies
from p2d_lib.instruments.alterations import PLANTED
from p2d_lib.parameters.classify import external_parts
from p2d_lib.run import Run

FOLDER, HAM10000 = "external_images", "ham10000"
COLUMNS = ("image_id", "lesion_id", "dx", "age", "sex", "localization", "dataset")
REASONS = ("same image_id", "same lesion_id", "copy")  # why an image is left out


class File(Protocol):
    """A picture on disk or in a zip."""

    def image(self, at_least: int = 0) -> Image.Image: ...


class RawSet(Protocol):
    """A raw set as 01 reads it: a row of COLUMNS for each image, and where each image's picture is."""

    metadata: pd.DataFrame
    images: Mapping[str, File]


def layout_and_folder(entry: str) -> tuple[str, str]:
    """The layout and the folder that an entry of 06_classify.external names; without a layout it is HAM10000's."""
    layout, folder = external_parts(entry)
    return layout or HAM10000, folder


def admit(run: Run, sets: Mapping[str, RawSet], cases: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Writes the artefacts "external_images" and "external_cases" of what is in the sets and not in the run.

    sets: {entry of 06_classify.external: its raw set}. cases: of the run, all splits. Left out are images whose
    image_id or lesion_id is that of a case or of an earlier set, and copies of cases, as `copies.nearest_originals`
    finds them (ISIC 2019 holds HAM10000). Pictures are cut and resized as 01 does. Returns the cases, and which image
    was left out: set, image_id, reason (one of REASONS), of (the image that it is the same as; "" for a lesion).
    Raises ValueError where nothing is left of a set, images.ImageError for an unreadable picture.
    """
    size, kept, removed, known = _size(run, cases), [], [], cases[["image_id", "lesion_id"]]
    originals = run.in_parts(cases, copies.thumbnails) if sets else None
    with run.writing(FOLDER) as folder:
        folder.mkdir()
        for name, raw in sets.items():
            table = raw.metadata[list(COLUMNS)].assign(set=name)
            reason = _shared(table, known)
            fresh = table[reason == ""]
            squares = _squares(raw, fresh["image_id"], size, folder)
            original = _originals_of_copies(fresh, squares, cases, originals)
            for image_id in original:
                (folder / f"{image_id}.png").unlink()
            reason = reason.mask(table["image_id"].isin(original), "copy")
            of = [original.get(image_id, "") for image_id in table["image_id"]]
            of = table["image_id"].where(reason == "same image_id", of)
            removed.append(table[["set", "image_id"]].assign(reason=reason, of=of)[reason != ""])
            kept.append(table[reason == ""])
            if kept[-1].empty:
                raise ValueError(_nothing_left(name, removed[-1]["reason"]))
            known = pd.concat([known, kept[-1][["image_id", "lesion_id"]]])
    external = pd.concat([pd.DataFrame(columns=[*COLUMNS, "set"]), *kept])
    external["path"] = f"{ARTEFACTS[FOLDER].path}/" + external["image_id"].astype(str) + ".png"
    removed = pd.concat([pd.DataFrame(columns=["set", "image_id", "reason", "of"]), *removed], ignore_index=True)
    return run.write("external_cases", external), removed


def counts(external: pd.DataFrame, removed: pd.DataFrame) -> pd.DataFrame:
    """One row per set: its images, how many were left out and why, and the images and lesions that are read."""
    rows = []
    for name, part in external.groupby("set", sort=False):
        of_set = removed.loc[removed["set"] == name, "reason"]
        reasons = {reason: int((of_set == reason).sum()) for reason in REASONS}
        images = {"set": Path(name).name, "images": len(part) + len(of_set)}
        rows.append({**images, **reasons, "read": len(part), "lesions": part["lesion_id"].nunique()})
    return pd.DataFrame(rows)


def sentences(sets: Mapping[str, RawSet], removed: pd.DataFrame) -> list[str]:
    """How many of the train images that were planted in each set the check for overlap has found."""
    lines = []
    for name, raw in sets.items():
        planted = raw.metadata["image_id"][raw.metadata["image_id"].str.startswith(PLANTED)]
        found = removed[(removed["set"] == name) & (removed["reason"] == "copy")]["image_id"]
        if len(planted):
            lines.append(
                f"Overlap: {len(planted)} altered train images were planted in the external set {name} under other "
                f"names; the check for copies found {planted.isin(found).sum()} of them, and left out "
                f"{(~found.isin(planted)).sum()} other images as copies."
            )
    return lines


def _size(run: Run, cases: pd.DataFrame) -> int:
    return run.images(cases.head(1)).shape[1]


def _nothing_left(name: str, reasons: pd.Series) -> str:
    counts = ", ".join(f"{n} as {reason}" for reason, n in reasons.value_counts().items())
    hint = "; lesions that are only numbered need the name of their set before the number"
    return (
        f"06_classify.external: {name}: all of its {len(reasons)} images are in this run already ({counts}): take the "
        f"set out{hint if 'same lesion_id' in set(reasons) else ''}"
    )


def _shared(table: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """The reason of each row that has an id of the known ones, capital and small letters alike; "" elsewhere."""
    reason = pd.Series("", table.index)
    for column in ("lesion_id", "image_id"):
        reason = reason.mask(table[column].str.casefold().isin(set(known[column].str.casefold())), f"same {column}")
    return reason


def _originals_of_copies(
    fresh: pd.DataFrame, squares: np.ndarray, cases: pd.DataFrame, originals: np.ndarray
) -> dict[str, str]:
    """image_id of each copy among the fresh images -> image_id of the case that it is a copy of."""
    if fresh.empty:
        return {}
    nearest = copies.nearest_originals(copies.thumbnails(squares), originals)
    is_copy = nearest["copy"].to_numpy()
    names = cases["image_id"].to_numpy()[nearest["original"]]
    return dict(zip(fresh["image_id"][is_copy], names[is_copy], strict=True))


def _squares(raw: RawSet, image_ids: pd.Series, size: int, folder: Path) -> np.ndarray:
    """The central squares, uint8 (n, size, size, 3), which are also written into the folder."""
    squares = np.empty((len(image_ids), size, size, 3), np.uint8)
    for row, image_id in enumerate(tqdm(image_ids, desc="external", unit="image", mininterval=1)):
        squares[row] = images.square(raw.images[image_id].image(at_least=size), size)
        images.save(folder / f"{image_id}.png", squares[row])
    return squares
