"""Which synthetic images are accepted, and how often the check for copies refuses what cannot be a copy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from p2d_lib.instruments import copies
from p2d_lib.instruments.rates import exact_interval
from p2d_lib.run import Run
from p2d_lib.sample.measure import Measurements

REAL, ALTERED = "real (val)", "altered train images"  # controls of the check for copies beside the generators
NOMINAL = 0.01  # largest share that the check may refuse of images that cannot be copies


def measured_plan(plan: pd.DataFrame, measured: Measurements, nearest: pd.DataFrame, train: pd.Series) -> pd.DataFrame:
    """The plan with each image's sha256, alignment, nearest_case, nearest_distance and nearest_ratio.

    nearest: of `copies.nearest_originals`, whose originals are the train images; train: their image_ids.
    """
    return plan.assign(
        sha256=measured.sha256,
        alignment=measured.alignment,
        nearest_case=train.to_numpy()[nearest["original"]],
        nearest_distance=nearest["distance"].to_numpy(),
        nearest_ratio=nearest["ratio"].to_numpy(),
    )


def memorised(run: Run, table: pd.DataFrame, other: pd.DataFrame | None = None) -> pd.Series:
    """Which images of a measured plan a memorisation audit refuses: bool, in the table's order.

    The audit of 05 may lie in the run, from an earlier pass over it; each of its verdicts holds for the image with that
    image_id and sha256 and for no other, so an image that was sampled anew is not judged by an old verdict. It is no
    input of 04 (05 comes later and reads what 04 writes); where it refuses an image, the provenance notes it as of an
    earlier pass. other: an audit that the user names, with image_id, memorised (bool) and, where known, sha256; it
    judges beside that of the run. Raises ValueError when `other` does not know one of the images, run.ArtefactError
    where the run's audit is broken or was changed by hand.
    """
    audit = run.read_earlier("memorisation")
    verdicts = [] if audit is None else [_verdicts(table, audit)]
    if verdicts and verdicts[0].eq(1).any():
        run.note_earlier("memorisation")
    if other is not None:
        of_other = _verdicts(table, other)
        if of_other.isna().any():
            first, n = table["image_id"][of_other.isna()].iloc[0], of_other.isna().sum()
            raise ValueError(f"the memorisation audit lacks {n} of the images, {first} first: redo it")
        verdicts.append(of_other)
    refused = pd.Series(False, table.index)
    for of_audit in verdicts:
        refused |= of_audit.fillna(0).astype(bool)
    return refused


def _verdicts(table: pd.DataFrame, audit: pd.DataFrame) -> pd.Series:
    """What an audit says of each image: 1 (memorised), 0, or NaN where it does not know this image."""
    keys = ["image_id", "sha256"] if "sha256" in audit else ["image_id"]
    known = audit.drop_duplicates(keys).set_index(keys)["memorised"].astype(float)
    return pd.Series(
        known.reindex(pd.MultiIndex.from_frame(table[keys]) if len(keys) > 1 else table["image_id"]).to_numpy(),
        table.index,
    )


def accept(table: pd.DataFrame, refused: pd.Series | None = None, *, alignment_quantile: float = 0.0) -> pd.DataFrame:
    """The measured plan with `accepted`, and `reason`: "", or the first reason why an image is not accepted.

    - "copy": nearest_ratio is at most `copies.COPY_RATIO`.
    - "memorised": `refused`, of `memorised`, says so.
    - "alignment": its alignment lies below this quantile of its own class and generator, so no class is filtered away
      because the alignment model gives it lower values. 0 keeps all: images that are chosen by a score look better by
      it.
    """
    alignment = table.groupby(["generator", "dx"])["alignment"]
    reasons = {
        "copy": table["nearest_ratio"] <= copies.COPY_RATIO,
        "memorised": pd.Series(False, table.index) if refused is None else refused,
        "alignment": table["alignment"] < alignment.transform("quantile", alignment_quantile),
    }
    reason = np.select(list(reasons.values()), list(reasons), default="")
    return table.assign(accepted=reason == "", reason=reason)


def copy_rates(synthetic: pd.DataFrame, controls: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """How often images pass for copies of a train image: a row per generator of `synthetic` and per control.

    controls: `copies.nearest_originals` of images that are no copies (REAL) or are copies (ALTERED). Index images;
    columns n, copies, rate, low, high (`exact_interval`), by_class ("df 2 of 48, ...", the classes of a generator that
    have copies; "" of controls).
    """
    ratios = {name: part["nearest_ratio"] for name, part in synthetic.groupby("generator", sort=False)}
    ratios |= {name: nearest["ratio"] for name, nearest in controls.items()}
    counts = {name: (len(ratio), int((ratio <= copies.COPY_RATIO).sum())) for name, ratio in ratios.items()}
    of_class = (synthetic["nearest_ratio"] <= copies.COPY_RATIO).groupby([synthetic["generator"], synthetic["dx"]])
    found = of_class.agg(["sum", "size"]).query("sum > 0").astype(str).reset_index()
    texts = (found["dx"] + " " + found["sum"] + " of " + found["size"]).groupby(found["generator"]).agg(", ".join)
    return pd.DataFrame(
        [(name, n, k, k / n, *exact_interval(k, n), texts.get(name, "")) for name, (n, k) in counts.items()],
        columns=["images", "n", "copies", "rate", "low", "high", "by_class"],
    ).set_index("images")


def negative_controls(base_trained_here: bool) -> list[str]:
    """Rows of `copy_rates` that cannot be copies: val holds other lesions than train, and a base that was trained
    elsewhere has never seen a train image."""
    return [REAL] if base_trained_here else ["base", REAL]


def copies_more(rates: pd.DataFrame, controls: Sequence[str]) -> float:
    """p-value of Fisher's exact test, one-sided: the adapter copies more often than the controls seem to.

    rates: of `copy_rates`; controls: of `negative_controls`, taken together.
    """
    sides = rates.loc["adapter"], rates.loc[list(controls)].sum()
    counts = [[side["copies"], side["n"] - side["copies"]] for side in sides]
    return float(stats.fisher_exact(counts, alternative="greater").pvalue)


def prompted_shares(synthetic: pd.DataFrame) -> pd.DataFrame:
    """How often the nearest train image is the one whose description was the prompt: a row per generator.

    Index images; columns n, share, low, high (as in `copy_rates`) and chance: the share that is expected when, within
    each class, nearest and prompting images are paired at random.
    """
    rows = {}
    for generator, part in synthetic.groupby("generator", sort=False):
        k, n = int((part["nearest_case"] == part["prompted_by"]).sum()), len(part)
        by_chance = sum(_matches_by_chance(of_class) for _, of_class in part.groupby("dx"))
        rows[generator] = (n, k / n, *exact_interval(k, n), by_chance / n)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["n", "share", "low", "high", "chance"])
    return table.rename_axis("images")


def _matches_by_chance(part: pd.DataFrame) -> float:
    """Expected number of rows with nearest_case == prompted_by when either column is shuffled."""
    nearest, prompting = part["nearest_case"].value_counts(), part["prompted_by"].value_counts()
    return float(nearest.mul(prompting, fill_value=0).sum() / len(part))
