"""Reads any raw set by its layout: files on disk -> checked metadata, images and masks.

The default layout is HAM10000 as its authors publish it: Tschandl, Rosendahl, Kittler, Sci Data 5:180161, 2018; files
at doi:10.7910/DVN/DBW86T. The phantom is laid out the same way; its truth lies beside in truth.csv.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

import pandas as pd

from p2d_lib.prep import metadata, picture_files, stray_masks
from p2d_lib.prep.layouts import REPOSITORY, Layout, load
from p2d_lib.prep.picture_files import Pictures
from p2d_lib.prep.pixels import DataError, File, within

BAD = ("image_id", "file", "row", "stage", "reason")
PHANTOM, TRUTH = "phantom", "truth.csv"  # the dataset of rendered images, and the file of what is true of them
NO_PICTURES = Pictures({}, [], [])


@dataclass(frozen=True)
class RawSet:
    """The usable part of a set, and what was set aside.

    metadata: layouts.COLUMNS, checked, in file order (age: float years, NaN unknown), fitzpatrick (1..6, NaN unknown)
    where the layout has it, and true_* where truth.csv lies there; images, masks: where each image_id's picture and
    lesion mask are (a mask may be missing). bad: BAD, one row per row or file set aside: file within the set's folder,
    row its line there (0: none), stage metadata | image | mask, reason. Rows with "...; not used" have a dx that is
    not ours.
    """

    metadata: pd.DataFrame
    images: dict[str, File]
    masks: dict[str, File]
    bad: pd.DataFrame
    folder: Path


def find(data: str = "", layout: str = "ham10000") -> Path:
    """The folder of a layout's set, relative to here or to the repository: `data`, else for ham10000 the variable
    P2D_HAM10000. Raises DataError."""
    ham = layout == "ham10000"
    folder_name, name = data or (os.environ.get("P2D_HAM10000", "") if ham else ""), "HAM10000" if ham else layout
    if not folder_name:
        raise DataError(
            f"where is {name}? Download it ({load(layout).source}) and name its folder in the parameter 01_prep.data "
            f"(./run_all.sh --data DIR){' or in the variable P2D_HAM10000' if ham else ''}"
        )
    for folder in (Path(folder_name).expanduser(), REPOSITORY / folder_name):
        if folder.is_dir():
            return folder
        if folder.is_file():
            raise DataError(f"{folder} is a file: unpack it and name the folder that holds {name} in 01_prep.data")
    variable = " or P2D_HAM10000" if ham else ""
    raise DataError(f"{folder_name}: no such folder; 01_prep.data{variable} must name the folder that holds {name}")


def read(folder: Path, layout: str | Path = "ham10000", on_bad: str = "fail") -> RawSet:
    """A set as its layout says (see `load`); metadata, pictures and masks are checked against one another.

    on_bad: "fail" raises DataError at the first row or file that is wrong; "quarantine" lists each in `bad`, with the
    sentence that "fail" raises, and goes on without it. Wrong are a value that cannot be, a second row, picture or mask
    of an image, a dx that is not that of its lesion's first image, a row without its picture, a picture or mask that no
    row names. A missing mask is no error. Raises DataError in both for a missing file, column or layout, for what is no
    table or zip, and where nothing is left.
    """
    if on_bad not in ("fail", "quarantine"):
        raise ValueError(f"on_bad is {on_bad!r}; it must be 'fail' or 'quarantine'")
    layout, rows = load(layout), []

    def aside(stage: str, image_id: str, file: Path | File, row: int, reason: str, fails: bool = True) -> None:
        if fails and on_bad == "fail":
            raise DataError(reason)
        rows.append((_writable(image_id), _writable(within(Path(str(file)), folder)), row, stage, _writable(reason)))

    path = metadata.first(folder, layout.metadata, layout)
    table, names = metadata.read(path, layout, aside)
    named = {image_id: name for image_id, name in zip(metadata.image_ids(names), names, strict=True) if name}
    images = picture_files.find(folder, layout, named)
    masks, stray = NO_PICTURES, []
    if layout.masks:
        masks = picture_files.find(folder, layout, named, images)
        masks, stray = stray_masks.completed(folder, layout, named, images, masks)
    truth = _truth(folder)
    if truth is None and len(alike := table.index[table["dataset"] == PHANTOM]):
        raise DataError(
            f"{path}, line {alike[0]}: dataset is {PHANTOM!r}, which means rendered images, and their truth.csv is not "
            "there; put it there, or give a set of photographs another name"
        )
    table = _with_pictures(table, names, images, layout, (folder, path), aside)
    for stage, pictures in (("image", images), ("mask", masks)):
        _set_aside_others(stage, pictures, path, aside)
    for image_id, file, reason in stray:
        aside("mask", image_id, file, 0, reason)
    if table.empty:
        raise DataError(f"{path}: nothing is left of its {len(named)} images; the first: {rows[0][-1]}")
    used = set(table["image_id"])
    files = ({name: file for name, file in found.files.items() if name in used} for found in (images, masks))
    bad = pd.DataFrame(rows, columns=BAD).astype({"row": int})
    if truth is not None:
        table = table.join(_of_images(truth, table["image_id"], folder / TRUTH))
    return RawSet(table, *files, bad, folder)


def _writable(text: str) -> str:
    """A text in which bytes of a file's name that are no UTF-8 are written out, since tables cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _with_pictures(
    table: pd.DataFrame, names: pd.Series, images: Pictures, layout: Layout, where: tuple[Path, Path], aside: Callable
) -> pd.DataFrame:
    """The rows that have a picture; where: the set's folder and its table."""
    folder, path = where
    missing = table["image_id"][~table["image_id"].isin(images.files)]
    ending, places = PurePath(layout.images.names[0]).suffix, " nor ".join(layout.images.places)
    hint = picture_files.why_missing(folder, layout.images) if len(missing) else ""
    for line, image_id in missing.items():
        reason = (
            f"{folder}: {names[line]}{ending} is in no {places} (folder or zip), but {path.name}, line {line}, names "
            f"it ({len(missing)} of {len(table)} images are missing{hint}); put it back or remove its row"
        )
        aside("metadata", image_id, path, line, reason)
    return table.drop(missing.index).reset_index(drop=True)


def _set_aside_others(stage: str, pictures: Pictures, path: Path, aside: Callable) -> None:
    """Sets aside second pictures of an image, and pictures that no row names."""
    for image_id, file, first in pictures.twice:
        aside(stage, image_id, file, 0, f"{file}: {image_id} has another {stage}, {first}; remove one of them")
    n, strange = len(pictures.files) + len(pictures.strange), len(pictures.strange)
    for image_id, file in pictures.strange:
        reason = (
            f"{file}: no row of {path.name} names this {stage} ({strange} of {n} {stage}s are in no row); add its row "
            "or remove it"
        )
        aside(stage, image_id, file, 0, reason)


def _truth(folder: Path) -> pd.DataFrame | None:
    """The truth of a phantom beside its metadata, by image_id; None where there is none. Raises DataError."""
    path = folder / TRUTH
    if not path.is_file():
        return None
    try:
        truth = pd.read_csv(path)
    except ValueError:  # of pandas and of the decoder
        truth = pd.DataFrame()
    if "image_id" not in truth or not truth["image_id"].is_unique:
        raise _no_truth(path)
    truth = truth.set_index("image_id").filter(regex="^true_")
    for name, values in truth.items():
        low, high = (1, 6) if name == "true_fitzpatrick" else (0, 1)
        right = pd.to_numeric(values, "coerce").between(low, high)
        if not right.all():
            raise DataError(
                f"{path}: {name} of {right.idxmin()} is {values[right.idxmin()]}, expected a number from {low} to "
                f"{high}; write the phantom again"
            )
    return truth


def _of_images(truth: pd.DataFrame, image_id: pd.Series, path: Path) -> pd.DataFrame:
    if not image_id.isin(truth.index).all():
        raise _no_truth(path)
    return truth.loc[image_id].set_axis(image_id.index)


def _no_truth(path: Path) -> DataError:
    return DataError(
        f"{path}: is no truth of a phantom, which has each image of the metadata once; write the phantom again or, in "
        "a set of your own, give the file another name"
    )
