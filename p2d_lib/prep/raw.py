"""HAM10000 as its authors publish it -> cases, resized images, measurements.

Tschandl, Rosendahl, Kittler, Sci Data 5:180161, 2018; files at doi:10.7910/DVN/DBW86T. The phantom is laid out the
same way and read by the same code; what it knows lies beside in truth.csv.
"""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from p2d_lib.prep.pixels import DataError, File, open_zip
from p2d_lib.vocabulary import DX, DX_TYPES, SEXES, SITES

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
MAX_AGE = 120  # years
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RawSet:
    """metadata: COLUMNS, checked, in file order (age: float years, NaN unknown), and true_* where truth.csv lies
    there; images, masks: where each image_id's picture and lesion mask are (a mask may be missing)."""

    metadata: pd.DataFrame
    images: dict[str, File]
    masks: dict[str, File]


def find(data: str = "") -> Path:
    """HAM10000's folder: `data`, else P2D_HAM10000; relative to here or to the repository. Raises DataError."""
    given = data or os.environ.get("P2D_HAM10000", "")
    if not given:
        raise DataError(
            "where is HAM10000? Download it (doi:10.7910/DVN/DBW86T) and name its folder in the parameter "
            "01_prep.data (./run_all.sh --data DIR) or in the variable P2D_HAM10000"
        )
    for folder in (Path(given).expanduser(), REPOSITORY / given):
        if folder.is_dir():
            return folder
    raise DataError(f"{given}: no such folder; 01_prep.data or P2D_HAM10000 must name the folder that holds HAM10000")


def read(folder: Path) -> RawSet:
    """A set in the authors' layout: the metadata, HAM10000_images_part_*, HAM10000_segmentations_*; folders or zips.

    Raises DataError for a missing file or column, a repeated image_id, an unknown dx, sex or site, an impossible age,
    an image that the metadata name and nobody has. A missing mask is no error.
    """
    path = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder}: there is no {METADATA[0]} (nor .tab); take it from doi:10.7910/DVN/DBW86T")
    metadata = _metadata(path)
    pictures = {PurePosixPath(name).stem: file for name, file in _files(folder, "HAM10000_images*", (".jpg", ".jpeg"))}
    missing = ~metadata["image_id"].isin(pictures)
    if missing.any():
        first = metadata["image_id"][missing.idxmax()]
        raise DataError(
            f"{folder}: {first}.jpg is in no HAM10000_images_part_* (folder or zip), but {path.name}, line "
            f"{missing.idxmax() + 2}, names it ({missing.sum()} of {len(metadata)} images are missing); put it back or "
            "remove its row"
        )
    masks = {
        PurePosixPath(name).stem.removesuffix("_segmentation"): file
        for name, file in _files(folder, "HAM10000_segmentations*", (".png",))
    }
    return RawSet(metadata.join(_truth(folder, metadata["image_id"])), pictures, masks)


def _metadata(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8") as stream:
            separator = "\t" if "\t" in stream.readline() else ","
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a table of comma- or tab-separated text ({error})") from None
    if absent := [column for column in COLUMNS if column not in table]:
        near = difflib.get_close_matches(absent[0], table.columns, n=1)
        raise DataError(
            f"{path}: column {absent[0]!r} is missing{f' (is it {near[0]!r}?)' if near else ''}; the file has "
            f"{', '.join(map(repr, table.columns))}; take it again from doi:10.7910/DVN/DBW86T"
        )
    table = table[list(COLUMNS)].apply(lambda column: column.str.strip())
    if table.empty:
        raise DataError(f"{path}: there are no rows")
    for column in ("sex", "localization"):
        table[column] = table[column].replace("", "unknown")
    age = pd.to_numeric(table["age"].replace({"": "nan", "unknown": "nan"}), errors="coerce")
    known = ~table["age"].isin(["", "unknown", "nan"])
    dx_of_lesion = table.groupby("lesion_id")["dx"].transform("first")
    for column, wrong, expected in (
        ("image_id", table["image_id"] == "", "a name"),
        ("lesion_id", table["lesion_id"] == "", "a name"),
        ("image_id", table["image_id"].duplicated(), "each image once"),
        ("dx", ~table["dx"].isin(DX), f"one of {', '.join(DX)}"),
        ("dx", table["dx"] != dx_of_lesion, "the dx of the lesion's first image"),
        ("dx_type", ~table["dx_type"].isin(DX_TYPES), f"one of {', '.join(DX_TYPES)}"),
        ("age", known & ~age.between(0, MAX_AGE), f"years from 0 to {MAX_AGE}, or nothing"),
        ("sex", ~table["sex"].isin(SEXES), f"one of {', '.join(SEXES)}"),
        ("localization", ~table["localization"].isin(SITES), f"one of {', '.join(SITES)}"),
        ("dataset", table["dataset"] == "", "the name of the collection"),
    ):
        if wrong.any():
            at = wrong.idxmax()
            others = f" ({wrong.sum()} such rows)" if wrong.sum() > 1 else ""
            raise DataError(
                f"{path}, line {at + 2} ({table['image_id'][at]}): {column} is {table[column][at]!r}, expected "
                f"{expected}{others}; correct the row or remove it"
            )
    return table.assign(age=age)


def _files(folder: Path, pattern: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, File]]:
    for place in sorted(folder.glob(pattern)):
        if place.is_dir():
            found = ((path.name, File(path)) for path in sorted(place.rglob("*")))
        elif place.suffix == ".zip":
            found = ((name, File(place, name)) for name in open_zip(place).namelist())
        else:
            continue
        for name, file in found:
            if name.lower().endswith(suffixes) and not PurePosixPath(name).name.startswith("._"):  # macOS's shadows
                yield name, file


def _truth(folder: Path, image_id: pd.Series) -> pd.DataFrame:
    path = folder / "truth.csv"
    if not path.is_file():
        return pd.DataFrame(index=image_id.index)
    truth = pd.read_csv(path)
    if "image_id" not in truth or not image_id.isin(truth["image_id"]).all():
        raise DataError(f"{path}: it does not know every image of the metadata; write the phantom again")
    truth = truth.set_index("image_id").filter(regex="^true_")
    return truth.loc[image_id].set_axis(image_id.index)
