"""Which images of a run may be released: those of the adapter that every check has let pass."""

import numpy as np
import pandas as pd

from p2d_lib.fidelity.audit_report import passes, verdict
from p2d_lib.files import file_sha256
from p2d_lib.instruments import copies
from p2d_lib.release import overlap
from p2d_lib.release.refusal import Refused
from p2d_lib.run import Run

REASONS = {  # of the column `reason` of synthetic.parquet
    "copy": "a copy of a train image",
    "memorised": "shows a train lesion (memorisation audit)",
    "alignment": "fits its prompt less well than the run wanted",
}
PUBLIC = ["image_id", "dx", "reason"]


def passed_audit(run: Run) -> tuple[str, pd.DataFrame]:
    """The verdict of 05 on the whole set, and its tests. Raises Refused where the set has not passed."""
    tests = run.read("memorisation_tests")
    recall = float(tests["recall"].iloc[0])
    sentence = verdict(tests, recall)
    if not passes(tests, recall):
        raise Refused(
            f"{sentence} Nothing of it is released: train the generator for less long or on more images "
            "(03_finetune.lora_steps), and run 03 to 05 again"
        )
    return sentence, tests


def judged(run: Run, sets: list[overlap.RealSet]) -> pd.DataFrame:
    """The adapter's images (columns of synthetic.parquet) with two columns more: why each is not released, and of what.

    reason is "" for an image that is released; detail may name a real image and is not published; slipped (bool): 04
    and 05 have let the image pass and only the search among `sets` refuses it. Raises Refused where 05 has not judged
    an image, or where its file is not the one that was judged.
    """
    run.path("synthetic_images")
    table = run.read("synthetic")
    table = table[table["generator"] == "adapter"].reset_index(drop=True)
    verdicts = run.read("memorisation").set_index(["image_id", "sha256"])
    keys = pd.MultiIndex.from_frame(table[["image_id", "sha256"]])
    same = [
        file_sha256(run.folder / path) == digest for path, digest in zip(table["path"], table["sha256"], strict=True)
    ]
    for wrong, problem in ((~keys.isin(verdicts.index), "has no verdict of 05"), (~pd.Series(same), "was changed")):
        if wrong.any():
            first = table["image_id"][wrong].iloc[0]
            raise Refused(
                f"the image {first} {problem} ({wrong.sum()} of {len(table)} images): run ./run_all.sh --run "
                f"{run.name} --from 04_sample --to 05_fidelity"
            )
    verdict_of = verdicts.loc[keys].reset_index()
    by_04 = table["reason"].map(REASONS).fillna("")
    table["reason"] = by_04.mask((by_04 == "") & verdict_of["memorised"], REASONS["memorised"])
    table["detail"] = verdict_of["nearest_case"].where(table["reason"] != "", "")
    open_ones = table[table["reason"] == ""]
    if open_ones.empty:
        raise Refused(f"all {len(table)} images of the adapter are refused: there is nothing to release", table)
    slipped = _overlaps(open_ones, run.in_parts(open_ones, copies.thumbnails), sets)
    table.loc[slipped.index, ["reason", "detail"]] = slipped
    return table.assign(slipped=table.index.isin(slipped.index))


def _overlaps(table: pd.DataFrame, thumbnails: np.ndarray, sets: list[overlap.RealSet]) -> pd.DataFrame:
    """Reason and detail of the rows that overlap a set, by what they show or by the case their prompt describes."""
    shown = overlap.shown_images(thumbnails, sets).set_index(table.index)
    prompting = overlap.prompting_sets(table["prompted_by"], sets)
    reason = ("its prompt describes an image of " + prompting).where(prompting != "", "")
    reason = reason.mask(shown["copy"], "shows an image of " + shown["set"])
    rows = pd.DataFrame({"reason": reason, "detail": shown["image_id"].where(shown["copy"], table["prompted_by"])})
    return rows[reason != ""]


def admitted(run: Run, sets: list[overlap.RealSet], leave_out: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images to release, and those that are not, with their reasons (PUBLIC).

    leave_out: release without images that only the last search refuses; else these stop the release (Refused).
    """
    table = judged(run, sets)
    slipped = table[table["slipped"]]
    if len(slipped) and not leave_out:
        raise Refused(
            f"{len(slipped)} of {len(table)} images show or describe real images that they may not. 04 and 05 have let "
            "them pass, so look at them first; then --leave-out releases the others",
            slipped,
        )
    out = table["reason"] != ""
    if out.all():
        raise Refused(f"all {len(table)} images of the adapter are refused: there is nothing to release", table)
    return table[~out].drop(columns=["reason", "detail", "slipped"]), table.loc[out, PUBLIC]
