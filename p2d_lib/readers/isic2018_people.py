"""Published readings of the ISIC 2018 test images by people, beside those of this run's networks.

The file is that of Tschandl et al. (Nature Medicine 26, 2020, "Human–computer collaboration for skin cancer
recognition"): a row for each image and kind of support, with the counts of people who named each diagnosis before and
after they saw the support, and the shares of an independent crowd (prob_h_dx_*).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib import table_files
from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX

WITHOUT, WITH = "people without support, published", "people with support, published"
CROWD = "crowd of people, published"
COUNTS = {WITHOUT: "user_dx_without_interaction_", WITH: "user_dx_with_interaction_"}
CROWD_SHARES = "prob_h_dx_"
MOST = 100_000  # people who read one image: a count above it is none
LEAST_SHARE = 0.9  # of the crowd that named one of the seven; in the published table it is 0.941 and more
BATCH = 30  # images; people read the test images in random batches of 30 (Tschandl et al., Lancet Oncology 20, 2019)


class PublishedError(Exception):
    """A file that does not hold such readings; the message names file, line, column and value."""


def read(path: str | Path) -> pd.DataFrame:
    """The readings as schemas.READINGS of kind "person".

    WITHOUT and WITH have a row for each time that somebody read an image, since who it was is not published. CROWD has
    one row an image: the diagnosis that most named, and the shares as probabilities. Raises PublishedError.
    """
    path = Path(path)
    expected = ["image_id", *(f"{prefix}{dx}" for prefix in (*COUNTS.values(), CROWD_SHARES) for dx in DX)]
    try:
        table = table_files.read(path, columns=expected)
    except table_files.TableError as error:
        raise PublishedError(str(error)) from None
    if lacking := [name for name in expected if name not in table.columns]:
        raise PublishedError(f"{path}: column {lacking[0]!r} is missing; expected the published table, unchanged")
    if (unnamed := table_files.missing(table["image_id"])).any():
        raise PublishedError(
            f"{path}, line {unnamed.idxmax()}: image_id is empty; expected the published table, unchanged"
        )
    parts = []
    for reader, prefix in COUNTS.items():
        counts = _numbers(path, table, prefix)
        if (wrong := ((counts != np.round(counts)) | (counts > MOST)).any(1)).any():
            line = table.index[wrong][0]
            raise PublishedError(
                f"{path}, line {line}: a count of {prefix}* is no whole number up to {MOST:,}; take "
                "the published table, unchanged"
            )
        row, dx = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.astype(int).ravel(), axis=1)
        parts.append(readings(table["image_id"].to_numpy()[row], reader, "person", dx_read=np.array(DX)[dx]))
    once = ~table["image_id"].duplicated().to_numpy()
    shares = _numbers(path, table, CROWD_SHARES)[once]
    total = shares.sum(1)
    if (wrong := (total < LEAST_SHARE) | (total > 1.01)).any():
        raise PublishedError(
            f"{path}, line {table.index[once][wrong][0]}: the shares of {CROWD_SHARES}* add up to {total[wrong][0]:g}, "
            f"expected {LEAST_SHARE} to 1; take the published table, unchanged"
        )
    parts.append(readings(table["image_id"][once], CROWD, "person", p=shares))
    return pd.concat(parts, ignore_index=True)


def beside(published: pd.DataFrame, external: pd.DataFrame, cases: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Readings by people and networks of the same images, and these images' truth (source is "real").

    published: from `read`. external, cases: the artefacts "external_readings" and "external_cases" of 06. Only images
    that people have read and that are among the external images are kept. Raises PublishedError where there is none.
    """
    common = set(published["image_id"]) & set(cases["image_id"]) & set(external["image_id"])
    if not common:
        raise PublishedError(
            f"none of the {published['image_id'].nunique()} images that people read is among the "
            f"{len(cases)} external images of this run; name the ISIC 2018 test set in 06_classify.external"
        )
    networks = external.assign(reader=external["arm"].where(external["arm"] != "", external["reader"]))
    both = pd.concat([published, networks], ignore_index=True)
    return both[both["image_id"].isin(common)], cases[cases["image_id"].isin(common)].assign(source="real")


def in_batches(scores: pd.DataFrame) -> pd.DataFrame:
    """Right diagnoses of BATCH random images, expected: columns reader, right, low, high, from accuracy_real."""
    values = np.array([BATCH * np.array(interval) for interval in scores["accuracy_real"]]).reshape(-1, 3)
    return pd.DataFrame(
        {"reader": scores["reader"].to_numpy(), **dict(zip(("right", "low", "high"), values.T, strict=True))}
    )


def _numbers(path: Path, table: pd.DataFrame, prefix: str) -> np.ndarray:
    columns = [f"{prefix}{dx}" for dx in DX]
    values = np.array([[table_files.number(cell) for cell in row] for row in table[columns].to_numpy()], float)
    wrong = ~(values >= 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise PublishedError(
            f"{path}, line {table.index[row]}, column {columns[column]}: {table[columns[column]].iloc[row]!r} is no "
            "number from 0; expected the published table, unchanged"
        )
    return values
