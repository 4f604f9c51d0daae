"""Table, figure and findings of 06 on the words of prompts."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from p2d_lib.classify.comparison import summary
from p2d_lib.classify.prompt_costs import Costs, differences, reference_of
from p2d_lib.instruments.intervals import Interval
from p2d_lib.report import figures
from p2d_lib.report.tables import interval, p_value

WORDS = {
    "class-name": "class name only", "random": "features at random", "sentence": "run's prompts, free text",
    "rewritten": "run's prompts, paraphrased",
}  # fmt: skip
BY_MODELS = ("captioner", "vlm", "api")  # describers that are models


def prompts_table(costs: Mapping[str, Costs], examples: Mapping[str, str], floor: Interval) -> pd.DataFrame:
    """A row for each source, and one of real images, whose distance is the floor. examples: a prompt of each source."""
    reference = reference_of(costs)
    tested = differences(costs, reference).set_index(["source", "measure"])
    rows = []
    for source, cost in costs.items():
        row = {"prompts by": name(source), "description error": interval(*summary(cost.error[None]), 2)}
        row |= {"follows its words": interval(*summary(cost.follows[None]), 2)}
        row |= {"shows the case": interval(*summary(cost.shows[None]), 2)}
        row |= {"class as asked": interval(*summary(cost.class_read[None]), 2), "KID": interval(*cost.kid)}
        row |= {"balanced accuracy": interval(*summary(cost.accuracy), 2)}
        for measure, title, factor in (("shows", "shows", 1), ("accuracy", "accuracy (points)", 100)):
            of_source = None if source == reference else tested.loc[(source, measure)]
            cell = "" if of_source is None else _difference(of_source, factor) + "*" * bool(of_source["announced"])
            row[f"{title} − {name(reference)}"] = cell
        rows.append(row | {"first prompt": examples[source]})
    rows.append({"prompts by": "real images (train)", "KID": interval(*floor)})
    return pd.DataFrame(rows).fillna("")


def figure_caption(n_cases: int, trained: str, extractor: str) -> str:
    """The caption of `prompts_figure`. trained: how the networks are; extractor: the sentence that names it."""
    return (
        f"Description error of {n_cases} train cases worded by each source, an image each, against what the images "
        "show of the case (concordance; chance 0.5), their KID to real val images, and the balanced accuracy on val of "
        f"networks trained on them alone ({trained}). Bars: 95 % intervals; where sources have one error, the wider "
        f"bars are of the first in the legend. {extractor}"
    )


def prompts_figure(costs: Mapping[str, Costs]) -> Figure:
    """Description error against what the images show, their distance and their gain, a point a source.

    Of sources of one error the bars of the first are the widest, so that all are seen.
    """
    figure, axes = plt.subplots(1, 3, figsize=(figures.TEXT_WIDTH, 2.6))
    panels = {
        "shows the case": lambda cost: summary(cost.shows[None]),
        "KID to real images": lambda cost: cost.kid,
        "balanced accuracy": lambda cost: summary(cost.accuracy),
    }
    for axis, (title, of) in zip(axes, panels.items(), strict=True):
        for k, (source, cost) in enumerate(costs.items()):
            x, y = np.array(summary(cost.error[None])), np.array(of(cost))
            behind = sum(abs(other.error[0] - cost.error[0]) < 0.02 for other in list(costs.values())[k + 1 :])
            spread = {"xerr": [[x[0] - x[1]], [x[2] - x[0]]], "yerr": [[y[0] - y[1]], [y[2] - y[0]]]}
            marker = dict(fmt="osD^vP*Xh<>"[k % 11], color=f"C{k % 7}", markersize=3.5)
            axis.errorbar(x[0], y[0], **spread, **marker, elinewidth=0.8 + 0.7 * behind, label=name(source))
        axis.set(xlabel="description error", ylabel=title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def findings(costs: Mapping[str, Costs], missing: tuple[str, ...]) -> list[str]:
    """What prompts by models cost, against the source of reference; and which sources are missing."""
    reference = reference_of(costs)
    tested = differences(costs, reference).set_index(["source", "measure"])
    lines = []
    for source in (source for source in costs if source in BY_MODELS and source != reference):
        cost = costs[source]
        shows, accuracy = tested.loc[(source, "shows")], tested.loc[(source, "accuracy")]
        shown = _verdict(shows, "show the case better", "show the case less well", "are not shown to show it otherwise")
        read = _verdict(accuracy, "reads val better", "reads val less well", "is not shown to read val otherwise")
        lines.append(
            f"Prompts by the {source} have a description error of {cost.error[0]:.2f}, those by {name(reference)} one "
            f"of {costs[reference].error[0]:.2f}. Their images {shown} (concordance {_difference(shows)}, Holm p "
            f"{p_value(shows['p_holm'], '= ')}), and a network trained on them alone {read} (balanced accuracy, "
            f"points: {_difference(accuracy, 100)}, Holm p {p_value(accuracy['p_holm'], '= ')})."
        )
    lines += _over_sources(costs)
    if missing:
        lines.append(
            f"Left out of the comparison of prompts, for want of described train cases: {', '.join(missing)} "
            "(02_describe.describers, 02_describe.n_described)."
        )
    return lines


def _difference(row: pd.Series, factor: int = 1) -> str:
    """A tested difference with its interval, times 1 or 100."""
    return interval(*(factor * row[["difference", "low", "high"]]), 3 if factor == 1 else 1)


def _verdict(row: pd.Series, better: str, worse: str, open_: str) -> str:
    """Which of three phrases a tested difference allows."""
    return open_ if not row["announced"] else better if row["difference"] > 0 else worse


def _over_sources(costs: Mapping[str, Costs]) -> list[str]:
    """Rank correlations over the sources, without a test: they are few, and chosen. Nothing of fewer than three."""
    error = [cost.error[0] for cost in costs.values()]
    outcomes = {
        "what the images show of the case": [cost.shows[0] for cost in costs.values()],
        "distance": [cost.kid.estimate for cost in costs.values()],
        "balanced accuracy": [cost.accuracy[:, 0].mean() for cost in costs.values()],
    }
    varying = {outcome: values for outcome, values in outcomes.items() if np.ptp(values) > 0}  # NaN: not known
    if len(costs) < 3 or np.ptp(error) == 0 or not varying:
        return []
    ranks = {outcome: spearmanr(error, values).statistic for outcome, values in varying.items()}
    listed = ", ".join(f"{rank:+.2f} with {outcome}" for outcome, rank in ranks.items())
    return [
        f"Over the {len(costs)} sources of prompts, description error has a rank correlation of {listed} (no test)."
    ]


def name(source: str) -> str:
    """A source as tables name it."""
    return WORDS.get(source, source.replace("_", " "))
