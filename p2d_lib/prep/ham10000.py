"""HAM10000 as its authors publish it -> cases, resized images, measurements.

Tschandl, Rosendahl, Kittler, Sci Data 5:180161, 2018; files at doi:10.7910/DVN/DBW86T. The phantom is laid out the
same way and read by the same code; what it knows lies beside in truth.csv.
"""

import difflib
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import binary_erosion
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.prep.measure import NAMES
from p2d_lib.prep.pixels import DataError, File, open_zip, prepare_one
from p2d_lib.schemas import ARTEFACTS, SPLITS
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


def split(metadata: pd.DataFrame, test_size: float, val_size: float, seed: int) -> pd.Series:
    """train, val or test of each row, by lesion and stratified by dx; index and order are the metadata's.

    test_size: share of the lesions, val_size: share of those that are left. The first row of a lesion stands for it,
    in file order: with 0.2, 1/9 and seed 42 this is the published split of HAM10000, 7,130 / 890 / 1,995 images.
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
            raise DataError(
                f"dx {dx!r} has {counts[dx]} lesions, too few for train, val and test: give it about {needed} "
                "(more images, 01_prep.n_images; a flatter phantom, 01_prep.tail; a larger val_size)"
            )
    part_of = pd.concat([pd.Series(name, part.index) for name, part in zip(SPLITS, (train, val, test), strict=True)])
    return metadata["lesion_id"].map(part_of).rename("split")


def prepare(raw: RawSet, split: pd.Series, image_size: int, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Writes each image's central square as folder/<image_id>.png; returns the tables cases and measurements.

    image_size: px of the squares. `P2D_THREADS` processes share the work (default: one per core); the result does not
    depend on their number. Raises images.ImageError at the first unreadable image or mask.
    """
    folder.mkdir(parents=True)
    jobs = [(name, raw.images[name], raw.masks.get(name)) for name in raw.metadata["image_id"]]
    work = partial(prepare_one, image_size, folder)
    progress = partial(tqdm, total=len(jobs), desc="images", unit="image", mininterval=1)
    processes = int(os.environ.get("P2D_THREADS") or os.cpu_count())
    if processes == 1:
        with threadpool_limits(1):
            rows = list(progress(map(work, jobs)))
    else:  # each with one thread of linear algebra: more would spin against each other
        with ProcessPoolExecutor(processes, get_context("spawn"), threadpool_limits, (1,)) as pool:
            rows = list(progress(pool.map(work, jobs, chunksize=16)))
    pixels = pd.DataFrame(rows, index=raw.metadata.index)
    paths = f"{ARTEFACTS['images'].path}/" + raw.metadata["image_id"] + ".png"
    cases = raw.metadata.assign(split=split, path=paths).join(pixels.drop(columns=list(NAMES)))
    return cases, raw.metadata[["image_id"]].join(pixels[list(NAMES)])


def outlined(
    raw: RawSet, image_ids: Iterable[str], size: int, colour: tuple[int, int, int] = (0, 158, 115)
) -> np.ndarray:
    """Central squares, uint8 (n, size, size, 3), with the outline of their masks where there are any."""
    pictures = []
    for image_id in image_ids:
        picture = np.array(images.square(raw.images[image_id].image()[0], size))
        if image_id in raw.masks:
            mask = images.square(raw.masks[image_id].image()[0].convert("L"), size, Image.Resampling.BOX)
            inside = np.asarray(mask) >= 128
            picture[inside & ~binary_erosion(inside, iterations=max(1, size // 100), border_value=1)] = colour
        pictures.append(picture)
    return np.stack(pictures)
