"""Counterfactual pairs: does a network read another diagnosis when only the skin tone, the hair or a ruler changes?

A pair is two images of one prompt and one noise in which one attribute differs, checked by 04: the attribute has
changed and the picture of the lesion has not. Unlike groups of patients, its sides have one class and one difficulty.
What networks make of two images of one prompt and two noises is the control: such images show two lesions of one
description.

04 also asks whether a readout names class and lesion alike on both sides. That is nearly what is measured here. So
pairs that fail this question alone count too: without them flips look rare beside the control, and an effect of the
attribute on readout and network alike is lost (tests/fairness simulates both). The pairs that pass it stand beside.
Their rate of flips is too low; that of all pairs also holds what the generator has changed in the lesion.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals, multiplicity
from p2d_lib.readings import counterfactual_images
from p2d_lib.schemas import COUNTERFACTUAL_ATTRIBUTES, OTHER_READING
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, MALIGNANT

CONTROL = "another noise"  # stands for an attribute in rows of the control
SAME = ", lesion reads the same"  # behind an attribute in rows of the pairs that pass all questions of 04
FLIPS, MALIGNANCY, CLASS = "flip rate", "P(malignant)", "P(prompted class)"
QUANTITIES = (FLIPS, MALIGNANCY, CLASS)
COLUMNS = (
    "attribute", "change", "arm", "quantity", "n_pairs", "n_lesions", "estimate", "low", "high", "least", "greatest",
    "detectable", "p", "p_holm",
)  # fmt: skip


def pairs(counterfactual: pd.DataFrame, repeated: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """One row per pair: attribute, change (from what to what), dx, lesion_id, first, second (image_ids).

    counterfactual: the artefact of this name, of which pairs count that are accepted or refused for OTHER_READING; the
    accepted ones have a second row, with SAME behind their attribute. repeated: the artefact "worst_case", several
    noises of one prompt, of which each two make a pair of CONTROL; the last of an odd number makes none. lesion_id: of
    the case whose description the prompt follows, in `cases`; pairs of one lesion are resampled together.
    """
    kept = counterfactual["accepted"] | (counterfactual["reason"] == OTHER_READING)
    sides = counterfactual_images(counterfactual[kept])
    both = sides.pivot(index="pair_id", columns="side", values=["image_id", "value"])
    of_pair = sides.drop_duplicates("pair_id").set_index("pair_id").loc[both.index]
    changed = of_pair[["attribute", "dx", "prompted_by", "accepted"]].assign(change="", first="", second="")
    if len(both):
        changed["change"] = both["value", "a"] + " → " + both["value", "b"]
        changed["first"], changed["second"] = both["image_id", "a"], both["image_id", "b"]
    same = changed[changed["accepted"]].assign(attribute=lambda pairs: pairs["attribute"] + SAME)
    rows = pd.concat([changed, same, _control(repeated)], ignore_index=True)
    rows["lesion_id"] = rows["prompted_by"].map(cases.set_index("image_id")["lesion_id"])
    order = [*(name + which for name in COUNTERFACTUAL_ATTRIBUTES for which in ("", SAME)), CONTROL]
    rows = rows.sort_values("attribute", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)
    return rows[["attribute", "change", "dx", "lesion_id", "first", "second"]]


def _control(repeated: pd.DataFrame) -> pd.DataFrame:
    """The pairs of CONTROL: of the images of one prompt the first with the second, the third with the fourth, ..."""
    place = repeated.groupby("prompted_by").cumcount()
    numbered = repeated[["dx", "prompted_by", "image_id"]].assign(pair=place // 2)
    first, second = (numbered[place % 2 == side] for side in range(2))
    both = first.merge(second, on=["dx", "prompted_by", "pair"], suffixes=("", "_second"))
    both = both.rename(columns={"image_id": "first", "image_id_second": "second"}).drop(columns="pair")
    return both.assign(attribute=CONTROL, change="one noise → another")


def compare(
    readings: pd.DataFrame,
    of_pairs: pd.DataFrame,
    min_n: int,
    arms: Iterable[str],
    n_resamples: int = 2000,
    *,
    seed: int,
) -> pd.DataFrame:
    """One row per attribute, arm and quantity of QUANTITIES; columns COLUMNS.

    readings: schemas.READINGS of the pairs' images, with probabilities, one reader per arm and seed. of_pairs: of
    `pairs`. FLIPS: the share of pairs whose sides are read as different diagnoses (0..1). The other two are shifts
    (-1..1), the second side's probability minus the first's: of the malignant classes together and of the class that
    the prompt names. estimate: mean over training seeds with its 95 % interval over lesions and seeds; least, greatest:
    of single seeds. p: of no shift (`intervals.compare`); not of flips, which have no value without an effect, nor of
    CONTROL or SAME. p_holm: over the table. detectable: `intervals.minimal_detectable`. An attribute with fewer than
    min_n lesions has NaN. Raises ValueError when an image of a pair is not read.
    """
    table, of_arms = [], {arm: _Readings(readings[readings["arm"] == arm], arm) for arm in arms}
    for attribute, rows in of_pairs.groupby("attribute", sort=False):
        n_lesions = rows["lesion_id"].nunique()
        same = {"attribute": attribute, "change": rows["change"].mode()[0]}
        same |= {"n_pairs": len(rows), "n_lesions": n_lesions}
        if n_lesions < max(min_n, 2):
            table += [same | {"arm": arm, "quantity": quantity} for arm in of_arms for quantity in QUANTITIES]
            continue
        weights = intervals.resample(rows["lesion_id"], n_resamples, seed=derive(seed, "pairs", attribute) % 2**32)
        for arm, of_arm in of_arms.items():
            for quantity, sides in of_arm.sides(rows).items():
                replicates = [side @ weights.T / weights.sum(1) for side in sides]
                table.append(same | {"arm": arm, "quantity": quantity} | _summary(quantity, attribute, *replicates))
    result = pd.DataFrame(table, columns=COLUMNS[:-1])
    return result.assign(p_holm=multiplicity.holm(result["p"].astype(float)))


class _Readings:
    """What the networks of one arm have read: (n_seeds, n) for the images in the order of `images`."""

    def __init__(self, readings: pd.DataFrame, arm: str) -> None:
        in_order = readings.sort_values(["seed", "image_id"])
        self.arm, self.n_seeds = arm, in_order["seed"].nunique()
        of_all = in_order["image_id"].map(in_order["image_id"].value_counts()) == self.n_seeds
        self.images = pd.Index(in_order.loc[of_all, "image_id"].unique())
        shape = (self.n_seeds, len(self.images))
        self.dx_read = in_order.loc[of_all, "dx_read"].to_numpy(object).reshape(shape)
        self.p = in_order.loc[of_all, [f"p_{dx}" for dx in DX]].to_numpy(float).reshape(*shape, len(DX))

    def sides(self, rows: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{quantity: (of the first side, of the second)}, each (n_seeds, n_pairs); of FLIPS the first is 0."""
        ends = [self.images.get_indexer(rows[end]) for end in ("first", "second")]
        for end, at in zip(("first", "second"), ends, strict=True):
            if (at < 0).any():
                lacking = rows[end].to_numpy()[at < 0][0]
                raise ValueError(
                    f"arm {self.arm!r} has not read image {lacking!r} of a pair with each of its seeds: run 06 again"
                )
        flips = (self.dx_read[:, ends[0]] != self.dx_read[:, ends[1]]).astype(float)
        malignant, prompted = [DX.index(dx) for dx in MALIGNANT], rows["dx"].map(DX.index).to_numpy()
        return {
            FLIPS: (np.zeros_like(flips), flips),
            MALIGNANCY: tuple(self.p[:, at][:, :, malignant].sum(-1) for at in ends),
            CLASS: tuple(self.p[:, at, prompted] for at in ends),
        }


def _summary(quantity: str, attribute: str, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """The numbers of one row. first, second: replicates of both sides, (n_seeds, 1 + B)."""
    shifts = second[:, 0] - first[:, 0]
    row = {"least": float(shifts.min()), "greatest": float(shifts.max())}
    if quantity == FLIPS:
        return row | intervals.summarise(second, bounds=(0, 1))._asdict()
    shift = intervals.compare(second, first)
    low, high = np.clip((shift.low, shift.high), -1, 1)
    row |= {"estimate": shift.difference, "low": low, "high": high}
    if attribute in COUNTERFACTUAL_ATTRIBUTES:
        row |= {"p": shift.p, "detectable": intervals.minimal_detectable(second, first)}
    return row
