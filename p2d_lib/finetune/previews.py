"""Preview images: the same prompts and noise, sampled again and again while a model is fitted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2d_lib.files import atomic
from p2d_lib.models import sampling


class Previews:
    """Called with the number of steps taken, as `loop.Monitoring.preview`, it samples one row of images.

    prompts, seeds: one image of each. folder: rows lie there, so that resuming keeps them. settings: of
    `sampling.sample`.
    """

    def __init__(self, pipe, prompts: Sequence[str], seeds: Sequence[int], folder: Path, **settings):
        self.pipe, self.prompts, self.seeds, self.folder, self.settings = pipe, prompts, seeds, folder, settings

    def __call__(self, done: int) -> None:
        """Samples the row after `done` steps; rows of later steps are of an earlier run, and go."""
        for step, path in self._files():
            if step > done:
                path.unlink()
        row = sampling.sample(self.pipe, self.prompts, self.seeds, **self.settings)
        with atomic(self.folder / f"{done}.npy") as partial, partial.open("wb") as file:
            np.save(file, row)

    def rows(self) -> dict[int, np.ndarray]:
        """Each row of images, uint8 (n, size, size, 3), by the number of steps before it, in their order."""
        return {step: np.load(path) for step, path in self._files()}

    def _files(self) -> list[tuple[int, Path]]:
        return sorted((int(path.stem), path) for path in self.folder.glob("*.npy"))
