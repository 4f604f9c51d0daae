import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from raw_set import LESIONS, MASKS, PARTS

from p2d_lib.prep.layouts import COLUMNS
from p2d_lib.prep.raw import find, read
from p2d_lib.vocabulary import DX


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("P2D_THREADS", "1")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A raw set of 42 images in the authors' layout; lesion k is two images of the same brown square."""
    folder = tmp_path / "raw"
    for place in (*PARTS, MASKS):
        (folder / place).mkdir(parents=True)
    rows = []
    for k in range(2 * LESIONS * len(DX)):
        name, dx = f"ISIC_{k:07d}", DX[k // 2 % len(DX)]
        image, mask = np.full((30, 40, 3), (214, 170, 148), np.uint8), np.zeros((30, 40), np.uint8)
        image[10:20, 15:25], mask[10:20, 15:25] = (100, 60 + k // 2, 40), 255
        Image.fromarray(image).save(folder / PARTS[k % 2] / f"{name}.jpg", quality=95)
        Image.fromarray(mask).save(folder / MASKS / f"{name}_segmentation.png")
        rows.append((f"HAM_{k // 2:07d}", name, dx, "histo", "45.0", "female", "back", "rosendahl"))
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def ham() -> pd.DataFrame:
    if not os.environ.get("P2D_HAM10000"):
        pytest.skip("P2D_HAM10000 is not set: the real HAM10000 is not at hand")
    return read(find()).metadata
