"""What is to be sampled: for each class, prompts after real train cases, each with its own seed."""

from collections.abc import Callable

import pandas as pd

from p2d_lib.prompts import Wording, chosen, lesions, resample
from p2d_lib.run import derive
from p2d_lib.vocabulary import DX, FEATURES

COLUMNS = ("image_id", "dx", "prompt", "seed", "generator")


def make(
    cases: pd.DataFrame,
    descriptions: pd.DataFrame,
    *,
    per_class: int,
    base_per_class: int,
    seed: int,
    sampling: str = "empirical",
    wording: Wording | None = None,
    count: Callable[[str], int] | None = None,
) -> pd.DataFrame:
    """A class-balanced plan, one row per image to draw: image_id, dx, prompt, seed, generator.

    Prompts come of the valid descriptions of `train` cases of the class, as `prompts.resample` samples them; "jitter"
    makes new ones, which `wording` words with `count` tokens. Rows of generator "base" repeat prompt and seed of the
    first rows of "adapter", so that the two pair. Row i of a class is the same whatever the counts. Raises ValueError
    for a class without train descriptions.
    """
    known = chosen(descriptions)[["image_id", "prompt", *FEATURES]]
    train = cases.loc[cases["split"] == "train", ["image_id", "dx", "localization", "age", "sex"]].merge(known)
    rows = []
    for dx in DX:
        own = train[train["dx"] == dx]
        if own.empty:
            raise ValueError(f"no valid description of a {dx} image in the train split: nothing to prompt {dx} with")
        asked = resample(own, max(per_class, base_per_class), sampling, derive(seed, "plan", dx))
        prompts = asked["prompt"].tolist()
        if sampling == "jitter":
            prompts = wording.prompts(lesions(asked, asked), count, seed, [f"{dx}{i}" for i in range(len(asked))])
        for generator, n in (("adapter", per_class), ("base", base_per_class)):
            for i, prompt in enumerate(prompts[:n]):
                rows.append((f"{generator}_{dx}_{i:05d}", dx, prompt, derive(seed, "sample", dx, i), generator))
    return pd.DataFrame(rows, columns=COLUMNS)
