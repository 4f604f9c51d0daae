"""The patients: age, sex, body site, proof and number of views, as frequent as in HAM10000."""

import numpy as np

from p2d_lib.vocabulary import DX, HAM10000_LESIONS

# Frequencies of HAM10000_metadata.csv per lesion, rounded.
VIEWS = {  # of 1, 2, 3, ... 6 images of one lesion
    "akiec": (0.66, 0.25, 0.08, 0.01, 0, 0), "bcc": (0.54, 0.36, 0.09, 0.01, 0, 0), "df": (0.53, 0.36, 0.11, 0, 0, 0),
    "bkl": (0.605, 0.305, 0.075, 0.01, 0.0025, 0.0025), "mel": (0.375, 0.455, 0.16, 0.006, 0.002, 0.002),
    "nv": (0.82, 0.13, 0.047, 0.003, 0, 0), "vasc": (0.66, 0.25, 0.08, 0.01, 0, 0),
}  # fmt: skip
AGE = {  # mean and standard deviation, years
    "akiec": (67, 12), "bcc": (67, 14), "bkl": (64, 14), "df": (53, 13), "mel": (61, 15), "nv": (47, 14),
    "vasc": (53, 20),
}  # fmt: skip
AGE_UNKNOWN = {"bkl": 0.012, "mel": 0.002, "nv": 0.008}
FEMALE = {"akiec": 0.35, "bcc": 0.37, "bkl": 0.42, "df": 0.52, "mel": 0.40, "nv": 0.48, "vasc": 0.49}
SEX_UNKNOWN = {"bkl": 0.012, "nv": 0.008}
SITE = {
    "akiec": {"face": 37, "lower extremity": 18, "upper extremity": 18, "back": 10, "chest": 4, "neck": 4, "hand": 4,
              "scalp": 4, "abdomen": 1, "ear": 1},
    "bcc": {"back": 38, "face": 19, "lower extremity": 11, "chest": 10, "upper extremity": 10, "abdomen": 3, "neck": 3,
            "scalp": 3, "trunk": 2, "foot": 1, "unknown": 1},
    "bkl": {"face": 27, "back": 18, "lower extremity": 15, "upper extremity": 9, "trunk": 8, "chest": 7, "abdomen": 5,
            "neck": 3, "scalp": 3, "unknown": 3, "hand": 2, "ear": 1},
    "df": {"lower extremity": 74, "upper extremity": 19, "abdomen": 3, "back": 1, "foot": 1, "genital": 1},
    "mel": {"back": 30, "upper extremity": 18, "lower extremity": 17, "face": 11, "chest": 6, "abdomen": 5, "trunk": 4,
            "neck": 3, "ear": 2, "foot": 2, "scalp": 1, "unknown": 1},
    "nv": {"lower extremity": 23, "trunk": 21, "back": 20, "abdomen": 13, "upper extremity": 9, "foot": 4, "unknown": 3,
           "chest": 2, "face": 1, "genital": 1, "hand": 1, "neck": 1, "acral": 0.2},
    "vasc": {"trunk": 28, "abdomen": 22, "lower extremity": 16, "back": 12, "upper extremity": 6, "face": 5, "chest": 3,
             "hand": 3, "neck": 2, "scalp": 2},
}  # fmt: skip
DX_TYPE = {
    "akiec": {"histo": 1}, "bcc": {"histo": 1}, "mel": {"histo": 1}, "df": {"consensus": 60, "histo": 40},
    "bkl": {"histo": 67, "consensus": 28, "confocal": 5}, "nv": {"follow_up": 69, "histo": 25, "consensus": 6},
    "vasc": {"consensus": 66, "histo": 34},
}  # fmt: skip


def class_shares(tail: float) -> dict[str, float]:
    """Chance of each dx: HAM10000's lesion counts ** tail, normalised (1: its long tail, 0: balanced)."""
    counts = np.array([HAM10000_LESIONS[dx] for dx in DX]) ** float(tail)
    return dict(zip(DX, counts / counts.sum(), strict=True))


def pick(rng, weights: dict[str, float]) -> str:
    """One key, with the chance that its weight has among all."""
    p = np.array(list(weights.values()), float)
    return str(rng.choice(list(weights), p=p / p.sum()))


def make_patient(rng: np.random.Generator, dx: str) -> dict:
    """dx_type, age (years, steps of 5, NaN unknown), sex and localization with HAM10000's frequencies for the class."""
    age = float(np.clip(5 * np.round(rng.normal(*AGE[dx]) / 5), 0, 85))
    sex = "female" if rng.random() < FEMALE[dx] else "male"
    return {
        "dx_type": pick(rng, DX_TYPE[dx]),
        "age": np.nan if rng.random() < AGE_UNKNOWN.get(dx, 0) else age,
        "sex": "unknown" if rng.random() < SEX_UNKNOWN.get(dx, 0) else sex,
        "localization": pick(rng, SITE[dx]),
    }
