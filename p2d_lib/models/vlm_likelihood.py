"""How likely a vision-language model finds each of a few options: a reading without a parser.

A model's free text has to be parsed, and gives no probabilities. The likelihoods of the seven diagnoses as its answer
need no parser and rank images, so that the area under the ROC curve exists.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from p2d_lib.models.vlm import Vlm, VlmError, answer_tokens, batches, first_logits, forced

SAME = 1e-6  # log-likelihoods that differ by less are equal


@torch.inference_mode()
def log_likelihoods(
    vlm: Vlm, images: np.ndarray, question: str, options: Sequence[str], batch_size: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of each option as the answer: float32 (n, len(options)); its tokens: int (len(options),).

    images: uint8 (n, h, w, 3). A log-likelihood is the sum over the option's tokens. Raises ValueError for fewer than
    two different options.
    """
    if len(options) < 2 or len(set(options)) < len(options):
        raise ValueError(f"options are {list(options)}: give at least two, all different")
    answers = [answer_tokens(vlm, question, option) for option in options]
    sums = np.empty((len(images), len(options)), np.float32)
    for rows, inputs in batches(vlm, images, question, batch_size):
        first, past = first_logits(vlm, inputs)
        for k, answer in enumerate(answers):
            logits, tokens = first, answer.repeat(len(first), 1)
            if len(answer) > 1:  # a copy, since the cache is extended in place
                rest, _ = forced(vlm, tokens[:, :-1], copy.deepcopy(past))
                logits = torch.cat([first, rest], dim=1)
            sums[rows, k] = logits.log_softmax(-1).gather(-1, tokens[..., None]).sum((1, 2)).cpu().numpy()
    return sums, np.array([len(answer) for answer in answers])


def probabilities(sums: np.ndarray, lengths: np.ndarray, prior: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities of the options (n, k), rows sum to 1, by the three ways of comparing likelihoods in use.

    sums (n, k), lengths (k,): of `log_likelihoods`. prior (k,): the sums for a blank image.
    - "sum": of all tokens; an option of many tokens is less likely for its length.
    - "per token": their mean (Brown et al., NeurIPS 2020, sec. 2.4).
    - "minus prior": the sum less that for the blank image, so that an option which the model likes without seeing
      anything gains nothing by it (Zhao et al., ICML 2021; Holtzman et al., EMNLP 2021).
    """
    scores = {"sum": sums, "per token": sums / lengths, "minus prior": sums - prior}
    return {name: torch.from_numpy(np.asarray(score, float)).softmax(-1).numpy() for name, score in scores.items()}


def blank(images: np.ndarray) -> np.ndarray:
    """One uniform grey image of the size of these: uint8 (1, h, w, 3)."""
    return np.full((1, *images.shape[1:]), 128, np.uint8)


def refuse_blind(vlm: Vlm, images: np.ndarray, question: str, options: Sequence[str]) -> None:
    """Raises VlmError where the options are as likely for every image as for a blank one.

    images: uint8 (n, h, w, 3), a few that differ. Then the vision tower is not connected, or its weights were not
    loaded, as is reported of LLaVA-Med (MedEvalKit, issue 13).
    """
    sums, _ = log_likelihoods(vlm, np.concatenate([blank(images), images]), question, options)
    if np.abs(sums[1:] - sums[0]).max() < SAME:
        raise VlmError(
            f"{vlm.name}: answers {len(images)} images and a blank one alike: it does not see them. Is its vision "
            "tower loaded? Get the whole checkpoint, or convert it again"
        )
