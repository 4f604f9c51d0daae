"""Does a generator reproduce its train images? Every set against train images and unseen real ones, by one extractor.

The sets hold accepted images, of which 04 has removed the copies that it saw; the audit judges all. The test needs no
threshold, and says nothing of a single image; the audit does. Two rows are its controls: real val
images, which are no copies, and train images that went through the autoencoder and back, which are copies.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from p2d_lib.fidelity.controls import RECONSTRUCTED
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments.overfitting import Overfitting, overfitting
from p2d_lib.run import Run
from p2d_lib.seeds import derive

VAL = "val"
COLUMNS = ("set", "n", *Overfitting._fields)


def of_sets(
    run: Run,
    cases: pd.DataFrame,
    chosen: Sets,
    features: Mapping[str, np.ndarray],
    extractor: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> pd.DataFrame:
    """`overfitting` of every generator, of val images and of reconstructed train images; one row each, COLUMNS.

    features: (n, d) by set of chosen, of extractor. Train and unseen (test) images: one of each lesion, those of chosen
    where a lesion is among them. Empty for an extractor that was fitted on train images, for which the test does not
    hold: it has seen one side.
    """
    if not getattr(extractor, "independent", True):
        return pd.DataFrame(columns=COLUMNS)
    known = {split: _of_each_lesion(cases, chosen, split) for split in (FLOOR, REFERENCE, VAL)}
    embedded = {
        split: (run.in_parts(table, extractor), table["dx"].to_numpy()) for split, table in known.items() if len(table)
    }
    examined = {name: (features[name], chosen.dx) for name in (*chosen.generators, RECONSTRUCTED)}
    examined |= {split: embedded[split] for split in (VAL,) if split in embedded}
    rows = []
    for name, synthetic in examined.items():
        test = overfitting(embedded[FLOOR], embedded[REFERENCE], synthetic, seed=derive(seed, "copying", name))
        rows.append((name, len(synthetic[0]), *test))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_each_lesion(cases: pd.DataFrame, chosen: Sets, split: str) -> pd.DataFrame:
    """One image of each lesion of a split, those of chosen first."""
    first = chosen.tables[split]["image_id"] if split in chosen.tables else []
    of_split = cases[cases["split"] == split]
    order = (~of_split["image_id"].isin(first)).to_numpy().argsort(kind="stable")
    return of_split.iloc[order].drop_duplicates("lesion_id")
