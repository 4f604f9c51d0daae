"""What 01 and 02 leave of a small set about which nothing is told but diagnoses, splits and pixels."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2d_lib import images
from p2d_lib.run import Run
from p2d_lib.vocabulary import FEATURES


def write_cases(run: Run, dx: Sequence[str], split: Sequence[str], pixels: Sequence[np.ndarray]) -> pd.DataFrame:
    """Writes a run's images and cases, one image a lesion, and returns the cases.

    dx, split, pixels (n,): of image_00, image_01 and so on; pixels are uint8 (s, s, 3).
    """
    ids = [f"image_{k:02d}" for k in range(len(dx))]
    with run.writing("images") as folder:
        folder.mkdir(parents=True)
        for image_id, image in zip(ids, pixels, strict=True):
            images.save(folder / f"{image_id}.png", image)
    side = len(pixels[0])
    cases = pd.DataFrame({"image_id": ids, "lesion_id": ids, "dx": list(dx), "split": list(split)}).assign(
        dx_type="histo", age=50.0, sex="female", localization="back", dataset="phantom", sha256="0", width=side,
        height=side, entropy=4.0, sharpness=1.0, hair=0.0, ruler=0.0, is_empty=False, is_blurred=False,
        has_hair=False, has_ruler=False, ita=10.0, ita_patches=10.0, path=[f"images/{one}.png" for one in ids],
    )  # fmt: skip
    run.write("cases", cases)
    return cases


def descriptions(cases: pd.DataFrame, score: float, prompts: Sequence[str], **columns) -> pd.DataFrame:
    """A table of descriptions of all cases, all features scored alike, for a test to change and write.

    columns: further ones, or others than these.
    """
    scores = pd.DataFrame(dict.fromkeys(FEATURES, score), index=range(len(cases)))
    about = {"describer": "template", "text": "", "valid": True, "reviewer": "", "seconds": 0.0, "cost": 0.0}
    return scores.assign(image_id=cases["image_id"].to_numpy(), prompt=list(prompts), **about | columns)
