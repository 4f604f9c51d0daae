"""Several images for each of a sample of prompts, so that 05 can look at the most suspicious one of each prompt.

A generator that has memorised a case gives it away when it is asked for that case often enough: CheXGenBench
(arXiv:2505.10496) samples each of 2,000 training prompts ten times. A rate alone says little, since a prompt names what
its case shows; so as many prompts of val cases, which the generator has never seen, are the control.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.files import sha256
from p2d_lib.sample import pack
from p2d_lib.seeds import derive
from p2d_lib.words.choose import chosen

COLUMNS = ("image_id", "dx", "prompt", "prompted_by", "split", "seed", "generator")
SPLITS = ("train", "val")


def make(cases: pd.DataFrame, descriptions: pd.DataFrame, n_prompts: int, n_seeds: int, seed: int) -> pd.DataFrame:
    """A plan of n_seeds images of the adapter for each of n_prompts train prompts and as many val prompts.

    One row an image: COLUMNS, of which prompted_by and split are of the case whose description is the prompt. Both
    splits have the same number of prompts of each class, as even as val allows, each of another lesion; where val has
    fewer than n_prompts, there are as many as it has. n_prompts 0: an empty plan.
    """
    described = chosen(descriptions)[["image_id", "prompt"]]
    lesions = cases.sample(frac=1, random_state=derive(seed, "worst case") % 2**32).drop_duplicates("lesion_id")
    described = lesions[["image_id", "dx", "split"]].merge(described, on="image_id")
    sides = [described[described["split"] == split] for split in SPLITS]
    available = pd.concat([side["dx"].value_counts() for side in sides], axis=1).fillna(0).min(axis=1).sort_index()
    numbers = _even(available.astype(int), n_prompts)
    prompts = pd.concat([side[side["dx"] == dx][:n] for side in sides for dx, n in numbers.items()] or [sides[0][:0]])
    rows = prompts.rename(columns={"image_id": "prompted_by"}).loc[prompts.index.repeat(n_seeds)].reset_index(drop=True)
    k = rows.groupby("prompted_by").cumcount().astype(str)
    rows["image_id"] = "worst_" + rows["split"] + "_" + rows["prompted_by"] + "_" + k
    rows["seed"] = np.array([derive(seed, "worst case", name) for name in rows["image_id"]], np.int64)
    return rows.assign(generator="adapter")[list(COLUMNS)]


def collected(plan: pd.DataFrame, generated: Path, folder: Path) -> pd.DataFrame:
    """Copies the images of a plan of `make` out of the folder where they were generated; the artefact `worst_case`."""
    pack.collect(plan, generated, folder)
    digests = [sha256(folder / f"{name}.png") for name in plan["image_id"]]
    paths = ARTEFACTS["worst_case_images"].path + "/" + plan["image_id"] + ".png"
    return plan.assign(path=paths, sha256=pd.Series(digests, plan.index, dtype=str)).drop(columns="generator")


def _even(available: pd.Series, total: int) -> pd.Series:
    """At most `total` in all, as many of each class as there are or as of the others."""
    numbers = available * 0
    while numbers.sum() < total and (numbers < available).any():
        for dx in available.index[numbers < available][: total - numbers.sum()]:
            numbers[dx] += 1
    return numbers
