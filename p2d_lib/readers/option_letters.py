"""The question with lettered options, asked in every rotation of them: how far a letter, and no image, decides.

Models prefer some letters whatever stands behind them (Zheng et al., ICLR 2024). Over all rotations each diagnosis
stands once behind each letter (as in MMBench's circular evaluation: Liu et al., ECCV 2024). So the mean over rotations
is a reading in which a preferred letter has no part, and a reader that prefers no letter gives each of them the same
probability on average, whatever it reads.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax

from p2d_lib.instruments import intervals, multiplicity
from p2d_lib.readers import vlm_scores
from p2d_lib.readers.vlm_asking import Load
from p2d_lib.readers.vlm_reading import LocalReader
from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX, DX_NAMES

LETTERS = "ABCDEFG"
NO_PREFERENCE = 1 / len(LETTERS)
DECIMALS = 6  # of a mean probability: what sums differ by in rounding is no preference


def question(rotation: int) -> str:
    """The question whose letter k stands before diagnosis number k + rotation of DX, counted round. rotation: 0..6."""
    options = [f"{letter}. {DX_NAMES[dx]}" for letter, dx in zip(LETTERS, np.roll(DX, -rotation), strict=True)]
    return "\n".join(
        ["Which of these does the dermoscopic image show?", *options, "Answer with the letter of one option."]
    )


def read(reader: LocalReader, table: pd.DataFrame, load: Load) -> np.ndarray:
    """Probability of each letter by each image and rotation: (n, 7 rotations, 7 letters), in 0..1.

    table, load: of `vlm_asking.ask`; what was read before is not asked again.
    """
    sums = [reader.of_options(table, load, question(rotation), LETTERS) for rotation in range(len(DX))]
    return softmax(np.stack(sums, 1).astype(float), axis=2)


def of_diagnoses(of_letters: np.ndarray) -> np.ndarray:
    """Probabilities of the diagnoses, in the order of DX, in each rotation: (n, 7, 7). of_letters: of `read`."""
    return np.stack([np.roll(of_letters[:, k], k, axis=1) for k in range(len(DX))], 1)


def preferences(
    of_letters: np.ndarray, lesion_ids: Sequence[str], n_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """One row a letter: letter, probability (mean over images and rotations), low, high, p, p_holm.

    p: of no preference, which is a probability of 1/7; resampled are lesions. Holm's correction is over the letters.
    """
    of_images = of_letters.mean(1).round(DECIMALS) - round(NO_PREFERENCE, DECIMALS)
    weights = intervals.resample(lesion_ids, n_resamples, seed=seed)
    means = weights @ of_images / weights.sum(1)[:, None]
    rows = [intervals.compare(column, np.zeros_like(column)) for column in means.T]
    table = pd.DataFrame(rows, columns=["probability", "low", "high", "p"])
    table[["probability", "low", "high"]] += NO_PREFERENCE
    return table.assign(letter=list(LETTERS), p_holm=multiplicity.holm(table["p"].to_numpy(float)))


def compare(of_readers: Mapping[str, np.ndarray], cases: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row a reader: the letter that it prefers most, and what the order of the options does to its reading.

    of_readers: reader -> what `read` returns for the cases (image_id, lesion_id, dx). Columns: reader; letter,
    probability, low, high, p_holm of `preferences`; changed: share of images (0..1) whose diagnosis is not the same in
    all rotations; one_order, all_orders: accuracy, and auc, of the mean over rotations (each an Interval).
    """
    rows = []
    for reader, of_letters in of_readers.items():
        p = of_diagnoses(of_letters)
        read = {"one_order": p[:, 0], "all_orders": p.mean(1)}
        table = pd.concat([readings(cases["image_id"], order, "vlm", p=of_order) for order, of_order in read.items()])
        scores = vlm_scores.replicates(table, cases, seed=seed)
        most = preferences(of_letters, cases["lesion_id"], seed=seed).sort_values("probability").iloc[-1]
        chosen = p.argmax(2)
        rows.append(
            {
                "reader": reader,
                **most.drop("p"),
                "changed": float((chosen != chosen[:, :1]).any(1).mean()),
                **{order: intervals.summarise(scores[order]["accuracy"]) for order in read},
                "auc": intervals.summarise(scores["all_orders"]["auc"]),
            }
        )
    columns = ["reader", "letter", "probability", "low", "high", "p_holm", "changed", "one_order", "all_orders", "auc"]
    return pd.DataFrame(rows, columns=columns)
