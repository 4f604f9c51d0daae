"""How well vision-language models read, beside other readers of the same images, and how far the words decide it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from p2d_lib.instruments import agreement, intervals, multiplicity, scores
from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX

MAJORITY = "majority class"
Replicates = Mapping[str, Mapping[str, np.ndarray]]
"""Reader -> score -> (n_seeds, 1 + B): the score on the sample, then on its bootstrap replicates."""


def majority(train: pd.DataFrame, image_ids: Sequence[str]) -> pd.DataFrame:
    """The reader who names the most frequent class of train (dx) for every image, as schemas.READINGS.

    Its probabilities are the frequencies, so that the area under its ROC curve is 0.5.
    """
    shares = train["dx"].value_counts(normalize=True).reindex(DX, fill_value=0.0)
    return readings(image_ids, MAJORITY, "network", p=np.tile(shares, (len(image_ids), 1)))


def replicates(table: pd.DataFrame, cases: pd.DataFrame, n_resamples: int = 1000, *, seed: int) -> Replicates:
    """The scores of all readers on the same resamples of lesions.

    table: schemas.READINGS of the cases (image_id, lesion_id, dx). Raises ValueError where a reader lacks an image,
    which would make a score of fewer images than another reader's.
    """
    weights = intervals.resample(cases["lesion_id"], n_resamples, seed=seed)
    result = {}
    for reader, of_reader in table.groupby("reader", sort=False):
        of_seeds = []
        for _, part in of_reader.groupby("seed"):
            rows = part.set_index("image_id").reindex(cases["image_id"])
            if lacking := int(rows["reader"].isna().sum()):
                raise ValueError(f"reader {reader!r} lacks {lacking} of {len(cases)} images that the others read")
            of_seeds.append(rows.assign(dx=cases["dx"].to_numpy()))
        result[reader] = scores.scores_by_seed(of_seeds, [weights] * len(of_seeds))
    return result


def parsers(answers: pd.DataFrame, cases: pd.DataFrame, template_id: str) -> pd.DataFrame:
    """One row a reader: reader, strict and lenient (accuracy, 0..1), abstentions of both, differing (answers).

    answers: schemas.VLM_ANSWERS. An abstention is an error. differing: the two parsers give different diagnoses.
    """
    rows = []
    of_question = answers[answers["template_id"] == template_id].merge(cases[["image_id", "dx"]], on="image_id")
    for reader, part in of_question.groupby("reader", sort=False):
        right = {name: float((part[name] == part["dx"]).mean()) for name in ("strict", "lenient")}
        abstentions = {f"{name} abstentions": int((part[name] == "").sum()) for name in ("strict", "lenient")}
        differing = int((part["strict"] != part["lenient"]).sum())
        rows.append({"reader": reader, **right, **abstentions, "differing": differing})
    return pd.DataFrame(
        rows, columns=["reader", "strict", "lenient", "strict abstentions", "lenient abstentions", "differing"]
    )


def pairs(models: Sequence[str], of_models: pd.DataFrame, of_networks: pd.DataFrame) -> list[tuple[str, str]]:
    """The comparisons that answer: did fitting help, is it more than the majority class, what does a network do better?

    models: names of the vision-language models, each as it comes before its fitted one. of_models, of_networks:
    readings; of the networks the arm "real" is compared, or the first one where there is no such arm.
    """
    clips = [name for name in of_models.loc[of_models["kind"] == "vlm", "reader"].unique() if name not in models]
    arms = list(of_networks["arm"].unique())
    network = f"network, {'real' if 'real' in arms else arms[0]}"
    fitted = list(zip(models[1::2], models[::2], strict=False))
    with_majority = [(name, MAJORITY) for name in (*models, *clips)]
    return [*fitted, *with_majority, *((network, name) for name in (*models[1::2], *clips))]


def differences(of_readers: Replicates, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """One row a pair: first, second, difference, low, high, p, p_holm: AUC of first less second, over the same lesions.

    Holm's correction is over the pairs. Pairs of readers that are not there are left out.
    """
    present = [pair for pair in pairs if set(pair) <= set(of_readers)]
    rows = [
        (*pair, *intervals.compare(of_readers[pair[0]]["auc"], of_readers[pair[1]]["auc"]))
        for pair in present
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["first", "second", "difference", "low", "high", "p"])
    return table.assign(p_holm=multiplicity.holm(table["p"].to_numpy(float)))


def prompt_sensitivity(answers: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """How far the words of the question decide the answer. One row a reader and way of reading (likeliest | lenient).

    reader, read by, questions, n; changed: share of images (0..1) that do not get the same diagnosis by all questions,
    an abstention being one of its own; lowest and highest accuracy over the questions; kappa: Fleiss' over them
    (1: the words change nothing; 0: agreement by chance; NaN where all diagnoses are one and the same).
    """
    rows = []
    truth = cases.set_index("image_id")["dx"]
    for reader, part in answers[answers["image_id"].isin(truth.index)].groupby("reader", sort=False):
        for way in ("likeliest", "lenient"):
            diagnoses = part.pivot(index="image_id", columns="template_id", values=way)
            if diagnoses.shape[1] < 2 or (way == "likeliest" and (diagnoses == "").all(axis=None)):
                continue
            right = diagnoses.eq(truth.reindex(diagnoses.index), axis=0).mean()
            changed = float((diagnoses.nunique(axis=1) > 1).mean())
            kappa = agreement.kappa(diagnoses)["kappa"].iloc[-1]
            rows.append((reader, way, diagnoses.shape[1], len(diagnoses), changed, right.min(), right.max(), kappa))
    return pd.DataFrame(
        rows, columns=["reader", "read by", "questions", "n", "changed", "lowest accuracy", "highest accuracy", "kappa"]
    )
