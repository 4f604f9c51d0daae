"""Under-represented groups as the paper shows them: tables, figure and findings."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fairness.represented import change, contrasts, detectable, times_rarer, under_represented
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.report import figures, tables

SHOWN = 5  # rows of the table of shares, those with the smallest p


def shares_table(shares: pd.DataFrame) -> pd.DataFrame:
    """The SHOWN rows of `represented.shares` with the smallest p, and all that are under-represented, as printed."""
    rows = shares.nsmallest(max(SHOWN, len(under_represented(shares))), "p")
    return pd.DataFrame(
        {
            "class": rows["dx"],
            "attribute": rows["attribute"],
            "group": rows["group"],
            "train": [_share(row.train_of_group, row.train) for row in rows.itertuples()],
            "test": [_share(row.test_of_group, row.test) for row in rows.itertuples()],
            "times rarer in train": [_times_rarer(row) for _, row in rows.iterrows()],
            "p (Holm)": rows["p_holm"],
        }
    ).reset_index(drop=True)


def _times_rarer(row: pd.Series) -> str:
    """`represented.times_rarer` as it is printed: of a group that train lacks only the lower end is known."""
    estimate, low, high = times_rarer(row)
    return f"at least {low:.1f}" if np.isinf(estimate) else tables.interval(estimate, low, high, 1)


def gaps_table(gaps: pd.DataFrame) -> pd.DataFrame:
    """`represented.gaps` as it is printed: a row for each arm and for each change, by group."""
    of_change = gaps["recall"].isna()
    return pd.DataFrame(
        {
            "class": gaps["dx"],
            "group": gaps["attribute"] + " " + gaps["group"],
            "arm": gaps["arm"],
            "recall": gaps["recall"].map("{:.2f}".format).mask(of_change, tables.NOTHING),
            "recall of others": gaps["of_others"].map("{:.2f}".format).mask(of_change, tables.NOTHING),
            "gap": [tables.interval(row.gap, row.low, row.high, 2) for row in gaps.itertuples()],
            "detectable": gaps["detectable"].map("{:.2f}".format),
            "p (Holm)": gaps["p_holm"],
        }
    )


def gaps_figure(gaps: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """By group: the recall in each arm, of its lesions and of the others of their class, and the gap with its interval,
    beside it the changes of the gap with theirs."""
    cells = gaps.groupby(["dx", "attribute", "group"], sort=False)
    changes = [change(*pair) for pair in contrasts(arms)]
    figure, axes = plt.subplots(
        cells.ngroups, 3, squeeze=False, figsize=(figures.TEXT_WIDTH, 0.4 + cells.ngroups * (0.6 + 0.22 * len(changes)))
    )
    for row, ((dx, attribute, group), part) in zip(axes, cells, strict=True):
        of = part.set_index("arm")
        recalls = {"others of their class": "of_others", "the group": "recall"}
        figures.forest(
            row[0], list(arms), {name: _points(of.loc[list(arms), column]) for name, column in recalls.items()}
        )
        for axis, names in ((row[1], list(arms)), (row[2], changes)):
            figures.forest(axis, names, {"": of.loc[names, ["gap", "low", "high"]].to_numpy(float)})
            axis.axvline(0, color="0.6", linewidth=0.6, zorder=0)
        row[0].set(xlabel=f"recall, {dx} of\n{attribute} {group}", xlim=(-0.02, 1.02))
        row[1].set(xlabel="gap", yticklabels=[])
        row[2].set(xlabel="change of\nthe gap")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _points(values: pd.Series) -> np.ndarray:
    """Estimates without an interval, as `figures.forest` takes them: (n, 3)."""
    return np.column_stack([values.to_numpy(float), np.full((len(values), 2), np.nan)])


def findings(shares: pd.DataFrame, gaps: pd.DataFrame, arms: Sequence[str]) -> list[str]:
    """Which groups train under-represents, how much worse they are read, and whether the other arms change that."""
    if shares.empty:
        return [
            "In no class does test hold two groups that are large enough to ask whether train under-represents one."
        ]
    rare, lines = under_represented(shares), []
    if rare.empty:
        return [
            f"No group is shown to be rarer in train than in test within its class ({len(shares)} tests, the smallest "
            f"corrected p is {tables.p_value(shares['p_holm'].min())}). {_power(detectable(shares))}"
        ]
    for cell in rare.itertuples():
        of_cell = gaps[(gaps["dx"] == cell.dx) & (gaps["attribute"] == cell.attribute) & (gaps["group"] == cell.group)]
        by_arm = {row.arm: row for row in of_cell.itertuples()}
        lines.append(
            f"**Train under-represents {cell.dx} of {cell.attribute} {cell.group}:** "
            f"{_share(cell.train_of_group, cell.train)} of its {cell.dx} lesions, "
            f"{_share(cell.test_of_group, cell.test)} in test, p {tables.p_value(cell.p_holm, '= ')}. "
            + " ".join(_gap(by_arm[arm]) for arm in arms)
            + "".join(f" Against {first}, {_changes(by_arm, first, arms)}." for first in _references(arms))
        )
    return lines


def _power(times: np.ndarray) -> str:
    """What the tests of `represented.shares` would find. times: of `represented.detectable`."""
    known = times[np.isfinite(times)]
    if not len(known):
        return "All groups are too small: none would be found with a power of 80 %, however rare in train."
    words = "With a power of 80 %, at the first step of Holm's correction, a group is found from"
    return f"{words} {known.min():.1f} to {known.max():.1f} times rarer on" + (
        f"; {len(times) - len(known)} are too small for that." if len(known) < len(times) else "."
    )


def _references(arms: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(first for first, _ in contrasts(arms)))


def _changes(by_arm: dict, first: str, arms: Sequence[str]) -> str:
    others = [second for reference, second in contrasts(arms) if reference == first]
    return "; ".join(f"{second}: {_change(by_arm[change(first, second)])}" for second in others)


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "0 of 0"


def _gap(row: tuple) -> str:
    verdict = "" if row.p_holm <= LEVEL else ", not shown to differ from 0"
    return (
        f"Arm {row.arm} reads {100 * row.recall:.0f} % of them right and {100 * row.of_others:.0f} % of the others, a "
        f"gap of {100 * row.gap:.0f} points [{100 * row.low:.0f}, {100 * row.high:.0f}]{verdict}."
    )


def _change(row: tuple) -> str:
    span = f"{100 * row.gap:+.0f} points [{100 * row.low:+.0f}, {100 * row.high:+.0f}]"
    span += f", p {tables.p_value(row.p_holm, '= ')}"
    if row.p_holm > LEVEL:
        return f"no change of the gap is shown ({span})"
    return f"the gap {'widens' if row.gap > 0 else 'narrows'} ({span})"
