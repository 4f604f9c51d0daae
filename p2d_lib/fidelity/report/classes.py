"""Each class by the first extractor."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.fidelity.measures import MEASURES, misled
from p2d_lib.fidelity.report.cells import NAMES, number
from p2d_lib.fidelity.sets import FLOOR
from p2d_lib.report import figures, tables
from p2d_lib.report.tables import TOO_SMALL

PANELS = ("frechet", "kid", "auc")


def classes_table(measured: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """A row for each class and measure that is not misled: n, base, adapter and real images with intervals, and of KID
    the test of adapter against base.

    measured: of one extractor.
    """
    holm = tests.query("second == 'base' and measure == 'kid'").set_index("dx")["holm"]
    kept = [name for name, measure in MEASURES.items() if measure.by_class and name not in misled(measured)]
    rows = []
    for dx in measured.index.unique("dx"):
        for metric in kept:
            of_metric = measured.xs((dx, metric), level=("dx", "metric"))
            cells = {
                head: number(metric, *of_metric.loc[name, ["estimate", "low", "high"]], empty=TOO_SMALL)
                for name, head in NAMES.items()
            }
            tested = metric == "kid" and dx in holm
            rows.append(
                {"dx": dx, "n": str(of_metric["n"].iloc[0]), "measure": MEASURES[metric].heading}
                | cells
                | {"p (Holm)": tables.p_value(holm[dx]) if tested else tables.NOTHING}
            )
    return pd.DataFrame(rows)


def distances_figure(measured: pd.DataFrame) -> Figure:
    """PANELS of base, adapter and real images with intervals: a line for each class, one for all.

    measured: of one extractor.
    """
    n = measured["n"].xs(FLOOR, level="set").groupby(level="dx", sort=False).first()
    figure, axes = plt.subplots(1, len(PANELS), figsize=(figures.TEXT_WIDTH, 2.9), sharey=True)
    for axis, metric in zip(axes, PANELS, strict=True):
        of_metric = measured.xs(metric, level="metric")[["estimate", "low", "high"]]
        values = {head: of_metric.loc[name].loc[n.index].to_numpy() for name, head in NAMES.items()}
        figures.forest(axis, [f"{dx} (n = {count})" for dx, count in n.items()], values)
        axis.set_xlabel(MEASURES[metric].plain)
        axis.set_xlim(min(0, axis.get_xlim()[0]), None)
        for line in np.flatnonzero(np.isnan(values["real"][:, 0])):
            axis.text(
                0.5, line, TOO_SMALL, transform=axis.get_yaxis_transform(), ha="center", va="center",
                fontsize=6, color="0.5", style="italic",
            )  # fmt: skip
    axes[PANELS.index("auc")].axvline(0.5, color="0.6", linewidth=0.6, linestyle=":")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(NAMES))
    return figure
