"""Pools of images that exist by name only, pictures for them, and readings of one who knows each diagnosis."""

import numpy as np
import pandas as pd

from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX


def pools(per_class=12, views=2):
    cases = [(f"r_{dx}_{i}_{view}", f"l_{dx}_{i}", dx) for dx in DX for i in range(per_class) for view in range(views)]
    cases = pd.DataFrame(cases, columns=["image_id", "lesion_id", "dx"]).assign(split="test", path="images/x.png")
    synthetic = pd.DataFrame([(f"s_{dx}_{i}", dx) for dx in DX for i in range(per_class)], columns=["image_id", "dx"])
    return cases, synthetic.assign(path="synthetic/x.png", generator="adapter", accepted=True)


def pictures(n):
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), np.uint8)


def oracle(key, p_synthetic, name="oracle", **columns):
    """Readings of one who knows each diagnosis. p_synthetic: what it answers to "real or synthetic?"."""
    rows = readings(key["image_id"], name, "network", p=np.eye(7)[key["dx"].map(DX.index)], p_synthetic=p_synthetic)
    return rows.assign(**columns)
