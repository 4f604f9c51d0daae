"""How near a base's samples come to real images while it is trained: the Fréchet distance over images seen."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.files import atomic
from p2d_lib.finetune.training_set import Split
from p2d_lib.instruments.distances import frechet
from p2d_lib.models import sampling
from p2d_lib.models.extractors import Extractor
from p2d_lib.seeds import derive

EXTRACTOR = "efficientnet_lite0"  # which no training uses: the decoder is fitted against efficientnet_lite1
COLUMNS = ["steps", "decoder_fitted", "n", "frechet", "floor"]


class Curve:
    """Called with the number of steps taken, as `loop.Monitoring.preview`, it samples n images and measures them.

    They are compared with n images of val, one of a lesion, and sampled from the prompts of these; the floor is the
    distance of n train images, one of a lesion, to the same. n: fewer where a split has fewer lesions. folder:
    measurements lie there, so that resuming keeps them. settings: of `sampling.sample`.
    """

    def __init__(self, pipe, train: Split, val: Split, n: int, seed: int, folder: Path, **settings):
        self.pipe, self.train, self.val, self.folder, self.settings = pipe, train, val, folder, settings
        rng = np.random.default_rng(derive(seed, "curve"))
        self.n = min(n, *(split.cases["lesion_id"].nunique() for split in (train, val)))
        self.known, self.held_out = (np.sort(split.one_of_a_lesion(self.n, rng)) for split in (train, val))
        cases = val.cases.iloc[self.held_out]
        self.prompts = cases["prompt"].tolist()
        self.seeds = [derive(seed, "curve", image_id) for image_id in cases["image_id"]]
        self.extractor = Extractor(EXTRACTOR, pipe.device)

    def __call__(self, done: int, decoder_fitted: bool = False) -> None:
        """Measures what the base samples after `done` steps."""
        images = sampling.sample(self.pipe, self.prompts, self.seeds, **self.settings)
        distance = frechet(self.extractor(images), self._real)
        row = dict(zip(COLUMNS, (done, decoder_fitted, self.n, distance, self._floor), strict=True))
        with atomic(self.folder / f"{done}-{int(decoder_fitted)}.json") as partial:
            partial.write_text(json.dumps(row) + "\n")

    def table(self) -> pd.DataFrame:
        """A row for each measurement: steps, decoder_fitted (bool), n, frechet, floor (the distance at the same n)."""
        rows = [json.loads(path.read_text()) for path in self.folder.glob("*.json")]
        return pd.DataFrame(rows, columns=COLUMNS).sort_values(COLUMNS[:2], ignore_index=True)

    @cached_property
    def _real(self) -> np.ndarray:
        return self.extractor(self.val.pixels[self.held_out])

    @cached_property
    def _floor(self) -> float:
        return frechet(self.extractor(self.train.pixels[self.known]), self._real)
