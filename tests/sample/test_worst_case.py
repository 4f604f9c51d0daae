"""Claims about the prompts that are sampled several times."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.sample import worst_case
from p2d_lib.vocabulary import DX


@pytest.fixture
def described():
    """Of each class eight train lesions, of which one has two images, and three val lesions; df has one val lesion."""
    rows = [(f"{dx}{split}{i}", dx, split, f"{dx}{split}{min(i, n - 2)}") for dx in DX
            for split, n in (("train", 9), ("val", 2 if dx == "df" else 4), ("test", 3)) for i in range(n)]  # fmt: skip
    cases = pd.DataFrame(rows, columns=["image_id", "dx", "split", "lesion_id"])
    return cases, cases[["image_id"]].assign(prompt="a " + cases["image_id"], valid=True, reviewer="")


def test_train_and_val_have_as_many_prompts_of_each_class_each_of_another_lesion(described):
    cases, _ = described
    made = worst_case.make(*described, n_prompts=18, n_seeds=3, seed=0)
    prompts = made.drop_duplicates("prompted_by")
    counts = prompts.groupby(["split", "dx"]).size().unstack()
    assert (
        counts.loc["train"].equals(counts.loc["val"]) and counts.loc["val"].sum() == 18 and counts.loc["val", "df"] == 1
    )
    assert (made.groupby("prompted_by").size() == 3).all() and made["seed"].is_unique and made["image_id"].is_unique
    lesions = prompts.merge(cases, left_on="prompted_by", right_on="image_id")
    assert lesions["lesion_id"].is_unique and (lesions["split_x"] == lesions["split_y"]).all()
    assert (made["prompt"] == "a " + made["prompted_by"]).all()


def test_where_val_has_fewer_there_are_as_many_as_it_has_and_none_where_none_is_asked_for(described):
    assert worst_case.make(*described, n_prompts=500, n_seeds=1, seed=0)["split"].value_counts().to_dict() == {
        "train": 19, "val": 19}  # fmt: skip
    empty = worst_case.make(*described, n_prompts=0, n_seeds=4, seed=0)
    assert empty.empty and list(empty) == list(worst_case.COLUMNS)


def test_an_image_of_a_prompt_keeps_its_seed_when_more_are_asked_for(described):
    few, many = (worst_case.make(*described, n_prompts=7, n_seeds=n, seed=0).set_index("image_id") for n in (2, 4))
    assert (many.loc[few.index, "seed"] == few["seed"]).all()
    other = worst_case.make(*described, n_prompts=7, n_seeds=2, seed=1)
    assert not np.isin(other["seed"], few["seed"]).any()
