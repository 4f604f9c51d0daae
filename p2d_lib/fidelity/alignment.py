"""Whether an image shows what its prompt says: CLIP score against the chance level of someone else's prompt.

CLIP score (Hessel et al., EMNLP 2021) is a cosine whose zero means nothing; what an image scores with prompts of other
classes is the level to compare it with.
"""

import numpy as np
import pandas as pd

from p2d_lib.instruments import intervals


def mismatched(table: pd.DataFrame, seed: int) -> list[str]:
    """For each row a prompt of another class, drawn from the table's own.

    table: dx and prompt per image. Raises ValueError when there is only one class.
    """
    labels, prompts = table["dx"].to_numpy(), table["prompt"].to_numpy()
    if len(set(labels)) < 2:
        raise ValueError(f"prompts of another class need two classes, there is only {labels[0]!r}")
    rng = np.random.default_rng(seed)
    return [str(rng.choice(prompts[labels != dx])) for dx in labels]


def summarise(own: np.ndarray, other: np.ndarray, seed: int) -> pd.DataFrame:
    """Cosines with the own (n,) and with another class's prompt (n,), and how often the own one wins (chance 0.5).

    Rows own, other, wins; columns mean, low, high: 95 % by bootstrap over images.
    """
    measures = {"own": own, "other": other, "wins": own > other}
    bounds = [
        intervals.bootstrap(lambda rows, values=values: values[rows].mean(), range(len(own)), seed=seed)
        for values in measures.values()
    ]
    return pd.DataFrame(bounds, index=list(measures), columns=["mean", "low", "high"])
