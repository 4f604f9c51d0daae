"""R-precision: how often an image's own prompt fits it best among many (Xu et al., AttnGAN, CVPR 2018).

AttnGAN ranks each image's prompt against 99 others that are chosen at random. Here the mean over all such choices is
computed, so the number depends on no choice.
"""

import numpy as np
from scipy.special import gammaln

N_OTHERS = 99  # as in AttnGAN: chance is 1 %


def best_of(scores: np.ndarray, prompt_of: np.ndarray, n_others: int = N_OTHERS) -> tuple[np.ndarray, int]:
    """For every image i and prompt j, the chance that j fits i best among so many others: floats (k, n), 0..1.

    scores (k, n): how well image i fits the prompt of image j. prompt_of (n,): which prompt that is; columns of one
    prompt are one candidate, never each other's rival, and must be equal to the last digit. The others are chosen among
    all different prompts without replacement; where there are fewer, all of them take part. Ties are broken at random.
    The second result is the number of others; chance is 1 / (1 + others), which is 1 where all images have one prompt.
    """
    first = np.unique(prompt_of, return_index=True)[1]
    rivals = len(first) - 1
    n_others = min(n_others, rivals)
    candidates = np.sort(scores[:, first], axis=1)
    below, up_to = (
        np.stack([np.searchsorted(row, values, side) for row, values in zip(candidates, scores, strict=True)])
        for side in ("left", "right")
    )
    ties = up_to - below - 1  # other prompts that fit exactly as well
    # a tie broken at random puts u = 0..ties of them below; the mean of C(below + u, others) is a difference of two
    chance = _ratio(below + ties + 1, rivals, n_others) - _ratio(below, rivals, n_others)
    return (chance / (ties + 1)).clip(0, 1), n_others


def _ratio(n: np.ndarray, rivals: int, others: int) -> np.ndarray:
    """C(n, others + 1) / C(rivals, others), by logarithms: both overflow."""
    enough = n >= others + 1
    n = np.where(enough, n, others + 1)
    above = gammaln(n + 1) - gammaln(others + 2) - gammaln(n - others)
    below = gammaln(rivals + 1) - gammaln(others + 1) - gammaln(rivals - others + 1)
    return np.where(enough, np.exp(above - below), 0)
