"""Which images 05 compares: as many of each class in every set, one of a lesion, pairs from one prompt and seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from p2d_lib.generators import BASELINES
from p2d_lib.vocabulary import DX

LIMIT = 500  # images a class: more make no distance more precise
REFERENCE, FLOOR = "test", "train"  # real images that the generators have not seen; others, for the floor


@dataclass(frozen=True)
class Sets:
    """Sets of equal n. Row i of all of them is of one class, and of all generators from one prompt and one seed.

    tables: rows of cases ("test", "train") or synthetic (generators), each sorted by class, in random order within it.
    too_few: baselines that are not compared, since too few of their accepted images have a counterpart.
    """

    tables: dict[str, pd.DataFrame]
    too_few: tuple[str, ...] = ()

    @property
    def dx(self) -> np.ndarray:
        """The class of each row (n,)."""
        return self.tables[REFERENCE]["dx"].to_numpy()

    @property
    def n(self) -> pd.Series:
        """Images a side, by class in the order of the vocabulary."""
        counts = pd.Series(self.dx).value_counts()
        return counts.reindex([dx for dx in DX if dx in counts.index])

    @property
    def generators(self) -> list[str]:
        """The generators that are compared: adapter, base, then the baselines."""
        return [name for name in self.tables if name not in (REFERENCE, FLOOR)]


def choose(cases: pd.DataFrame, synthetic: pd.DataFrame, min_n: int, seed: int) -> Sets:
    """The largest sets of equal n that test, train, base and adapter allow.

    Of real images one of each lesion is taken, so that rows are independent; of synthetic ones those whose counterparts
    (same dx and seed) all generators have and 04 accepted. A baseline takes part where each class keeps min_n images,
    or as many as it has without that baseline. A class with fewer than two images in some set is left out. seed: of the
    choice among more images than n. Raises ValueError when fewer than two classes are left.
    """
    order = np.random.default_rng(seed)
    shuffled = cases.iloc[order.permutation(len(cases))].drop_duplicates("lesion_id")
    real = {split: shuffled[shuffled["split"] == split] for split in (REFERENCE, FLOOR)}
    accepted = synthetic[synthetic["accepted"]].set_index(["dx", "seed"])
    places = {name: accepted.index[accepted["generator"] == name] for name in ("adapter", "base", *BASELINES)}
    shared = places["adapter"].intersection(places["base"]).sort_values()
    limits = [table["dx"].value_counts() for table in real.values()]
    needed = _sizes([*limits, _counts(shared)]).clip(upper=min_n)
    kept, too_few = ["adapter", "base"], []
    for name in (name for name in BASELINES if len(places[name])):
        both = shared.intersection(places[name])
        if (_counts(both).reindex(needed.index, fill_value=0) >= needed).all():
            kept, shared = [*kept, name], both.sort_values()
        else:
            too_few.append(name)
    sizes = _sizes([*limits, _counts(shared)])
    if len(sizes) < 2:
        flags = {name: synthetic.loc[synthetic["generator"] == name, "accepted"] for name in ("adapter", "base")}
        kept = " and ".join(f"{flag.sum()} of {len(flag)} of the {name}" for name, flag in flags.items())
        raise ValueError(
            f"{len(sizes)} classes have two images each in test, train, base and adapter (accepted, of the same seed), "
            f"two classes are needed; 04 accepted {kept} (synthetic.parquet gives each reason). Where it refused "
            "many, change the generator; else sample more of each class in 04, or split off a larger test set in 01"
        )
    shared = shared[order.permutation(len(shared))]
    chosen = [place for dx in sizes.index for place in shared[shared.get_level_values("dx") == dx][: sizes[dx]]]
    tables = {
        split: pd.concat([table[table["dx"] == dx].head(n) for dx, n in sizes.items()]) for split, table in real.items()
    }
    tables |= {name: accepted[accepted["generator"] == name].loc[chosen].reset_index() for name in kept}
    return Sets({name: table.reset_index(drop=True) for name, table in tables.items()}, tuple(too_few))


def real_splits(cases: pd.DataFrame, chosen: Sets, seed: int) -> Sets:
    """Test, train and val at the n that val allows, one image of each lesion: how far the floor depends on the split.

    The scout was fitted on train images, so their floor could be another than that of images new to it. Test and train
    images are the first of those in chosen. Without a class that has two lesions in all three, the tables are empty.
    """
    val = cases[cases["split"] == "val"].sample(frac=1, random_state=seed).drop_duplicates("lesion_id")
    real = {split: chosen.tables[split] for split in (REFERENCE, FLOOR)} | {"val": val}
    sizes = _sizes([table["dx"].value_counts() for table in real.values()])
    return Sets({
        split: pd.concat([table.head(0), *(table[table["dx"] == dx].head(n) for dx, n in sizes.items())])
        for split, table in real.items()
    })  # fmt: skip


def _counts(places: pd.MultiIndex) -> pd.Series:
    return places.get_level_values("dx").value_counts()


def _sizes(counts: Sequence[pd.Series]) -> pd.Series:
    """Images a class that all sets have, two at least, by class in the order of the vocabulary."""
    smallest = pd.concat(counts, axis=1).reindex(DX).fillna(0).min(axis=1).astype(int)
    return smallest[smallest >= 2].clip(upper=LIMIT)
