"""What a wrong description costs: its error against obedience, distance and gain of the images that it prompts.

Every source has an image of each case, so all replicates resample the same cases, and sources are paired.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from p2d_lib.classify.comparison import PRIMARY, Replicates
from p2d_lib.classify.prompt_plan import Cases
from p2d_lib.instruments import distances, intervals, multiplicity, obedience
from p2d_lib.instruments.intervals import Interval
from p2d_lib.parameters.classify import PROMPT_DESCRIBERS
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.render import mentioned
from p2d_lib.words.wording import lesions

TESTED = ("shows", "accuracy")  # whose differences are tested; Holm's family
COUNTED = [name for name in FEATURES if name not in ("background_skin_tone", "evolving")]  # present or absent, visible


@dataclass(frozen=True)
class Costs:
    """Of one source. Replicates over cases have shape (1 + B,), those of accuracy (seeds, 1 + B) over val lesions."""

    error: np.ndarray  # 1 - F1 of the features that prompts name against those that the cases show, 0..1
    follows: np.ndarray  # concordance of what is read with what the prompt asks for, 0..1
    shows: np.ndarray  # concordance of what is read with what is known of the case, 0..1
    class_read: np.ndarray  # share of images whose class is read as asked, 0..1
    kid: Interval  # to real images, by the independent extractor
    accuracy: np.ndarray  # balanced accuracy on val of networks that are trained on these images alone, 0..1


def measure(
    plan: pd.DataFrame,
    cases: Cases,
    features: np.ndarray,
    read: np.ndarray,
    reference: tuple[np.ndarray, np.ndarray],
    accuracy: Mapping[str, np.ndarray],
    attributes: Sequence[str],
    max_features: int,
    seed: int,
) -> dict[str, Costs]:
    """`Costs` by source. plan: of `prompt_plan.plan`, n rows. features (n, d): of the independent extractor; read
    (n, 29): what a readout says of them. reference: features (m, d) of real images and their classes (m,). accuracy:
    replicates by source. attributes: features that the readout can read on real images. max_features: of a prompt.
    """
    weights, result = intervals.resample(cases.table["image_id"], seed=seed).astype(float), {}
    for source, part in plan.groupby("variant", sort=False):
        rows, dx = part.index.to_numpy(), part["dx"].to_numpy()
        of_features = read[rows][:, len(DX) :]
        right = read[rows][:, : len(DX)].argmax(1) == [DX.index(name) for name in dx]
        result[str(source)] = Costs(
            description_error(cases, part, weights, max_features),
            obedience.pooled(dx, part.reset_index(drop=True), of_features, weights, attributes),
            obedience.pooled(dx, cases.known, of_features, weights, attributes),
            weights @ right / weights.sum(1),
            distances.kid_interval(reference[0], features[rows], (reference[1], dx)),
            accuracy[str(source)],
        )
    return result


def description_error(cases: Cases, asked: pd.DataFrame, weights: np.ndarray, max_features: int) -> np.ndarray:
    """1 - F1 of the features that prompts name against those that the cases show: replicates (1 + B,), 0..1.

    asked: the scores of each case's prompt, which names the max_features strongest. Pairs of case and feature are
    counted, where the feature is known. 0: all and nothing else is named. 1: nothing that is named is there.
    """
    about = cases.table[["dx", "localization", "age", "sex"]]
    named = _present(about, asked.reset_index(drop=True), max_features)
    known = cases.known[COUNTED].notna().to_numpy()
    shown = _present(about, cases.known, len(FEATURES))
    hits, total = (named & shown & known).sum(1), (named & known).sum(1) + (shown & known).sum(1)
    hits, total = weights @ hits, weights @ total
    return 1 - np.divide(2 * hits, total, out=np.zeros(len(weights)), where=total > 0)


def differences(costs: Mapping[str, Costs], reference: str) -> pd.DataFrame:
    """Each source minus the reference, paired: a row for each source and measure of TESTED.

    source, measure; difference, low, high, p (`intervals.compare`), p_holm over all rows, announced: p_holm is at most
    multiplicity.LEVEL and, of accuracy, all training seeds have one sign.
    """
    rows = []
    for source, cost in costs.items():
        for name in TESTED if source != reference else ():
            first, second = getattr(cost, name), getattr(costs[reference], name)
            difference = intervals.compare(first, second)
            signs = np.sign(np.atleast_2d(first - second)[:, 0])
            agree = abs(signs.sum()) == len(signs)
            rows.append({"source": source, "measure": name, **difference._asdict(), "agree": bool(agree)})
    table = pd.DataFrame(rows, columns=["source", "measure", *intervals.Difference._fields, "agree"])
    table["p_holm"] = multiplicity.holm(table["p"])
    table["announced"] = (table["p_holm"] <= multiplicity.LEVEL) & table["agree"]
    return table


def reference_of(sources: Iterable[str]) -> str:
    """The source that the others are compared with: the truth, else what is measured, else the last other describer.

    The data have no say. The one with the least error on these cases is the best of several by luck too, and tests
    against it call differences that chance has made.
    """
    sources = list(sources)
    return next((name for name in reversed(PROMPT_DESCRIBERS) if name in sources), sources[0])


def accuracies(of_arms: Replicates, arms: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Replicates of the primary score by source; arms: the arm of each source."""
    return {source: of_arms[arm][PRIMARY] for source, arm in arms.items()}


def _present(about: pd.DataFrame, scores: pd.DataFrame, at_most: int) -> np.ndarray:
    """Which of COUNTED a prompt with these scores names: bool (n, 20)."""
    named = [set(mentioned(lesion, at_most)) for lesion in lesions(about, scores)]
    return np.array([[name in names for name in COUNTED] for names in named])
