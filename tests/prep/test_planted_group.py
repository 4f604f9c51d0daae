"""Dark-skin melanomas that train is to lack stand in test, as whole lesions; everything else stays."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.prep import phantom
from p2d_lib.prep.pixels import DataError
from p2d_lib.prep.under_representation import move_to_test


@pytest.fixture
def metadata():
    """400 lesions of two images: melanomas and nevi, on skin types I to VI in turn."""
    lesions = pd.DataFrame({"lesion_id": [f"l{k}" for k in range(400)], "true_fitzpatrick": np.arange(400) % 6 + 1})
    lesions["dx"] = np.where(np.arange(400) // 6 % 2, "mel", "nv")
    lesions["split"] = np.random.default_rng(0).choice(["train", "val", "test"], 400, p=[0.7, 0.1, 0.2])
    return lesions.loc[np.repeat(lesions.index, 2)].reset_index(drop=True)


def test_the_share_of_dark_skin_melanomas_moves_from_train_to_test_as_whole_lesions(metadata):
    split = move_to_test(metadata, metadata["split"], 0.9, seed=1)
    moved = split != metadata["split"]
    assert set(metadata.loc[moved, "dx"]) == {"mel"} and set(metadata.loc[moved, "true_fitzpatrick"]) == {5, 6}
    assert set(metadata.loc[moved, "split"]) == {"train"} and set(split[moved]) == {"test"}
    assert (split.groupby(metadata["lesion_id"]).nunique() == 1).all()
    dark = (metadata["dx"] == "mel") & metadata["true_fitzpatrick"].isin((5, 6)) & (metadata["split"] == "train")
    n = metadata.loc[dark, "lesion_id"].nunique()
    assert metadata.loc[moved, "lesion_id"].nunique() == round(0.9 * n) > 20


def test_it_repeats_itself_and_a_share_of_0_moves_nothing_even_without_truth(metadata):
    first, again, other = (move_to_test(metadata, metadata["split"], 0.5, seed) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)
    assert move_to_test(metadata.drop(columns="true_fitzpatrick"), metadata["split"], 0, 1).equals(metadata["split"])


def test_what_cannot_be_planted_is_refused(metadata):
    with pytest.raises(DataError, match="true skin types are known of the phantom alone"):
        move_to_test(metadata.drop(columns="true_fitzpatrick"), metadata["split"], 0.5, 1)
    with pytest.raises(DataError, match=r"raise 01_prep\.dark_skin"):
        move_to_test(metadata.assign(true_fitzpatrick=2), metadata["split"], 0.5, 1)


def test_a_share_of_all_phantom_lesions_is_moved_to_dark_skin_and_nothing_else_changes(tmp_path):
    truths = {}
    for share in (0.0, 0.5):
        folder = tmp_path / str(share)
        phantom.write(folder, 50, 4, 0.3, "clinic", size=(32, 24), dark_skin=share, progress=False)
        truths[share] = pd.read_csv(folder / "truth.csv").set_index("image_id")
    few, half = (truth["true_fitzpatrick"].ge(5) for truth in truths.values())
    assert few.mean() < 0.2 < half.mean() < 0.8
    untouched = truths[0.0].columns.drop(["true_fitzpatrick", "true_background_skin_tone"])
    pd.testing.assert_frame_equal(truths[0.0].loc[~half, untouched], truths[0.5].loc[~half, untouched])
    first, second = ((tmp_path / str(share) / "HAM10000_metadata.csv").read_bytes() for share in truths)
    assert first == second
