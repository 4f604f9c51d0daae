"""Copies that are planted among the synthetic images: positive controls of the check for copies."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.models.generate import files
from p2d_lib.run import Run


def plant_copies(run: Run, plan: pd.DataFrame, folder: Path, train: pd.DataFrame, n: int) -> list[str]:
    """Puts a train image of the class in the place of n images of generator "adapter": a fault for checks to find.

    folder: where `generate` put the images; the same images are replaced each time. Returns their image_ids.
    """
    of_adapter = plan[plan["generator"] == "adapter"]
    replaced = of_adapter.iloc[np.linspace(0, len(of_adapter) - 1, n).astype(int)]
    for k, (dx, file) in enumerate(zip(replaced["dx"], files(replaced, folder), strict=True)):
        originals = train.loc[train["dx"] == dx, "path"]
        shutil.copyfile(run.folder / originals.iloc[k % len(originals)], file)
    return replaced["image_id"].tolist()
