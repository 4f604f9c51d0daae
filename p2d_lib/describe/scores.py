"""What the scores of a describer say: how they differ between diagnoses, how far they follow a known truth."""

import pandas as pd
from scipy.stats import spearmanr

from p2d_lib.vocabulary import DX, FEATURES


def by_class(cases: pd.DataFrame, descriptions: pd.DataFrame) -> pd.DataFrame:
    """Mean score (0..1) of each feature, one column per dx, and `known`: the share of images (0..1) it is known of."""
    scores = descriptions.set_index("image_id")[list(FEATURES)].loc[cases["image_id"]]
    means = scores.groupby(cases["dx"].to_numpy()).mean().T.reindex(columns=DX)
    return means.assign(known=scores.notna().mean()).rename_axis("feature")


def separation(cases: pd.DataFrame, descriptions: pd.DataFrame) -> pd.Series:
    """Share of each feature's variance that lies between diagnoses (eta squared, 0..1), largest first; known ones."""
    scores = descriptions.set_index("image_id")[list(FEATURES)].loc[cases["image_id"]]
    means = scores.groupby(cases["dx"].to_numpy()).transform("mean")
    total = ((scores - scores.mean()) ** 2).sum()
    between = ((means - scores.mean()) ** 2).where(scores.notna()).sum()
    return (between / total)[total > 0].sort_values(ascending=False)


def agreement(truth: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of two describers' scores, for each feature that both know and that varies.

    truth, measured: one column per feature, same rows. Columns: feature, n, rho (-1..1), best first.
    """
    rows = []
    for name in FEATURES:
        pair = pd.DataFrame({"truth": truth[name], "measured": measured[name]}).dropna()
        if len(pair) and (pair.nunique() > 1).all():
            rows.append({"feature": name, "n": len(pair), "rho": float(spearmanr(pair).statistic)})
    return pd.DataFrame(rows, columns=["feature", "n", "rho"]).sort_values("rho", ascending=False, ignore_index=True)
