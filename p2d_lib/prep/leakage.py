"""What crosses the split: lesions and copies; and the audit in one table."""

import pandas as pd

from p2d_lib.prep import splits
from p2d_lib.report.tables import interval


def leakage(cases: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """What crosses the split, in columns check and found (texts): lesions, which must be 0, and copies.

    pairs: `duplicates(cases, images)`.
    """
    found = {"lesions in more than one split": splits.shared_lesions(cases)}
    for kind, name in (("bytes", "identical pairs"), ("perceptual", "pairs that look alike")):
        rows = pairs[pairs["kind"] == kind]
        for where, those in (("", rows), (" across splits", rows[~rows["same_split"]])):
            apart = (~those["same_lesion"]).sum()
            found[f"{name}{where} (of these, of different lesions)"] = f"{len(those)} ({apart})"
    return pd.DataFrame({"check": list(found), "found": [str(value) for value in found.values()]})


def summary(
    cases: pd.DataFrame, pairs: pd.DataFrame, doubts: pd.DataFrame, tone: "ToneAssociation | None" = None
) -> pd.DataFrame:
    """The audit in one table, check and found (texts): `leakage`, the `flags` of cases, and what was found below."""
    named = {"is_empty": "empty pictures", "is_blurred": "blurred pictures", "has_hair": "hairy pictures",
             "has_ruler": "pictures with a ruler"}  # fmt: skip
    found = {name: cases[flag].sum() for flag, name in named.items()} | {"labels doubted": doubts["flagged"].sum()}
    found = {name: f"{n} ({n / len(cases):.1%})" for name, n in found.items()}
    if tone:
        strength = interval(*tone.epsilon2)
        found["diagnosis tied to skin tone, epsilon squared [95 % interval]"] = f"{strength}, p = {tone.p:.3g}"
    return pd.concat(
        [leakage(cases, pairs), pd.DataFrame(found.items(), columns=["check", "found"])], ignore_index=True
    )
