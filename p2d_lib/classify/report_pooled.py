"""The pooled study as the GLIDE paper prints it: precision, recall and F1, ROC curves, losses of the trainings."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import auc, precision_recall_fscore_support, roc_curve

from p2d_lib.classify.pooled_study import AI, ANSWERS, ENTITY, ORIGINAL, SOURCE, Study
from p2d_lib.instruments import intervals
from p2d_lib.report import figures
from p2d_lib.report.figures import OKABE_ITO, TEXT_WIDTH
from p2d_lib.report.tables import interval
from p2d_lib.seeds import derive

AVERAGES = ("macro", "weighted")
NAMES = {ORIGINAL: "original images", AI: "AI images"}


def entities_table(readings: pd.DataFrame) -> pd.DataFrame:
    """The seven entities, read on the original and on the AI images of the test fifth: a row per source and entity,
    then the macro and the weighted mean. Columns: read on, entity, n, precision, recall, F1 (0..1)."""
    of_entity = readings[readings["question"] == ENTITY]
    parts = [
        _report(of_entity[of_entity["source"] == source], ENTITY).assign(**{"read on": name})
        for source, name in NAMES.items()
        if (of_entity["source"] == source).any()
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[["read on", *table.columns.drop("read on")]]


def source_table(readings: pd.DataFrame) -> pd.DataFrame:
    """AI against original: a row per answer, then the macro and the weighted mean; columns as in `entities_table`."""
    return _report(readings[readings["question"] == SOURCE], SOURCE)


def _report(part: pd.DataFrame, question: str) -> pd.DataFrame:
    labels = [answer for answer in ANSWERS[question] if (part["truth"] == answer).any()]
    options = {"y_true": part["truth"], "y_pred": part["read"], "labels": labels, "zero_division": 0}
    rows = list(zip(labels, *precision_recall_fscore_support(**options), strict=True))
    rows += [
        (f"{way} mean", *precision_recall_fscore_support(**options, average=way)[:3], len(part)) for way in AVERAGES
    ]
    columns = [question, "precision", "recall", "F1", "n"]
    return pd.DataFrame(rows, columns=columns)[[question, "n", "precision", "recall", "F1"]]


def roc_figure(readings: pd.DataFrame) -> Figure:
    """ROC curves: of each entity against the rest on original and on AI images, and of AI against original."""
    figure, axes = plt.subplots(1, 3, figsize=(TEXT_WIDTH, 2.05), sharex=True, sharey=True)
    of_entity, of_source = (readings[readings["question"] == question] for question in (ENTITY, SOURCE))
    for axis, (source, name) in zip(axes, NAMES.items(), strict=False):
        _curves(axis, of_entity[of_entity["source"] == source], ANSWERS[ENTITY])
        axis.set(title=name)
    _curves(axes[2], of_source, (AI,))
    axes[2].set(title="AI against original")
    for axis in axes:
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.6, linestyle=":")
        axis.set(xlabel="1 − specificity", aspect="equal")
        axis.legend(fontsize=6, loc="lower right", handlelength=2, labelspacing=0.2, borderaxespad=0)
    axes[0].set(ylabel="sensitivity")
    return figure


def counted(readings: pd.DataFrame) -> str:
    """How many images of each class the curves are made of, as captions say it."""
    n = readings.groupby(["question", "source", "truth"]).size()
    parts = [
        f"{name}: " + ", ".join(f"{n.get((ENTITY, source, answer), 0)} {answer}" for answer in ANSWERS[ENTITY])
        for source, name in NAMES.items()
    ]
    return "; ".join(parts)


def _curves(axis: Axes, part: pd.DataFrame, answers: tuple[str, ...]) -> None:
    for k, answer in enumerate(answers):
        is_answer = part["truth"] == answer
        if is_answer.any() and not is_answer.all():
            false, true, _ = roc_curve(is_answer, part[f"p_{answer}"])
            looks = {"linewidth": 0.9, "color": OKABE_ITO[k % 7], "linestyle": figures.LINES[k % 5]}
            axis.plot(false, true, **looks, label=f"{answer} {auc(false, true):.2f}")


def losses_figure(study: Study) -> Figure:
    """Loss on train batches and val against steps, a panel per question; a curve ends where its training stopped."""
    figure, axes = plt.subplots(1, len(study.logs), figsize=(TEXT_WIDTH, 1.7), squeeze=False)
    titles = {ENTITY: "seven entities", SOURCE: "AI against original"}
    for axis, (question, log) in zip(axes[0], study.logs.items(), strict=True):
        figures.losses(axis, log)
        axis.set(title=titles[question], xlabel="step")
    axes[0, 0].set(ylabel="loss (nats)")
    axes[0, -1].legend(frameon=False)
    return figure


def findings(study: Study, cases: pd.DataFrame, seed: int, n_resamples: int = 1000) -> list[str]:
    """What the study would have printed, with the intervals (over lesions; an AI image is one) that it leaves out."""
    lesion_of = cases.set_index("image_id")["lesion_id"]
    lines = []
    for question, words in ((ENTITY, "the entity"), (SOURCE, "AI or original")):
        of_question = study.readings[study.readings["question"] == question]
        for source, name in NAMES.items() if question == ENTITY else ((None, "original and AI images"),):
            part = of_question if source is None else of_question[of_question["source"] == source]
            lesions = part["image_id"].map(lesion_of).fillna(part["image_id"])
            if lesions.nunique() < intervals.FEWEST:
                continue
            weights = intervals.resample(lesions, n_resamples, seed=derive(seed, "pooled study", question))
            right = (part["truth"] == part["read"]).to_numpy()
            accuracy = intervals.summarise(right @ weights.T / weights.sum(1), bounds=(0, 1))
            answer, share = part["truth"].mode()[0], part["truth"].value_counts(normalize=True).max()
            lines.append(
                f"Pooled study: {words} is read rightly on {interval(*accuracy, digits=2)} of {len(part)} {name} "
                f"(answering {answer} alone: {share:.2f}); images are divided at random, so lesions leak."
            )
    return lines
