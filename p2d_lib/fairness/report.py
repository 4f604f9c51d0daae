"""Groups and gaps as the paper shows them: tables, figure, findings."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fairness.gaps import ANNOUNCED, CHANGE
from p2d_lib.fairness.odds import RATES
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.report import figures, tables
from p2d_lib.report.tables import TOO_SMALL
from p2d_lib.words.render import enumerated


def groups_table(table: pd.DataFrame, arms: Sequence[str], metrics: Sequence[str] = ANNOUNCED) -> pd.DataFrame:
    """`groups.by_group` as it is printed: a row per group, a column per metric and arm, "n too small" where it is."""
    table = table[table["metric"].isin(metrics) & table["arm"].isin(arms)]
    cells = [
        tables.interval(row.estimate, row.low, row.high, 2) if row.estimate == row.estimate else _placeholder(row)
        for row in table.itertuples()
    ]
    keys = ["attribute", "group", "n_images", "n_lesions"]
    wide = table.assign(cell=cells).pivot_table(
        index=keys, columns=["metric", "arm"], values="cell", aggfunc="first", sort=False
    )
    wide = wide[[(metric, arm) for metric in metrics for arm in arms]]
    wide.columns = [f"{metric}, {arm}" for metric, arm in wide]
    return wide.reset_index().rename(columns={"n_images": "images", "n_lesions": "lesions"})


def gaps_table(gaps: pd.DataFrame, truth: Mapping[str, float]) -> pd.DataFrame:
    """`gaps.gaps` as it is printed: three rows per attribute and metric, the arms and the change.

    truth: `gaps.true_gaps`; where it knows something a column "true gap within a class" shows it.
    """
    printed = pd.DataFrame(
        {
            "attribute": gaps["attribute"],
            "metric": gaps["metric"],
            "arm": gaps["arm"],
            "best": gaps["best"].astype(object).fillna(""),
            "worst": gaps["worst"].astype(object).fillna(""),
            "gap": [
                TOO_SMALL if row.gap != row.gap else tables.interval(row.gap, row.low, row.high, 2)
                for row in gaps.itertuples()
            ],
            "ratio": [tables.NOTHING if ratio != ratio else f"{ratio:.2f}" for ratio in gaps["ratio"]],
            "detectable": [tables.NOTHING if size != size else f"{size:.2f}" for size in gaps["detectable"]],
            "p (Holm)": gaps["p_holm"],
        }
    )
    if truth:
        known = gaps["attribute"].map(truth).map("{:.0f}".format, na_action="ignore")
        printed["true gap within a class"] = known.fillna("unknown")
    return printed


def odds_table(odds: pd.DataFrame) -> pd.DataFrame:
    """`odds.equalised_odds` as it is printed; an attribute with fewer than two groups large enough reads TOO_SMALL."""
    small = odds["n_groups"] < 2
    printed = odds[["attribute", "arm"]].copy()
    for rate in RATES:
        printed[f"gap in {rate}"] = odds[rate].map("{:.2f}".format).mask(small, TOO_SMALL)
    spans = [tables.interval(*row, 2) for row in odds[["difference", "low", "high"]].itertuples(index=False)]
    printed["equalised odds difference"] = spans
    printed["worst group"] = odds["worst"].astype(object).fillna("")
    printed["equalised odds ratio"] = [tables.NOTHING if ratio != ratio else f"{ratio:.2f}" for ratio in odds["ratio"]]
    return printed


def calibration_table(table: pd.DataFrame) -> pd.DataFrame:
    """`confidence.by_group` as it is printed: a row per group, for each arm the excess and both calibration errors."""
    printed = table[["attribute", "group", "n_lesions"]].drop_duplicates(ignore_index=True)
    for arm, rows in table.groupby("arm", sort=False):
        small = rows["excess"].isna().to_numpy()
        excess = [tables.interval(*row, 2) for row in rows[["excess", "low", "high"]].itertuples(index=False)]
        errors = [
            f"{row.ece:.2f} ({row.ece_if_calibrated_low:.2f} to {row.ece_if_calibrated_high:.2f})"
            for row in rows.itertuples()
        ]
        printed[f"overconfidence, {arm}"] = np.where(small, TOO_SMALL, excess)
        printed[f"ECE (if calibrated), {arm}"] = np.where(small, tables.NOTHING, errors)
    return printed.rename(columns={"n_lesions": "lesions"})


def forest_figure(table: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """The ANNOUNCED metrics of each group (a panel each) with intervals, arms side by side; lesions in brackets."""
    groups = table.drop_duplicates(["attribute", "group"])
    lines, labels = [], []
    for attribute, part in groups.groupby("attribute", sort=False):  # the attribute's name is a line without values
        lines += [(attribute, ""), *((attribute, group) for group in part["group"])]
        labels += [attribute, *(f"{row.group} ({row.n_lesions})" for row in part.itertuples())]
    figure, axes = plt.subplots(
        1, len(ANNOUNCED), figsize=(figures.TEXT_WIDTH, 0.6 + 0.165 * len(labels)), sharey=True, squeeze=False
    )
    for axis, metric in zip(axes[0], ANNOUNCED, strict=True):
        values = table[table["metric"] == metric].set_index(["arm", "attribute", "group"])
        series = {arm: values.loc[arm].reindex(lines)[["estimate", "low", "high"]].to_numpy() for arm in arms}
        figures.forest(axis, labels, series)
        axis.set(xlabel=metric, xlim=(-0.02, 1.02))
        axis.tick_params(axis="y", length=0)
        for line, row in enumerate(values.loc[arms[0]].reindex(lines).itertuples()):
            if row.n_counted == row.n_counted and row.estimate != row.estimate:
                axis.text(
                    0.5, line, _placeholder(row), ha="center", va="center", fontsize=6, color="0.5", style="italic"
                )
    for text, (_, group) in zip(axes[0, 0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if group else "bold")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(arms))
    return figure


def findings(
    table: pd.DataFrame, gaps: pd.DataFrame, arms: tuple[str, str], min_n: int, truth: Mapping[str, float]
) -> list[str]:
    """The results as sentences: which gaps are announced, whether the second arm changes them, which groups are small.

    table: `groups.by_group`. gaps: `gaps.gaps`. truth: `gaps.true_gaps`; an announced gap whose true size is known is
    printed with it.
    """
    tested = gaps[gaps["p_holm"].notna()]
    announced = tested[tested["p_holm"] <= LEVEL]
    lines = [
        f"{len(tested)} tests form one family: the gaps of arms {arms[0]} and {arms[1]} and their changes. "
        f"{len(announced) or 'None'} of them {'has' if len(announced) == 1 else 'have'} p ≤ {LEVEL} after Holm's "
        f"correction over all {len(tested)}; the smallest corrected p is {_smallest(tested)}."
    ]
    for row in announced[announced["arm"] != CHANGE].itertuples():
        lines.append(
            f"Arm **{row.arm}**, {_gap(row)}, p {tables.p_value(row.p_holm, '= ')}.{_beside_truth(row, truth)}"
        )
    for row in announced[announced["arm"] == CHANGE].itertuples():
        lines.append(
            f"From {arms[0]} to {arms[1]} the gap in {row.metric} by {row.attribute} "
            f"{'widens' if row.gap > 0 else 'narrows'} by {100 * abs(row.gap):.0f} points "
            f"(95 % interval of the change {100 * row.low:+.0f} to {100 * row.high:+.0f}), "
            f"p {tables.p_value(row.p_holm, '= ')}."
        )
    if tested.empty:
        lines = [f"No gap is tested: of no attribute have two groups {min_n} lesions or more that a metric counts."]
    elif not (announced["arm"] == CHANGE).any():
        lines.append(f"No gap is shown to change from {arms[0]} to {arms[1]}.")
    if truth:
        lines.append(
            f"Known truth: within a class the phantom chooses {enumerated(list(truth))} without regard to the picture. "
            "So their true gaps within a class are 0, which is what p tests, and an announced one is a false alarm. A "
            "printed gap also holds what the groups' different classes make. Of the other attributes the true gap is "
            "unknown."
        )
    groups = table.drop_duplicates(["attribute", "group"])
    small = groups[groups["n_lesions"] < min_n]
    if len(small):
        named = ", ".join(f"{row.group} ({row.n_lesions})" for row in small.itertuples())
        lines.append(f"Groups with too few lesions (under {min_n}) to be measured: {named}.")
    return lines


def _placeholder(row: tuple) -> str:
    return TOO_SMALL if row.n_counted else "–"  # e.g. no malignant lesion among the benign ones


def _gap(row: tuple) -> str:
    return (
        f"{row.metric} by {row.attribute}: {row.best} (best) minus {row.worst} (worst) is {100 * row.gap:.0f} points "
        f"(95 % interval {100 * row.low:.0f} to {100 * row.high:.0f})"
    )


def _beside_truth(row: tuple, truth: Mapping[str, float]) -> str:
    known = truth.get(row.attribute)
    return (
        ""
        if known is None
        else f" **The phantom's true gap within a class is {100 * known:.0f}: this is a false alarm.**"
    )


def _smallest(tested: pd.DataFrame) -> str:
    return tables.p_value(tested["p_holm"].min()) if len(tested) else "undefined"
