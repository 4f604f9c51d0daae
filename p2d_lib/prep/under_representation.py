"""A group that train under-represents by design, so that the instruments of 08 can be tested: a phantom's dark-skin
melanomas."""

import numpy as np
import pandas as pd

from p2d_lib.prep.phantom import DARK
from p2d_lib.prep.pixels import DataError
from p2d_lib.seeds import derive


def move_to_test(metadata: pd.DataFrame, split: pd.Series, share: float, seed: int) -> pd.Series:
    """The split after this share (0..1) of the dark-skin melanomas of train has been moved to test.

    metadata: lesion_id, dx and true_fitzpatrick (1..6) of each image, in the rows of `split`. Whole lesions move,
    chosen at random; their number is rounded. Test then holds enough of the group to measure how it is read. Raises
    DataError where the true skin type is not known, or where train has no such lesion.
    """
    if not share:
        return split
    if "true_fitzpatrick" not in metadata:
        raise DataError(
            f"dark_melanomas_to_test is {share:g}: true skin types are known of the phantom alone; set it to 0"
        )
    dark = (metadata["dx"] == "mel") & metadata["true_fitzpatrick"].isin(DARK)
    lesions = metadata.loc[dark & (split == "train"), "lesion_id"].unique()
    if not len(lesions):
        raise DataError(
            f"dark_melanomas_to_test is {share:g}, but train has no dark-skin melanoma: raise 01_prep.dark_skin"
        )
    rng = np.random.default_rng(derive(seed, "under-representation"))
    moved = rng.permutation(lesions)[: round(share * len(lesions))]
    return split.mask(metadata["lesion_id"].isin(moved), "test")
