"""What the room's tests train on: coloured blots with prompts, and a pipeline fitted to them."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from tiny_run import WORDS

from p2d_lib.finetune import base, latents, loop
from p2d_lib.models import pipelines, tiny_base
from p2d_lib.models.checkpoints import Checkpoints

NARROW = partial(tiny_base.tiny_pipeline, widths=(32, 64, 128))


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """The base "random" gets a narrow denoiser, a third of the cost: no claim of this room depends on the width."""
    monkeypatch.setattr(pipelines, "tiny_pipeline", NARROW)


@pytest.fixture(scope="session")
def blots():
    """A red blot on white for the first prompt, a black one for the second: uint8 (16, 32, 32, 3) and their prompts."""
    y, x = np.mgrid[:32, :32]
    blot = ((y - 16) ** 2 + (x - 16) ** 2 < 100)[..., None]
    red, black = (np.where(blot, colour, [230, 225, 220]).astype(np.uint8) for colour in ([220, 30, 30], [10, 10, 10]))
    return np.stack([red, black] * 8), WORDS * 8


@pytest.fixture(scope="session")
def fitted(blots, tmp_path_factory):
    """The tiny pipeline fitted to the blots, what it was fitted on, and the log."""
    pixels, prompts = blots
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "tiny_pipeline", NARROW)
        pipe = pipelines.load("random")
    pipe.vae.fit(pixels)
    encoded = latents.encode(pipe, pixels, prompts, tmp_path_factory.mktemp("latents"))
    log = base.fit_base(pipe, encoded, prompts, loop.Recipe(steps=140, batch_size=16, learning_rate=2e-3, seed=0))
    return pipe, encoded, log


@pytest.fixture
def at_every_step(monkeypatch) -> Callable[..., Checkpoints]:
    """Checkpoints that are written after every second step, whatever the clock says."""
    monkeypatch.setattr(loop, "SYNC_EVERY", 2)
    return lambda folder: Checkpoints(folder, every_minutes=0)
