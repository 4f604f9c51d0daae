"""Tables, figure and findings of 03 on caption augmentation and caption filters."""

from collections.abc import Mapping, Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.finetune import caption_claims
from p2d_lib.finetune.caption_claims import CLAIMS, FALSE_ALARMS
from p2d_lib.finetune.captions import CaptionStudy, Trained
from p2d_lib.instruments import distances
from p2d_lib.report import figures
from p2d_lib.report.tables import interval, p_value

DISTANCES = {"KID": (distances.kid, 3), "Fréchet distance": (distances.frechet, 1)}  # and the digits that are printed
PROMPTS = ("plain", "rewritten")  # how the val prompts are worded that are sampled
FLAT = 0.02  # a loss has flattened where it falls by less than this share in the last quarter of the steps


def captions_table(trained: Sequence[Trained], study: CaptionStudy) -> pd.DataFrame:
    """A row for each variant: what it was trained on, how long, its loss on val, its distances to real val images; and
    a last one for real train images, with the distances that as many of them have."""
    p, rows = study.stages.p, []
    for variant, of_seeds in caption_claims.by_variant(trained).items():
        network, *options = variant.split("+")
        row = {"network": network.removeprefix("scratch-"), "captions": ", ".join(options) or "plain"}
        row |= {
            "captions changed (%)": 100 * of_seeds[0].changed,
            "train images": of_seeds[0].n_train,
            "steps": p.caption_steps,
        }
        row |= {"images seen": p.caption_steps * p.batch_size, "seconds": np.mean([one.seconds for one in of_seeds])}
        row |= {"val loss": np.mean([one.log["val_loss"].iloc[-1] for one in of_seeds])}
        row |= {"change in the last quarter (%)": 100 * np.mean([last_quarter(one) for one in of_seeds])}
        rows.append(row | _distances(study.real, {name: [one.features[name] for one in of_seeds] for name in PROMPTS}))
    known = study.known[: len(study.real)]
    floor = _distances(study.real[: len(known)], {name: [known] for name in PROMPTS})
    table = pd.DataFrame([*rows, {"network": "real train images"} | floor])
    return table.astype(dict.fromkeys(("train images", "steps", "images seen"), "Int64"))  # also beside an empty cell


def _distances(real: np.ndarray, of_prompts: Mapping[str, Sequence[np.ndarray]]) -> dict[str, str]:
    """Cells of `captions_table`; of_prompts: features (n, d) of each training, by how the prompts are worded."""
    cells = {}
    for (name, (measure, digits)), prompts in product(DISTANCES.items(), of_prompts):
        distance = caption_claims.distance(real, of_prompts[prompts], measure)
        cells[f"{name}, {prompts} prompts"] = interval(*distance, digits=digits)
    return cells


def claims_table(claims: pd.DataFrame) -> pd.DataFrame:
    """`caption_claims.claims` as it is printed."""
    cells = [interval(*row) for row in claims[["difference", "low", "high"]].to_numpy()]
    table = claims[["first", "second", "prompts"]].assign(difference=cells, p=claims["p_holm"].map(p_value))
    return table.rename(columns={"difference": "KID, first − second", "p": "p (Holm)"})


def captions_figure(trained: Sequence[Trained], batch_size: int) -> Figure:
    """Loss on val against images seen, a line a variant: the mean over its trainings."""
    figure, axis = plt.subplots(figsize=(figures.TEXT_WIDTH, 2.4), layout="constrained")
    for k, (variant, of_seeds) in enumerate(caption_claims.by_variant(trained).items()):
        losses = np.mean([one.log["val_loss"] for one in of_seeds], axis=0)
        axis.plot(of_seeds[0].log["steps"] * batch_size, losses, "o-", markersize=2.5, color=f"C{k % 7}", label=variant)
    axis.set(xlabel="images seen", ylabel="loss on val", yscale="log")
    axis.legend(fontsize=6)
    return figure


def findings(trained: Sequence[Trained], claims: pd.DataFrame) -> list[str]:
    """Whether the loss has flattened, and each claim: nearer to real images, further away, or not shown to differ."""
    changes = [last_quarter(one) for one in trained]
    flat = sum(change > -FLAT for change in changes)
    lines = [
        f"Caption study: the loss on val changes by {min(changes):+.1%} to {max(changes):+.1%} in the last quarter of "
        f"the steps; {flat} of {len(changes)} trainings have flattened (a fall of less than {FLAT:.0%})."
    ]
    for what, part in claims.groupby("what", sort=False):
        verdicts = [f"{_verdict(row)} ({row['first']}, {row['prompts']} prompts: "
                f"{interval(*row[['difference', 'low', 'high']])})" for _, row in part.iterrows()]  # fmt: skip
        lines.append(f"Are images nearer to real ones (KID, Holm over all claims) with {CLAIMS[str(what)]}? "
                     f"{'; '.join(verdicts)}.")  # fmt: skip
    if len(claims) and max(map(len, caption_claims.by_variant(trained).values())) == 2:
        lines.append(
            f"With two trainings of each variant a claim is announced in up to {FALSE_ALARMS:.0%} of the studies in "
            "which captions change nothing; with three trainings in 6 %."
        )
    return lines


def last_quarter(one: Trained) -> float:
    """By which share of itself the loss on val changed in the last quarter of the steps, since the last reading before
    it (at least two readings)."""
    steps, losses = one.log["steps"].to_numpy(), one.log["val_loss"].to_numpy()
    before = np.searchsorted(steps, 0.75 * steps[-1], side="right") - 1
    return float(losses[-1] / losses[max(0, before)] - 1)


def _verdict(row: pd.Series) -> str:
    if not row["announced"]:
        return "not shown"
    return "yes" if row["difference"] < 0 else "no, further away"
