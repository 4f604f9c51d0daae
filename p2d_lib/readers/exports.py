"""Readings as other programs take them: the R packages iMRMC and MRMCaov, and one long table in plain words."""

from pathlib import Path

import pandas as pd

from p2d_lib.files import atomic
from p2d_lib.readers.analysis import asked, with_truth
from p2d_lib.vocabulary import DX, DX_NAMES, MALIGNANT

QUESTIONS = ("synthetic", "malignant")  # what is positive: a synthetic image, a malignant lesion
TRUTH = "truth"  # the reader and the modality of iMRMC's rows that hold the truth


def long(readings: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """One row a reading, in plain words: reader, kind, image, source, diagnosis, diagnosis_read, right, p_synthetic
    (0..1), seconds.

    readings: schemas.READINGS. key: columns image_id, source, dx. diagnosis_read is "" for an abstention, which is
    wrong (right 0), and for a reader who was not asked (right missing).
    """
    table = with_truth(readings, key)
    return pd.DataFrame(
        {
            "reader": table["reader"],
            "kind": table["kind"],
            "image": table["image_id"],
            "source": table["source"],
            "diagnosis": table["dx"].map(DX_NAMES),
            "diagnosis_read": table["dx_read"].map(DX_NAMES).fillna(""),
            "right": (table["dx"] == table["dx_read"]).astype("Int64").where(table.index.isin(asked(table).index)),
            "p_synthetic": table["is_synthetic_read"],
            "seconds": table["seconds"],
        }
    )


def mrmcaov(readings: pd.DataFrame, key: pd.DataFrame, question: str) -> pd.DataFrame:
    """The long format of MRMCaov 0.3: reader, treatment, case, truth (0, 1), rating.

    question: one of QUESTIONS. "synthetic": one treatment, the rating is the probability that the image is synthetic;
    readers who were not asked are left out. "malignant": the treatments are real and synthetic images (cases nested
    within treatments), the rating is the probability of the malignant classes, or 0 and 1 where a reader gives none.
    """
    table = with_truth(readings, key)
    if question == "synthetic":
        table = table[table["is_synthetic_read"].notna()]
        treatment, truth = "study", table["source"] == "synthetic"
        rating = table["is_synthetic_read"]
    else:
        table = asked(table)
        treatment, truth = table["source"], table["dx"].isin(MALIGNANT)
        p = table[[f"p_{dx}" for dx in DX if dx in MALIGNANT]].sum(axis=1, skipna=False)
        rating = p.fillna(table["dx_read"].isin(MALIGNANT).astype(float))
    columns = {"reader": table["reader"], "treatment": treatment, "case": table["image_id"]}
    return pd.DataFrame({**columns, "truth": truth.astype(int), "rating": rating.astype(float)}).reset_index(drop=True)


def imrmc(readings: pd.DataFrame, key: pd.DataFrame, question: str) -> pd.DataFrame:
    """The list mode of iMRMC 2.1: readerID, caseID, modalityID, score, with a row of the truth for each case.

    question: as in `mrmcaov`. Raises ValueError for a reader who is called "truth", which iMRMC takes for the truth.
    """
    table = mrmcaov(readings, key, question)
    if (table["reader"].str.strip().str.lower() == TRUTH).any():
        raise ValueError(f"a reader is called {TRUTH!r}, which iMRMC takes for the truth; rename the reader")
    cases = table.drop_duplicates("case")
    truth = {"readerID": TRUTH, "caseID": cases["case"], "modalityID": TRUTH, "score": cases["truth"].astype(float)}
    names = {"reader": "readerID", "case": "caseID", "treatment": "modalityID", "rating": "score"}
    scores = table.rename(columns=names)[list(names.values())]
    return pd.concat([pd.DataFrame(truth), scores], ignore_index=True)


def write(folder: Path, readings: pd.DataFrame, key: pd.DataFrame) -> list[str]:
    """Writes readings.csv, and imrmc_<question>.csv and mrmcaov_<question>.csv; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"readings": long(readings, key)}
    for question in QUESTIONS:
        tables[f"imrmc_{question}"] = imrmc(readings, key, question)
        tables[f"mrmcaov_{question}"] = mrmcaov(readings, key, question)
    for name, table in tables.items():
        with atomic(folder / f"{name}.csv") as partial:
            table.to_csv(partial, index=False, lineterminator="\n")
    return [f"{name}.csv" for name in tables]
