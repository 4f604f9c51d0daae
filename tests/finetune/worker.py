"""One of the processes that torchrun starts: fits an adapter to the blots, its share of each batch."""

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from p2d_lib.finetune import adapter, latents, loop
from p2d_lib.models import pipelines

RECIPE = loop.Recipe(steps=4, batch_size=8, learning_rate=1e-2, seed=3, checkpoint_every=2)


def fit(folder: Path):
    """The pipeline with an adapter fitted to eight images of noise, and the log."""
    pipe = pipelines.load("random", seed=2)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    encoded = latents.encode(pipe, pixels, ["red lesion", "black lesion"] * 4, folder / "latents")
    return pipe, adapter.fit_adapter(pipe, encoded, RECIPE, rank=2, checkpoints=folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    pipe, log = fit(folder)
    state = PartialState()
    log.to_parquet(folder / f"log_{state.process_index}_of_{state.num_processes}.parquet")
