"""What is to be sampled: for each class, prompts of real train cases, each with its own seed."""

import numpy as np
import pandas as pd

from p2d_lib.run import derive
from p2d_lib.vocabulary import DX

COLUMNS = ("image_id", "dx", "prompt", "seed", "generator")


def make(
    cases: pd.DataFrame, descriptions: pd.DataFrame, *, per_class: int, base_per_class: int, seed: int
) -> pd.DataFrame:
    """A class-balanced plan, one row per image to draw: image_id, dx, prompt, seed, generator.

    Prompts are the valid descriptions of `train` cases of the class, each used once before any is used twice. Rows of
    generator "base" repeat prompt and seed of the first rows of "adapter", so that the two pair. Row i of a class is
    the same whatever the counts. Raises ValueError for a class without train descriptions.
    """
    known = descriptions[descriptions["valid"]].drop_duplicates("image_id")[["image_id", "prompt"]]
    train = cases.loc[cases["split"] == "train", ["image_id", "dx"]].merge(known, on="image_id")
    rows = []
    for dx in DX:
        prompts = train.loc[train["dx"] == dx, "prompt"].to_numpy()
        if not len(prompts):
            raise ValueError(f"no valid description of a {dx} image in the train split: nothing to prompt {dx} with")
        order = np.random.default_rng(derive(seed, "plan", dx)).permutation(len(prompts))
        for generator, count in (("adapter", per_class), ("base", base_per_class)):
            for i in range(count):
                prompt, image_seed = prompts[order[i % len(order)]], derive(seed, "sample", dx, i)
                rows.append((f"{generator}_{dx}_{i:05d}", dx, prompt, image_seed, generator))
    return pd.DataFrame(rows, columns=COLUMNS)
