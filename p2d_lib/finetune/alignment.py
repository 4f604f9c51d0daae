"""The alignment model: says how well an image fits a text. A tiny CLIP fitted here, or an open_clip model as it is."""

import pandas as pd
import torch

from p2d_lib.finetune.latents import digest
from p2d_lib.finetune.training_set import Split
from p2d_lib.models import clip
from p2d_lib.models.checkpoints import Checkpoints


def alignment_model(
    name: str,
    train: Split,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
) -> tuple[clip.Clip, pd.DataFrame | None]:
    """The model and its log (step, loss, learning_rate).

    name: "tiny" is fitted from scratch to the train split; anything else is a model of open_clip, such as
    hf-hub:redlessone/DermLIP_ViT-B-16, used as published: its log is None and the other arguments do not matter.
    """
    if name != "tiny":
        return clip.load(name, device), None
    key = digest(train, f"{steps} {batch_size} {seed}") if checkpoints else ""
    return clip.fit(
        train.pixels, train.prompts, steps=steps, batch_size=batch_size, seed=seed, device=device,
        checkpoint=checkpoints and checkpoints.of("alignment", key),
    )  # fmt: skip
