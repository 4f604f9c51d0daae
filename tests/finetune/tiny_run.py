"""A run that 03 can train on in seconds: what it reads, and its parameters."""

import numpy as np
import pandas as pd

from p2d_lib import images, parameters
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, FEATURES

WORDS = ["red lesion", "black lesion"]
GUIDANCE = {"guidance_scale": 2.0, "guidance_interval": (0.0, np.inf)}
TINY_RUN = {
    "base": "random", "base_steps": 6, "lora_steps": 6, "lora_rank": 2, "batch_size": 4, "evaluate_every": 1,
    "baselines": ["scratch-unet", "textual-inversion"], "baseline_size": 32, "baseline_steps": 6, "scout_steps": 6,
    "scout_batch_size": 8, "alignment_steps": 6, "alignment_batch_size": 8, "num_inference_steps": 2,
    "checkpoint_minutes": 0.0, "guidance_interval": [0.0, 100.0],
}  # fmt: skip


def tiny_parameters(**changes) -> parameters.Finetune:
    """The parameters of 03 at a size that trains in seconds."""
    return parameters.check("03_finetune", {**parameters.profile("smoke")["03_finetune"], **TINY_RUN, **changes})


def make_run(name: str, n: int = 21) -> None:
    """Leaves what 03 reads in a run: n images of 32 px, cases and descriptions, all classes, a third of them val."""
    run, rng = Run(name, "01_prep"), np.random.default_rng(0)
    ids = [f"image_{k:02d}" for k in range(n)]
    dx = [DX[k % len(DX)] for k in range(n)]
    with run.writing("images") as folder:
        folder.mkdir(parents=True)
        for image_id, kind in zip(ids, dx, strict=True):
            pixels = rng.integers(0, 60, (32, 32, 3)) + 25 * DX.index(kind)
            images.save(folder / f"{image_id}.png", pixels.astype(np.uint8))
    split = ["train" if k < 2 * n // 3 else "val" for k in range(n)]
    cases = pd.DataFrame({"image_id": ids, "lesion_id": ids, "dx": dx, "split": split})
    cases = cases.assign(
        dx_type="histo", age=50.0, sex="female", localization="back", dataset="phantom", sha256="0", width=32,
        height=32, entropy=4.0, sharpness=1.0, hair=0.0, ruler=0.0, is_empty=False, is_blurred=False, has_hair=False,
        has_ruler=False, ita=10.0, ita_patches=10.0, path=[f"images/{image_id}.png" for image_id in ids],
    )  # fmt: skip
    run.write("cases", cases)
    words = pd.DataFrame(dict.fromkeys(FEATURES, 0.5), index=range(n)).assign(
        image_id=ids, describer="template", text="", prompt=[f"dermoscopic image of {kind} lesion" for kind in dx],
        valid=True, reviewer="", seconds=0.0, cost=0.0,
    )  # fmt: skip
    Run(name, "02_describe").write("descriptions", words)
