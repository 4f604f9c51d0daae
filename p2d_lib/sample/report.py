"""Tables, figures and findings of 04."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.instruments import copies, intervals
from p2d_lib.instruments.multiplicity import LEVEL, holm
from p2d_lib.instruments.rates import exact_interval
from p2d_lib.report import figures, tables
from p2d_lib.run import Run
from p2d_lib.sample import accept
from p2d_lib.sample.measure import Measurements
from p2d_lib.vocabulary import DX, DX_NAMES

OTHER_PROMPTS = "real (val), prompts of other images"
PAIRS = 4  # pairs a class in the figure of pairs


def plan_table(plan: pd.DataFrame) -> pd.DataFrame:
    """Per class: images and different prompts of the adapter, and its first prompt."""
    of_adapter = plan[plan["generator"] == "adapter"].groupby("dx")
    return of_adapter.agg(images=("image_id", "size"), prompts=("prompt", "nunique"), example=("prompt", "first"))


def grid_figure(run: Run, synthetic: pd.DataFrame, n: int = 8) -> Figure:
    """The first n images of the adapter, a row per class."""
    of_adapter = synthetic[synthetic["generator"] == "adapter"]
    rows = [run.images(of_adapter[of_adapter["dx"] == dx][:n]) for dx in DX]
    return figures.grid(rows, [DX_NAMES[dx] for dx in DX])


def pairs_figure(run: Run, synthetic: pd.DataFrame) -> Figure:
    """Base and adapter side by side from the same prompt and noise, a row per class."""
    sides = [synthetic[synthetic["generator"] == name] for name in ("base", "adapter")]
    n = min(PAIRS, *(int((side["dx"] == dx).sum()) for side in sides for dx in DX))
    rows = []
    for dx in DX:
        pairs = np.stack([run.images(side[side["dx"] == dx][:n]) for side in sides], axis=1)  # (n, 2, h, w, 3)
        rows.append(pairs.reshape(2 * n, *pairs.shape[2:]))
    return figures.grid(rows, [DX_NAMES[dx] for dx in DX], ["base", "adapter"] * n, blocks=n)


def copies_figure(synthetic: pd.DataFrame, controls: Mapping[str, pd.DataFrame]) -> Figure:
    """The ratio that the check for copies judges by: a dot an image, and the line of COPY_RATIO."""
    parts = {name: part["nearest_ratio"] for name, part in synthetic.groupby("generator", sort=False)}
    parts |= {name: nearest["ratio"] for name, nearest in controls.items()}
    long = pd.concat([pd.DataFrame({"images": name, "ratio": ratio.to_numpy()}) for name, ratio in parts.items()])
    figure, axis = plt.subplots(figsize=(figures.TEXT_WIDTH, 0.6 + 0.22 * len(parts)))
    palette = [look["color"] for look in figures.looks(list(parts))]
    figures.strip(axis, long, x="ratio", y="images", hue="images", palette=palette, size=1.8, spread=0.3)
    axis.axvline(copies.COPY_RATIO, color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel="distance to the nearest train image / to the next 50", ylabel="", xlim=(0, 1))
    return figure


def copies_table(rates: pd.DataFrame, prompted: pd.DataFrame) -> pd.DataFrame:
    """`accept.copy_rates` and `accept.prompted_shares` as they are printed, in percent."""
    table = pd.DataFrame(
        {
            "images": rates.index,
            "n": rates["n"].to_numpy(),
            "copies": rates["copies"].to_numpy(),
            "copies (%)": [tables.interval(*row, 1) for row in 100 * rates[["rate", "low", "high"]].to_numpy()],
        }
    )
    shown = 100 * prompted.reindex(rates.index)[["share", "low", "high", "chance"]].to_numpy()
    table["prompted case nearest (%)"] = [tables.interval(*row[:3], 1) for row in shown]
    table["by chance (%)"] = shown[:, 3]
    table["copies by class"] = rates["by_class"].to_numpy()
    return table


def summary_table(synthetic: pd.DataFrame, val: Measurements, mismatched: np.ndarray) -> pd.DataFrame:
    """The adapter by class, then each generator and real images over all classes: n, accepted, mean alignment.

    mismatched: alignment (n,) of the val images with prompts of other images, the bad end of the scale.
    """
    columns = {"n": ("image_id", "size"), "accepted": ("accepted", "sum"), "alignment": ("alignment", "mean")}
    of_adapter = synthetic[synthetic["generator"] == "adapter"]
    by_class = of_adapter.groupby("dx").agg(**columns).reset_index().assign(images="adapter")
    pooled = synthetic.groupby("generator", sort=False).agg(**columns).rename_axis("images").reset_index()
    real = [
        {"images": name, "n": len(values), "alignment": values.mean()}
        for name, values in ((accept.REAL, val.alignment), (OTHER_PROMPTS, mismatched))
    ]
    table = pd.concat([by_class, pd.concat([pooled, pd.DataFrame(real)]).assign(dx="all")])
    return table.astype({"accepted": "Int64"})[["images", "dx", *columns]].reset_index(drop=True)


def findings(
    synthetic: pd.DataFrame,
    rates: pd.DataFrame,
    prompted: pd.DataFrame,
    agreements: Mapping[str, pd.DataFrame],
    val: Measurements,
    mismatched: np.ndarray,
    controls: Sequence[str],
    planted: Sequence[str] = (),
) -> list[str]:
    """The results as sentences, each beside its controls.

    rates, prompted, agreements: of `accept.copy_rates`, `accept.prompted_shares`, `obedience.agreement` (by set of
    images); val, mismatched: as in `summary_table`; controls: of `accept.negative_controls`; planted: image_ids of
    `controls.plant_copies`.
    """
    of_adapter = synthetic[synthetic["generator"] == "adapter"]
    reasons = of_adapter["reason"].value_counts()
    n_copies, n_memorised, n_chosen = (int(reasons.get(reason, 0)) for reason in ("copy", "memorised", "alignment"))
    aligned = _aligned(synthetic)
    change = intervals.compare(*aligned.values())
    p_copies, p_alignment = holm([accept.copies_more(rates, controls), change.p])  # what is announced together
    lines = [
        f"The adapter sampled {len(of_adapter):,} images, the other generators {len(synthetic) - len(of_adapter):,}. "
        f"{int(of_adapter['accepted'].sum()):,} of the adapter's are accepted; {n_copies} are refused as copies, "
        f"{n_memorised} as memorised."
        + (f" {n_chosen} more fit their prompts least; what is measured without them is too good." if n_chosen else ""),
        _copies_line(rates, controls, p_copies),
    ]
    if planted:
        refused = (synthetic.loc[synthetic["image_id"].isin(planted), "reason"] == "copy").sum()
        lines.append(
            f"Of {len(planted)} train images planted among the synthetic ones, {refused} are refused as copies."
        )
    shares = prompted.loc[["adapter", "base"]]
    adapter, base = (f"{tables.interval(*row, 1)} %" for row in 100 * shares[["share", "low", "high"]].to_numpy())
    lines.append(
        f"The train image that an adapter's image resembles most is the one whose description was its prompt in "
        f"{adapter} of the images (by chance {shares['chance']['adapter']:.1%}); for base in "
        f"{base} (by chance {shares['chance']['base']:.1%})."
    )
    alignment = _alignment_line(aligned, change._replace(p=p_alignment), val, mismatched)
    return [*lines, alignment, _class_line(agreements)]


def _copies_line(rates: pd.DataFrame, controls: Sequence[str], p: float) -> str:
    """p: of `accept.copies_more`, corrected by Holm."""
    texts = {name: f"{tables.interval(*100 * rates.loc[name, ['rate', 'low', 'high']], 1)} %" for name in rates.index}
    cannot = " and ".join(f"{texts[name]} of {name}" for name in controls)
    line = (
        f"The check for copies refuses {texts['adapter']} of the adapter's images, and of images that cannot be copies "
        f"{cannot}. Of {accept.ALTERED} it finds {texts[accept.ALTERED]}. "
    )
    pooled = rates.loc[list(controls)].sum()
    if exact_interval(int(pooled["copies"]), int(pooled["n"]))[0] > accept.NOMINAL:
        return line + f"That is more than the nominal {accept.NOMINAL:.0%} of what cannot be a copy: do not rely on it."
    if p <= LEVEL:
        return line + f"The adapter copies more often than these controls (Fisher's exact test, Holm p {p:.2g})."
    return line + f"The adapter is not shown to copy more often than these controls (Holm p {p:.2g})."


def _aligned(synthetic: pd.DataFrame) -> dict[str, np.ndarray]:
    """Mean alignment of adapter and base on the pairs of one prompt and noise: replicates (1 + B,) over prompts."""
    sides = {name: part.set_index(["dx", "seed"]) for name, part in synthetic.groupby("generator")}
    pairs = sides["adapter"][["prompt", "alignment"]].join(sides["base"]["alignment"].rename("base"), how="inner")
    weights = intervals.resample(pairs["prompt"], seed=0).astype(float)
    columns = {"adapter": "alignment", "base": "base"}
    return {name: weights @ pairs[column].to_numpy() / weights.sum(1) for name, column in columns.items()}


def _alignment_line(
    aligned: Mapping[str, np.ndarray], change: intervals.Difference, val: Measurements, mismatched: np.ndarray
) -> str:
    """aligned: `_aligned`; change: adapter minus base, p corrected by Holm. Where the model that measures alignment
    does not tell a real image's prompt from others, nothing is said of the synthetic ones."""
    weights = intervals.resample(range(len(mismatched)), seed=0).astype(float)
    real = [weights @ values / weights.sum(1) for values in (val.alignment, mismatched)]
    scale = f"{real[0][0]:.3f} with their own prompts and {real[1][0]:.3f} with those of other images"
    if not intervals.compare(*real).low > 0:
        return (
            f"Alignment says nothing here: real val images reach {scale}, so the model that measures it does not tell "
            "prompts apart."
        )
    verdict = "no clear difference" if change.p > LEVEL else "higher" if change.difference > 0 else "lower"
    return (
        f"Alignment of image and prompt is {aligned['adapter'][0]:.3f} with the adapter and {aligned['base'][0]:.3f} "
        f"with base on the same prompts and noises: {verdict} (difference {tables.interval(*change[:3])}, Holm p "
        f"{change.p:.2g}). Real val images reach {scale}. Where 03 has trained the model that measures it, that model "
        "knows the generator's own train images, which the adapter has seen and base perhaps not."
    )


def _class_line(agreements: Mapping[str, pd.DataFrame]) -> str:
    rows = {name: table.set_index("attribute").loc["class"] for name, table in agreements.items()}
    texts = {name: tables.interval(row["estimate"], row["low"], row["high"], 2) for name, row in rows.items()}
    return (
        f"The scout reads the class asked for in a share of {texts['adapter']} of the adapter's images, "
        f"{texts['base']} of base's and {texts[accept.REAL]} of real val images; chance is {1 / len(DX):.2f}. It is no "
        "independent reader, since it was fitted on the generator's own train images: 05 asks one (t5_attributes)."
    )
