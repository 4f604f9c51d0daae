"""What describers are worth: what their scores say of the diagnoses and of a known truth, and all of them compared."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from p2d_lib.describe import faithfulness, wording
from p2d_lib.report import tables
from p2d_lib.vocabulary import DX, FEATURES

COMPARED = (
    "describer", "BLEU-4", "ROUGE-L", "CIDEr-D", "BERTScore F1", "CLIP similarity", "perplexity",
    "AUC", "κ", "swap sensitivity", "distinct-2", "self-BLEU", "coverage",
)  # fmt: skip


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


def compared(
    cases: pd.DataFrame,
    descriptions: pd.DataFrame,
    reference: str,
    *,
    prior: pd.DataFrame | None = None,
    clip_similarity: Mapping[str, float] | None = None,
    perplexity: Mapping[str, float] | None = None,
    bert_model: str | Path | None = None,
    device: str = "cpu",
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """The describers side by side on the same images, a row each, columns as printed (COMPARED).

    cases: the images compared on (image_id, lesion_id, dx), each described by every describer. reference: the describer
    whose texts and scores the others are held against; its own row says only how varied it is.
    prior: `by_class` of the reference on train images; adds the row "class prior", which knows the diagnosis only.
    clip_similarity, perplexity: {describer: value} where they were measured. bert_model: folder or hub id of the model
    for BERTScore on `device`; without it that column is empty and nothing is downloaded.
    AUC (mean over features) and swap sensitivity (of that AUC) carry 95 % intervals over lesions.
    Raises ValueError for a describer that leaves an image out or describes it twice.
    """
    named = {name: _of(name, cases, descriptions) for name in [reference, *descriptions["describer"].unique()]}
    truth = named[reference]
    rows = []
    for name, own in named.items():
        row = {"describer": name, **wording.diversity(own["text"].tolist(), seed)}
        row["CLIP similarity"] = (clip_similarity or {}).get(name)
        row["perplexity"] = (perplexity or {}).get(name)
        if name != reference:
            row |= _worded(own["text"].tolist(), truth["text"].tolist(), bert_model, device)
            row |= _faithful(own, truth, cases, n_resamples, seed)
        rows.append(row)
    if prior is not None:
        known = faithfulness.class_prior(prior, cases["dx"])
        rows.append({"describer": "class prior", **_faithful(known, truth, cases, n_resamples, seed)})
    return pd.DataFrame(rows).reindex(columns=list(COMPARED))


def _of(name: str, cases: pd.DataFrame, descriptions: pd.DataFrame) -> pd.DataFrame:
    """A describer's rows of the cases, in their order."""
    own = descriptions[(descriptions["describer"] == name) & descriptions["image_id"].isin(cases["image_id"])]
    times = own["image_id"].value_counts().reindex(cases["image_id"], fill_value=0)
    if (times != 1).any():
        image = (times != 1).idxmax()
        raise ValueError(
            f"describer {name!r} describes {image} {times[image]} times ({(times != 1).sum()} of {len(cases)} images "
            "are not described once): compare on images that every describer has described"
        )
    return own.set_index("image_id").loc[cases["image_id"]]


def _worded(texts: list[str], references: list[str], bert_model: str | Path | None, device: str) -> dict[str, float]:
    found = wording.against(texts, [[reference] for reference in references])
    if bert_model:
        from p2d_lib.models import bertscore  # which loads torch and transformers

        found["BERTScore F1"] = float(bertscore.f1(texts, references, bert_model, device).mean())
    return found


def _faithful(
    own: pd.DataFrame, truth: pd.DataFrame, cases: pd.DataFrame, n_resamples: int, seed: int
) -> dict[str, str | float]:
    lesions = cases["lesion_id"]
    found = faithfulness.macro(own, truth, lesions, n_resamples, seed)
    swap = faithfulness.swap_sensitivity(own, truth, cases["dx"], lesions, n_resamples, seed)["auc"]
    return {
        "AUC": tables.interval(*found["auc"], digits=2),
        "κ": found["kappa"].estimate,
        "swap sensitivity": tables.interval(*swap[:3], digits=2),
    }
