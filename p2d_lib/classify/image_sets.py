"""The images that arms are trained on and that classifiers read: one file of pixels, and which set stands where."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.files import sha256
from p2d_lib.image_store import store
from p2d_lib.run import Run
from p2d_lib.schemas import SPLITS
from p2d_lib.vocabulary import DX
from p2d_lib.words.choose import chosen

GENERATOR = "adapter"  # whose images are trained on


@dataclass(frozen=True)
class ImageSets:
    """table: image_id, dx and path of each image, and its set: train, val, test, "synthetic" or "external". The images
    of a set follow one another. describer: whose description a synthetic image was prompted with; "" elsewhere."""

    table: pd.DataFrame
    folder: Path  # of the run

    def rows(self, name: str, describer: str = "") -> np.ndarray:
        """Where the images of a set stand. Raises ValueError for a describer of no synthetic image."""
        of_set = self.table["set"] == name
        if describer:
            known = sorted(set(self.table.loc[of_set, "describer"]))
            if describer not in known:
                raise ValueError(
                    f"no accepted synthetic image was prompted by a description of {describer!r}; there are images of "
                    f"{', '.join(known) or 'none'}: take its arms out of 06_classify.arms"
                )
            of_set &= self.table["describer"] == describer
        return np.flatnonzero(of_set)

    def slice(self, name: str) -> slice:
        """The place of a set, so that its pixels stay on disk."""
        rows = self.rows(name)
        return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)

    @property
    def labels(self) -> np.ndarray:
        """Classes as indices into `vocabulary.DX`: (n,)."""
        return self.table["dx"].map(DX.index).to_numpy(int)

    def pixels(self, folder: Path) -> np.ndarray:
        """uint8 (n, h, w, 3), mapped from a file in `folder`."""
        return store([self.folder / path for path in self.table["path"]], folder)

    def contents(self) -> list[tuple[str, str, str, str]]:
        """Set, class, describer and file digest of each image: what a training depends on."""
        digests = [sha256(self.folder / path) for path in self.table["path"]]
        return list(zip(self.table["set"], self.table["dx"], self.table["describer"], digests, strict=True))


def collect(
    run: Run,
    cases: pd.DataFrame,
    synthetic: pd.DataFrame,
    external: pd.DataFrame | None = None,
    descriptions: pd.DataFrame | None = None,
) -> ImageSets:
    """All images of a comparison. Of `synthetic` only rows with `accepted` and generator "adapter" count.

    external: the artefact "external_cases". descriptions: name the describer of each synthetic image, where arms ask.
    """
    accepted = synthetic[synthetic["accepted"] & (synthetic["generator"] == GENERATOR)].assign(describer="")
    if descriptions is not None:
        of_case = chosen(descriptions).set_index("image_id")["describer"]
        accepted["describer"] = accepted["prompted_by"].map(of_case).fillna("")
    parts = [cases[cases["split"] == split].assign(set=split) for split in SPLITS]
    parts += [accepted.assign(set="synthetic")]
    parts += [external.assign(set="external")] if external is not None and len(external) else []
    for part in parts:
        if len(part):
            run.images(part.head(1))  # notes the folder of these images as an input
    table = pd.concat(parts, ignore_index=True).reindex(columns=["image_id", "dx", "path", "set", "describer"])
    return ImageSets(table.fillna({"describer": ""}), run.folder)
