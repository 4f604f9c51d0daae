"""Whether images show what their prompts name: cosines with their own prompt and with those of other images.

CLIP score (Hessel et al., EMNLP 2021) is a cosine whose zero means nothing; what an image scores with prompts of other
classes is the level to compare it with. R-precision (Xu et al., AttnGAN, CVPR 2018) asks for more: that of 100 prompts
the image's own fits it best, others of its class among them.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2d_lib.fidelity import compare
from p2d_lib.fidelity.controls import CONTROLS
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments import paired_tests, retrieval
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.models import clip
from p2d_lib.run import Run
from p2d_lib.words.choose import chosen as description_of_each

AT_ONCE = 500  # images whose cosines with all prompts are in memory
MEASURES = ("own_prompt", "other_prompts", "wins", "r_precision", "r_same_class", "r_shuffled")


class Alignment(NamedTuple):
    """How the images of one set fit their prompts, float64 (n,) per image.

    own_prompt: cosine with its own prompt. other_prompts: mean cosine with the prompts of other classes. wins: the
    share of these that fit it less well than its own (chance: about 0.5). r_precision: the chance that its own prompt
    fits it best among `n_others` others. r_same_class, r_shuffled: the same for the prompt of another image of its
    class, and of any other image: what the class alone brings, and chance or less (its own prompt is then a rival).
    wins_with (n, n): wins of every prompt.
    """

    own_prompt: np.ndarray
    other_prompts: np.ndarray
    wins: np.ndarray
    wins_with: np.ndarray
    r_precision: np.ndarray
    r_same_class: np.ndarray
    r_shuffled: np.ndarray
    n_others: int


def of_sets(run: Run, chosen: Sets, aligner: clip.Clip, seed: int) -> dict[str, Alignment]:
    """How every set fits its prompts: generators, the real test images ("test") and the controls.

    Real images have the descriptions of 02 for prompts; those without a valid one are left out. Controls are made
    of the train images and keep their prompts. A set with prompts of fewer than two classes is left out.
    """
    described = description_of_each(run.read("descriptions"))[["image_id", "prompt"]]
    real = {split: chosen.tables[split].merge(described, on="image_id") for split in (REFERENCE, FLOOR)}
    prompted = {name: (chosen.tables[name], None) for name in chosen.generators} | {REFERENCE: (real[REFERENCE], None)}
    prompted |= {name: (real[FLOOR], control) for name, control in CONTROLS.items()}
    result = {}
    for name, (table, control) in prompted.items():
        if table["dx"].nunique() < 2:
            continue
        images = compare.of_set(run, name, table, control, partial(clip.embed_images, aligner), seed)
        prompts = clip.embed_prompts(aligner, table["prompt"].tolist())
        result[name] = align(images, prompts, table["dx"].to_numpy())
    return result


def align(images: np.ndarray, prompts: np.ndarray, dx: np.ndarray) -> Alignment:
    """images, prompts: unit vectors (n, d), row i of both of one image of class dx[i].

    Raises ValueError when there is only one class.
    """
    if len(set(dx)) < 2:
        raise ValueError(f"prompts of another class need two classes, there is only {str(dx[0])!r}")
    distinct, prompt_of = np.unique(prompts.astype(np.float64), axis=0, return_inverse=True)
    names, wins_with = np.unique(dx), np.empty((len(dx), len(dx)))
    own_prompt, other_prompts, r_precision, r_same_class, r_shuffled = np.empty((5, len(dx)))
    for start in range(0, len(dx), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(dx)))
        cosines = (images[rows].astype(np.float64) @ distinct.T)[:, prompt_of]  # of one prompt equal to the last digit
        own = np.arange(len(rows)), rows
        for name in names:
            same, others = np.flatnonzero(dx == name), np.flatnonzero(dx != name)
            of_class = np.flatnonzero(dx[rows] == name)
            wins_with[np.ix_(rows, same)] = _wins(cosines[:, same], cosines[:, others])
            other_prompts[rows[of_class]] = cosines[np.ix_(of_class, others)].mean(axis=1)
        best_with, n_others = retrieval.best_of(cosines, prompt_of)
        another = np.arange(len(dx)) != rows[:, None]
        same_class = another & (dx[rows, None] == dx)
        own_prompt[rows], r_precision[rows] = cosines[own], best_with[own]
        r_same_class[rows], r_shuffled[rows] = _mean(best_with, same_class), _mean(best_with, another)
    wins = np.diag(wins_with)
    return Alignment(own_prompt, other_prompts, wins, wins_with, r_precision, r_same_class, r_shuffled, n_others)


def _wins(cosines: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of the prompts of other classes that fit an image less well than each prompt of one class; ties count
    half. cosines (k, n), others (k, m): of k images with both. (k, n)."""
    wins = np.empty(cosines.shape)
    for i, (row, ordered) in enumerate(zip(cosines, np.sort(others, axis=1), strict=True)):
        below, up_to = (np.searchsorted(ordered, row, side=side) for side in ("left", "right"))
        wins[i] = (below + up_to) / 2 / len(ordered)
    return wins


def _mean(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Mean of values (k, n) over the members (k, n) of each row; NaN for a row without any."""
    counts = members.sum(axis=1)
    return np.divide((values * members).sum(axis=1), counts, out=np.full(len(values), np.nan), where=counts > 0)


def summarise(aligned: Alignment) -> pd.DataFrame:
    """Means over images with their 95 % jackknife intervals: rows MEASURES, columns estimate, low, high."""
    values = np.column_stack([getattr(aligned, measure) for measure in MEASURES])
    estimates = jackknife(lambda rows: np.nanmean(values[rows], axis=0), len(values))
    return pd.DataFrame(dict(zip(("estimate", "low", "high"), estimates[:3], strict=True)), index=list(MEASURES))


def follows_prompts(aligned: Alignment, seed: int) -> paired_tests.PermutationTest:
    """Whether images fit their own prompt better than randomly paired prompts: mean of wins, and p."""
    return paired_tests.matched(aligned.wins_with, seed=seed)
