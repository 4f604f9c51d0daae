"""Counterfactual pairs as the paper shows them: table, figure, findings."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fairness.counterfactual import CLASS, CONTROL, FLIPS, MALIGNANCY, SAME
from p2d_lib.instruments import rates
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.report import figures, tables
from p2d_lib.report.tables import TOO_SMALL
from p2d_lib.schemas import COUNTERFACTUAL_ATTRIBUTES

SHIFTS = [name for of in (MALIGNANCY, CLASS) for name in (f"shift of {of} (points)", f"p (Holm), {of}")]
HEADINGS = ["what differs", "from → to", "arm", "pairs", "lesions", "flip rate", *SHIFTS, "detectable (points)"]


def table(compared: pd.DataFrame) -> pd.DataFrame:
    """`counterfactual.compare` as it is printed: a row per attribute and arm, shifts in points (hundredths)."""
    rows = []
    for (attribute, arm), part in _with_exact(compared).groupby(["attribute", "arm"], sort=False):
        of = part.set_index("quantity")
        row = {"what differs": _words(attribute), "from → to": of["change"].iloc[0], "arm": arm}
        row |= {"pairs": of["n_pairs"].iloc[0], "lesions": of["n_lesions"].iloc[0]}
        is_small = of["estimate"].isna().all()
        row["flip rate"] = TOO_SMALL if is_small else tables.interval(*of.loc[FLIPS, ["estimate", "low", "high"]], 2)
        for quantity in (MALIGNANCY, CLASS):
            points = 100 * of.loc[quantity, ["estimate", "low", "high", "detectable"]].astype(float)
            row[f"shift of {quantity} (points)"] = tables.interval(*points[:3], 1)
            row[f"p (Holm), {quantity}"] = of.loc[quantity, "p_holm"]
        detectable = 100 * of["detectable"].astype(float).max()
        row["detectable (points)"] = tables.NOTHING if np.isnan(detectable) else f"{detectable:.1f}"
        rows.append(row)
    return pd.DataFrame(rows, columns=HEADINGS)


def figure(compared: pd.DataFrame) -> Figure:
    """Flip rates: a line per attribute and one of the control, the arms side by side; rings: the extreme networks.

    Of an attribute with too few lesions the line says so; without those "lesion reads the same" it is left out.
    """
    flips = _with_exact(compared).query("quantity == @FLIPS")
    flips = flips[flips["estimate"].notna() | ~flips["attribute"].str.endswith(SAME)]
    names, arms = list(flips["attribute"].unique()), list(flips["arm"].unique())
    height = 0.8 + len(names) * max(0.4, 0.16 * len(arms))
    figure, axis = plt.subplots(figsize=(figures.TEXT_WIDTH, height))
    of_arms = {arm: part.set_index("attribute").reindex(names) for arm, part in flips.groupby("arm", sort=False)}
    series = {arm: part[["estimate", "low", "high"]].to_numpy(float) for arm, part in of_arms.items()}
    figures.forest(axis, [_label(flips[flips["attribute"] == name].iloc[0]) for name in names], series)
    apart = min(0.3, 0.6 / max(1, len(arms)))
    for k, part in enumerate(of_arms.values()):
        lines = np.arange(len(names)) + apart * (k - (len(arms) - 1) / 2)
        for end in ("least", "greatest"):
            axis.plot(part[end].to_numpy(float), lines, "o", markersize=3, markerfacecolor="none", color="0.4")
    axis.set(xlabel="share of pairs that are read as two diagnoses", xlim=(-0.02, 1.02))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=max(1, len(arms)))
    return figure


def findings(compared: pd.DataFrame, min_n: int) -> list[str]:
    """The results as sentences: how often diagnoses flip, beside the control, and which shifts are announced."""
    compared, lines = _with_exact(compared), []
    rows = {(row.attribute, row.arm, row.quantity): row for row in compared.itertuples()}
    of_attributes = compared[compared["attribute"].isin(COUNTERFACTUAL_ATTRIBUTES) & (compared["quantity"] == FLIPS)]
    for attribute, part in of_attributes.groupby("attribute", sort=False):
        first = part.iloc[0]
        if np.isnan(first.estimate):
            lines.append(
                f"Pairs that differ in {_words(attribute)}: {TOO_SMALL}, {first.n_pairs} pairs of {first.n_lesions} "
                f"lesions show their change and {min_n} lesions are needed."
            )
            continue
        flips = "; ".join(
            f"{row.arm} {_text(row, '.0f', '%')} of the pairs (two noises of one prompt: "
            f"{_text(rows.get((CONTROL, row.arm, FLIPS)), '.0f', '%')}; where the lesion reads the same: "
            f"{_text(rows.get((attribute + SAME, row.arm, FLIPS)), '.0f', '%')})"
            for row in part.itertuples()
        )
        lines.append(
            f"Where the {_words(attribute)} differs ({first.change}; {first.n_pairs} pairs of {first.n_lesions} "
            f"lesions), networks name two diagnoses in {flips}."
        )
    tested = compared[compared["p_holm"].notna()]
    announced = tested[tested["p_holm"] <= LEVEL]
    for row in announced.itertuples():
        same = rows.get((row.attribute + SAME, row.arm, row.quantity))
        lines.append(
            f"**{row.quantity} {'rises' if row.estimate > 0 else 'falls'} with the {_words(row.attribute)}** "
            f"({row.change}), arm {row.arm}: {_text(row, '+.1f', 'points')}, Holm p "
            f"{tables.p_value(row.p_holm, '= ')}; where the lesion reads the same: {_text(same, '+.1f', 'points')}."
        )
    if len(tested):
        lines.append(
            f"{len(announced) or 'None'} of the {len(tested)} shifts of a probability "
            f"{'are' if len(announced) > 1 else 'is'} announced after Holm's correction; a single test detects shifts "
            f"from about {100 * tested['detectable'].min():.1f} to {100 * tested['detectable'].max():.1f} points on "
            "(power 80 %)."
        )
    return lines or ["04 has sampled no counterfactual pair that shows its change, so nothing is said of them."]


def _with_exact(compared: pd.DataFrame) -> pd.DataFrame:
    """Flip rates on which all lesions agree with the exact interval: resampled lesions have no spread there."""
    compared = compared.copy()
    alike = (compared["quantity"] == FLIPS) & np.isclose(*compared[["low", "high"]].to_numpy(float).T)
    for row in compared[alike].itertuples():
        bounds = rates.exact_interval(round(row.estimate * row.n_lesions), row.n_lesions)
        compared.loc[row.Index, ["low", "high"]] = bounds
    return compared


def _label(row: pd.Series) -> str:
    """An attribute as the figure names it, with its pairs and lesions."""
    n = f"{row['n_pairs']} pairs, {row['n_lesions']} lesions"
    return f"{_words(row['attribute']).replace(', ', chr(10))}\n{n}" + f"\n{TOO_SMALL}" * bool(
        np.isnan(row["estimate"])
    )


def _words(attribute: str) -> str:
    return attribute.replace("_", " ")


def _text(row: tuple | None, number: str, unit: str) -> str:
    """The estimate of a row in hundredths, with its interval; TOO_SMALL where there is no row or no estimate."""
    if row is None or np.isnan(row.estimate):
        return TOO_SMALL
    estimate, low, high = (format(100 * value, number) for value in (row.estimate, row.low, row.high))
    return f"{estimate} {unit} [{low}, {high}]"
