"""The same prompts and noise, drawn again and again while a model is fitted: a row of images for each look."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from p2d_lib.files import atomic
from p2d_lib.models import sampling
from p2d_lib.report import figures


class Strip:
    """To be called with the number of steps taken, as `train.Watch.show`; rows lie in `folder`, so resuming keeps them.

    prompts, seeds: one image of each. settings: of `diffusion.sample`.
    """

    def __init__(self, pipe, prompts: Sequence[str], seeds: Sequence[int], folder: Path, **settings):
        self.pipe, self.prompts, self.seeds, self.folder, self.settings = pipe, prompts, seeds, folder, settings

    def __call__(self, done: int) -> None:
        """Draws the row after `done` steps; later ones are of a run before this one, and go."""
        for step, path in self._rows():
            if step > done:
                path.unlink()
        drawn = sampling.sample(self.pipe, self.prompts, self.seeds, **self.settings)
        with atomic(self.folder / f"{done}.npy") as partial, partial.open("wb") as file:
            np.save(file, drawn)

    def figure(self, titles: Sequence[str], epoch: int) -> Figure:
        """Rows from the first look down, a title above each prompt's column. epoch: its steps."""
        rows = self._rows()
        return figures.grid(
            [np.load(path) for _, path in rows], [f"epoch {step / epoch:.3g}" for step, _ in rows], titles
        )

    def _rows(self) -> list[tuple[int, Path]]:
        return sorted((int(path.stem), path) for path in self.folder.glob("*.npy"))
