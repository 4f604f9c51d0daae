"""The images that arms are trained on and that classifiers read: one file of pixels, and which set stands where.

An arm takes its synthetic images from the adapter, as 04 has sampled them, or it selects others by name: those of
another generator ("base"), those that a describer's descriptions have prompted ("captioner"), or a variant that 06 has
sampled anew ("sentence", "guidance-2"; see `variants`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.files import sha256
from p2d_lib.generators import GENERATORS
from p2d_lib.image_store import store
from p2d_lib.instruments import obedience
from p2d_lib.parameters.classify import arm_parts
from p2d_lib.run import Run
from p2d_lib.schemas import SPLITS
from p2d_lib.vocabulary import DX
from p2d_lib.words.at_random import TONE
from p2d_lib.words.choose import chosen

ADAPTER = "adapter"  # the generator whose images are trained on where an arm names no other

SELECTED_BY = ("generator", "describer", "variant")


@dataclass(frozen=True)
class ImageSets:
    """table: image_id, dx and path of each image, and its set: train, val, test, "synthetic", "external" or "pairs".
    The images of a set follow one another. Of synthetic images also their generator, the describer whose description
    prompted them and the variant that they are; "" elsewhere. Of real images the skin_tone that their description says
    (a level, see `obedience.levels`; NaN: none)."""

    table: pd.DataFrame
    folder: Path  # of the run

    def rows(self, name: str, selection: str = "") -> np.ndarray:
        """Where the images of a set stand. selection: of synthetic images, by the name that an arm gives.

        Raises ValueError for a selection of no synthetic image.
        """
        table = self.table[self.table["set"] == name]
        if name == "synthetic":
            by_04 = (table["variant"] == "") & (table["generator"] == ADAPTER)
            if selection in GENERATORS:
                by_04 = (table["variant"] == "") & (table["generator"] == selection)
            elif selection:
                by_04 = (by_04 & (table["describer"] == selection)) | (table["variant"] == selection)
            if selection and not by_04.any():
                known = {*table["generator"], *table["describer"], *table["variant"]} - {""}
                raise ValueError(
                    f"no accepted synthetic image is by {selection!r}; there are images by "
                    f"{', '.join(sorted(known)) or 'none'}: take its arms out of 06_classify.arms"
                )
            table = table[by_04]
        return table.index.to_numpy()

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

    def contents(self) -> list[tuple[str, str, float, str, str]]:
        """Set, class, skin tone, what it is selected by and file digest of each image: what a training depends on."""
        digests = [sha256(self.folder / path) for path in self.table["path"]]
        names = self.table[list(SELECTED_BY)].agg("/".join, axis=1)
        return list(zip(*(self.table[of] for of in ("set", "dx", "skin_tone")), names, digests, strict=True))


def collect(
    run: Run,
    cases: pd.DataFrame,
    synthetic: pd.DataFrame,
    external: pd.DataFrame | None = None,
    descriptions: pd.DataFrame | None = None,
    variants: pd.DataFrame | None = None,
    arms: Sequence[str] = (),
    paired: Sequence[pd.DataFrame] = (),
) -> ImageSets:
    """All images of a comparison. Of `synthetic` and `variants` only rows with `accepted` count.

    external: the artefact "external_cases". descriptions: name the describer of each synthetic image and the skin tone
    of each real one, where arms ask.
    variants: of `variants.sampled`. arms: their names; of a generator other than the adapter only what they select is
    taken. paired: image_id, dx and path of the images of counterfactual pairs and their control, which are only read.
    """
    generators = {ADAPTER, *(arm_parts(arm)[1] for arm in arms)}
    accepted = synthetic[synthetic["accepted"] & synthetic["generator"].isin(generators)]
    if descriptions is not None:
        of_case = chosen(descriptions).set_index("image_id").reindex(columns=["describer", TONE])
        accepted = accepted.assign(describer=accepted["prompted_by"].map(of_case["describer"]))
        tones = cases["image_id"].map(of_case[TONE]).to_numpy(float)
        cases = cases.assign(skin_tone=obedience.levels(TONE, tones))
    parts = [cases[cases["split"] == split].assign(set=split) for split in SPLITS]
    parts += [accepted.assign(set="synthetic")]
    parts += [variants[variants["accepted"]].assign(set="synthetic")] if variants is not None else []
    parts += [external.assign(set="external")] if external is not None and len(external) else []
    parts += [part.assign(set="pairs") for part in paired]
    for part in parts:
        if len(part):
            run.images(part.head(1))  # notes the folder of these images as an input
    columns = ["image_id", "dx", "path", "set", "skin_tone", *SELECTED_BY]
    table = pd.concat(parts, ignore_index=True).reindex(columns=columns)
    table = table.astype(dict.fromkeys(SELECTED_BY, object)).fillna(dict.fromkeys(SELECTED_BY, ""))
    return ImageSets(table, run.folder)
