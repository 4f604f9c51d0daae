"""Features that chance assigns to a prompt: what is then read of one is due to its word, not to what it comes with."""

from collections.abc import Sequence

import numpy as np

from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import SKIN_WORDS

TONE = "background_skin_tone"
NAMED = 5  # features that a prompt names


def scores_of(name: str) -> list[float]:
    """A score for each level of a feature that words can tell apart, rising (see `obedience.levels`)."""
    if name == TONE:
        return [(k + 0.5) / len(SKIN_WORDS) for k in range(len(SKIN_WORDS))]
    return [0.0, 0.5, 1.0] if FEATURES[name].kind == "structure" else [0.0, 1.0]


def scores(names: Sequence[str], at_most: int, rng: np.random.Generator) -> dict[str, float]:
    """A score of each of these features: NAMED of them, and at most `at_most`, are present, the others 0."""
    present = rng.choice(names, min(NAMED, len(names), at_most), replace=False)
    return dict.fromkeys(names, 0.0) | {name: float(rng.choice(scores_of(name)[1:])) for name in present}
