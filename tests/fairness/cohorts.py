"""Cohorts whose readings have a planted skill, by group or by nothing."""

import numpy as np
import pandas as pd

from p2d_lib.vocabulary import DX, HAM10000_LESIONS


def cases(n=700, seed=0):
    rng = np.random.default_rng(seed)
    share = np.array(list(HAM10000_LESIONS.values())) ** 0.5
    lesions = pd.DataFrame(
        {
            "lesion_id": [f"l{i}" for i in range(n)],
            "dx": rng.choice(list(HAM10000_LESIONS), n, p=share / share.sum()),
            "sex": rng.choice(["female", "male", "unknown"], n, p=[0.48, 0.48, 0.04]),
            "age": rng.choice([20.0, 30, 44, 45, 59, 60, 74, 75, np.nan], n),
            "localization": rng.choice(["face", "ear", "back", "hand", "foot", "unknown"], n),
        }
    )
    lesions.loc[:3, "localization"] = "genital"
    images = lesions.loc[np.repeat(lesions.index, rng.integers(1, 4, n))].reset_index(drop=True)
    return images.assign(image_id=[f"i{i}" for i in range(len(images))], dataset="cohort")


def readings(cases, skill, arms=("real", "mixed"), seeds=3, seed=0):
    """skill: P(right) of each image, (n,) or {arm: (n,)}; half of it is luck of the lesion, half of the image."""
    rng = np.random.default_rng([seed, 1])
    lesion = rng.random(cases["lesion_id"].nunique())[pd.factorize(cases["lesion_id"])[0]]
    parts = []
    for arm in arms:
        for s in range(seeds):
            luck = np.where(rng.random(len(cases)) < 0.5, lesion, rng.random(len(cases)))
            right = luck < (skill[arm] if isinstance(skill, dict) else skill)
            away = np.where(right, 0, rng.integers(1, len(DX), len(cases)))
            dx_read = np.array(DX)[(pd.Categorical(cases["dx"], DX).codes + away) % len(DX)]
            parts.append(pd.DataFrame({"image_id": cases["image_id"], "arm": arm, "seed": s, "dx_read": dx_read}))
    return pd.concat(parts, ignore_index=True)


def row(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]
