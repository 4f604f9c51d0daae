"""Groups and gaps as the paper shows them: tables, figure, findings."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fairness.groups import CHANGE, LESION_TYPE
from p2d_lib.report import figures, tables

TOO_SMALL = "n too small"
SHOWN = ("balanced accuracy", "malignant sensitivity")  # by group of patient; between classes it is accuracy


def groups_table(table: pd.DataFrame, arms: Sequence[str], metrics: Sequence[str] = SHOWN) -> pd.DataFrame:
    """`groups.by_group` as it is printed: a row per group, a column per metric and arm, "n too small" where it is."""
    table = table[table["metric"].isin(metrics) & table["arm"].isin(arms)]
    said = [
        tables.interval(row.estimate, row.low, row.high, 2) if row.estimate == row.estimate else _silent(row)
        for row in table.itertuples()
    ]
    keys = ["attribute", "group", "n_images", "n_lesions"]
    wide = table.assign(said=said).pivot_table(
        index=keys, columns=["metric", "arm"], values="said", aggfunc="first", sort=False
    )
    wide = wide[[(metric, arm) for metric in metrics for arm in arms]]
    wide.columns = [f"{metric}, {arm}" for metric, arm in wide]
    return wide.reset_index().rename(columns={"n_images": "images", "n_lesions": "lesions"})


def gaps_table(gaps: pd.DataFrame) -> pd.DataFrame:
    """`groups.gaps` as it is printed: three rows per attribute and metric, the arms and the change."""
    gaps = _shown(gaps)
    between = gaps["largest"].fillna("") + " over " + gaps["smallest"].fillna("")
    return pd.DataFrame(
        {
            "attribute": gaps["attribute"],
            "metric": gaps["metric"],
            "arm": gaps["arm"],
            "groups": between.where(gaps["largest"].notna(), ""),
            "gap": [tables.interval(*row, 2) for row in gaps[["gap", "low", "high"]].itertuples(index=False)],
            "p": gaps["p_holm"],
        }
    ).reset_index(drop=True)


def forest_figure(table: pd.DataFrame, arms: Sequence[str], metrics: Sequence[str] = SHOWN) -> Figure:
    """Each group's metrics (one panel each) with intervals, the arms side by side; its lesions are in brackets."""
    groups = table.drop_duplicates(["attribute", "group"])
    lines, labels = [], []
    for attribute, part in groups.groupby("attribute", sort=False):  # the attribute's name is a line without values
        lines += [(attribute, ""), *((attribute, group) for group in part["group"])]
        labels += [attribute, *(f"{row.group} ({row.n_lesions})" for row in part.itertuples())]
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(figures.TEXT_WIDTH, 0.6 + 0.165 * len(labels)), sharey=True, squeeze=False
    )
    for axis, metric in zip(axes[0], metrics, strict=True):
        values = table[table["metric"] == metric].set_index(["arm", "attribute", "group"])
        series = {arm: values.loc[arm].reindex(lines)[["estimate", "low", "high"]].to_numpy() for arm in arms}
        figures.forest(axis, labels, series)
        axis.set(xlabel=metric, xlim=(-0.02, 1.02))
        axis.tick_params(axis="y", length=0)
        for line, row in enumerate(values.loc[arms[0]].reindex(lines).itertuples()):
            if row.n_counted == row.n_counted and row.estimate != row.estimate:
                axis.text(0.5, line, _silent(row), ha="center", va="center", fontsize=6, color="0.5", style="italic")
    for text, (_, group) in zip(axes[0, 0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if group else "bold")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(arms))
    return figure


def findings(table: pd.DataFrame, gaps: pd.DataFrame, arms: tuple[str, str], min_n: int) -> list[str]:
    """What the numbers say: which gaps stand, whether the second arm changes them, and what is too small to say."""
    lines, gaps = [], _shown(gaps)
    for arm in arms:
        of_arm = gaps[(gaps["arm"] == arm) & gaps["p_holm"].notna()]
        clear = of_arm[of_arm["p_holm"] < 0.05]
        exceeds = "exceeds" if len(clear) == 1 else "exceed"
        lines.append(
            f"Arm **{arm}**: {len(clear)} of {len(of_arm)} gaps {exceeds} what chance makes (p < 0.05 by permutation, "
            "Holm over attributes)" + "".join(f"; {_gap(row)}" for row in clear.itertuples()) + "."
        )
    change = gaps[(gaps["arm"] == CHANGE) & gaps["p_holm"].notna()]
    moved = change[change["p_holm"] < 0.05]
    if len(moved):
        lines += [
            f"From {arms[0]} to {arms[1]} the gap in {row.metric} by {row.attribute} "
            f"{'widens' if row.gap > 0 else 'narrows'} by {100 * abs(row.gap):.0f} points "
            f"(95 % interval of the change {100 * row.low:+.0f} to {100 * row.high:+.0f})."
            for row in moved.itertuples()
        ]
    else:
        lines.append(f"No gap is shown to change from {arms[0]} to {arms[1]} (of {len(change)} tested).")
    groups = table.drop_duplicates(["attribute", "group"])
    small = groups[groups["n_lesions"] < min_n]
    if len(small):
        named = ", ".join(f"{row.group} ({row.n_lesions})" for row in small.itertuples())
        lines.append(f"Too few lesions to speak (under {min_n}): {named}.")
    return lines


def _silent(row: tuple) -> str:
    return TOO_SMALL if row.n_counted else "–"  # no malignant lesion among the benign ones


def _shown(gaps: pd.DataFrame) -> pd.DataFrame:
    return gaps[gaps["metric"].isin(SHOWN) | gaps["attribute"].isin(LESION_TYPE)]


def _gap(row: tuple) -> str:
    return (
        f"{row.metric} by {row.attribute}: {row.largest} {100 * row.gap:.0f} points over {row.smallest} "
        f"(95 % interval {100 * row.low:.0f} to {100 * row.high:.0f})"
    )
