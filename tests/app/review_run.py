"""A small run for the Review and Read tabs: two images of each class with a description, and a reader study."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd

from p2d_lib import images
from p2d_lib.readers import study
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, DX_NAMES, FEATURES
from p2d_lib.words.wording import Wording

MARKUP = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
N_READERS = 2


def make_run(name: str) -> tuple[Run, pd.DataFrame]:
    """The run, as the app opens it, and the key of its study."""
    prep, rng = Run(name, "01_prep"), np.random.default_rng(0)
    ids = [f"image_{k:02d}" for k in range(14)]
    dx = [DX[k % 7] for k in range(14)]
    with prep.writing("images") as folder:
        folder.mkdir(parents=True)
        for image_id in ids:
            images.save(folder / f"{image_id}.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
    cases = pd.DataFrame({"image_id": ids, "lesion_id": ids, "dx": dx, "split": ["train"] * 12 + ["val", "test"]})
    cases = cases.assign(
        dx_type="histo", age=50.0, sex="female", localization="back", dataset="phantom", sha256="0", width=16,
        height=16, entropy=4.0, sharpness=1.0, hair=0.0, ruler=0.0, is_empty=False, is_blurred=False, has_hair=False,
        has_ruler=False, ita=10.0, ita_patches=10.0, path=[f"images/{image_id}.png" for image_id in ids],
    )  # fmt: skip
    prep.write("cases", cases)
    describe = Run(name, "02_describe", {"seed": 0})
    words = pd.DataFrame(dict.fromkeys(FEATURES, 0.1), index=range(14)).assign(red=0.8, black=np.nan)
    words = words.assign(
        image_id=ids, describer="template", text=[f"A {DX_NAMES[one]}, red. {MARKUP}" for one in dx],
        prompt=[f"dermoscopic image of {DX_NAMES[one]}, red color, back" for one in dx],
        valid=True, reviewer="", seconds=0.0, cost=0.0,
    )  # fmt: skip
    describe.write("descriptions", words)
    with describe.writing("wording") as partial:
        partial.write_text(json.dumps(asdict(Wording("phrases", 8, 62))))
    return Run(name, "app"), _study(name, cases)


def _study(name: str, cases: pd.DataFrame) -> pd.DataFrame:
    synthetic = cases[["dx"]].assign(path="synthetic/x.png", generator="adapter", accepted=True)
    synthetic = synthetic.assign(image_id=[f"synthetic_{k}" for k in range(14)])
    key, _ = study.choose(cases.assign(split="test"), synthetic, n_images=14, seed=0)
    pictures = np.random.default_rng(1).integers(0, 256, (len(key), 16, 16, 3), np.uint8)
    with Run(name, "07_readers").writing("study") as folder:
        study.build(folder, key, pictures, N_READERS)
    return key


def count(text: str) -> int:
    """Tokens, one a word."""
    return len(text.split())
