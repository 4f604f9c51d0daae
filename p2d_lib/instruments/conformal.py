"""A limit that new values like those of a control exceed rarely: the rule of conformal prediction."""

import numpy as np


def upper_limit(control: np.ndarray, rate: float) -> tuple[float, float]:
    """(limit, chance): one more value like the control's (n,) exceeds the limit with probability `chance` at most.

    The k-th largest of n exchangeable values is exceeded by one more with probability k / (n + 1) at most (Vovk et al.,
    Algorithmic Learning in a Random World, 2005). chance is the largest of these that is no more than `rate` (0..1).
    With fewer than 1 / rate - 1 values there is none: the limit is the largest value then, and chance is 1 / (n + 1).
    Without values they are infinity and 0.
    """
    n = len(control)
    if not n:
        return np.inf, 0.0
    k = max(1, int(rate * (n + 1)))
    return float(np.sort(control)[-k]), k / (n + 1)
