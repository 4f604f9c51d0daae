"""A run that 03 can train on in seconds: what it reads, and its parameters."""

import numpy as np
from plain_cases import descriptions, write_cases

from p2d_lib import parameters
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX

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
    dx = [DX[k % len(DX)] for k in range(n)]
    pixels = [(rng.integers(0, 60, (32, 32, 3)) + 25 * DX.index(kind)).astype(np.uint8) for kind in dx]
    cases = write_cases(run, dx, ["train" if k < 2 * n // 3 else "val" for k in range(n)], pixels)
    words = descriptions(cases, 0.5, [f"dermoscopic image of {kind} lesion" for kind in dx])
    Run(name, "02_describe").write("descriptions", words)
