import numpy as np
import pandas as pd
import pytest

from p2d_lib.parameters import profile
from p2d_lib.prep import splits
from p2d_lib.prep.pixels import DataError


def test_the_published_split_of_ham10000_is_reproduced(ham):
    p = profile("mini")["01_prep"]
    split = splits.split(ham, p["test_size"], p["val_size"], p["split_seed"])
    assert split.value_counts().to_dict() == {"train": 7130, "val": 890, "test": 1995}
    lesions = split.groupby(ham["lesion_id"]).first()
    assert lesions.value_counts().to_dict() == {"train": 5312, "val": 664, "test": 1494}
    assert splits.shared_lesions(ham.assign(split=split)) == 0


def test_an_image_level_split_of_ham10000_leaks_what_is_known_of_it(ham):
    leaks = splits.leak_of_image_split(ham, 0.2)
    assert leaks["all"] == pytest.approx(0.388, abs=0.005)
    assert leaks["mel"] == pytest.approx(0.685, abs=0.005)


def metadata(lesions: dict[str, int], views: int = 2) -> pd.DataFrame:
    rows = [(f"{dx}{k}", f"{dx}{k}_{v}", dx) for dx, n in lesions.items() for k in range(n) for v in range(views)]
    return pd.DataFrame(rows, columns=["lesion_id", "image_id", "dx"])


def test_no_lesion_is_on_both_sides_and_every_class_on_all():
    table = metadata({"nv": 200, "mel": 60, "df": 15})
    table = table.assign(split=splits.split(table, 0.2, 1 / 9, 42))
    assert splits.shared_lesions(table) == 0
    assert (table.groupby(["dx", "split"]).size().unstack() > 0).all(axis=None)
    assert (table["split"] == "test").mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("lesions", [1, 2, 4])
def test_a_class_with_too_few_lesions_to_split_is_named(lesions):
    table = metadata({"nv": 200, "mel": 60, "df": lesions})
    with pytest.raises(DataError, match=rf"dx 'df' has {lesions} lesions.*map the class to null") as error:
        splits.split(table, 0.2, 1 / 9, 42)
    assert "n_images" not in str(error.value)  # which is of the phantom alone
    with pytest.raises(DataError, match=rf"dx 'df' has {lesions} lesions.*n_images"):
        splits.split(table.assign(dataset="phantom"), 0.2, 1 / 9, 42)


def test_the_leak_of_an_image_level_split_is_what_drawing_many_of_them_gives():
    table = pd.concat([metadata({"nv": 30}, 1), metadata({"mel": 10}, 3), metadata({"bkl": 10}, 2)], ignore_index=True)
    lesion, rng = pd.factorize(table["lesion_id"])[0], np.random.default_rng(0)
    in_test = rng.permuted(np.tile(np.arange(len(table)) < 16, (4000, 1)), axis=1)
    in_train = ~in_test @ np.eye(lesion.max() + 1)[lesion]  # images of each lesion
    shares = (in_test & (in_train[:, lesion] > 0)).mean(axis=0) / 0.2
    leaks = splits.leak_of_image_split(table, 0.2)
    assert leaks["nv"] == 0
    assert leaks["mel"] == pytest.approx(shares[table["dx"] == "mel"].mean(), abs=0.01)
    assert leaks["all"] == pytest.approx(shares.mean(), abs=0.01)
