"""Describers compared: how their scores relate to the diagnoses and to a reference, and how their texts are worded.

The reference is the truth on phantoms, else the measurements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from p2d_lib.describe import caption_metrics, faithfulness
from p2d_lib.instruments.intervals import Difference
from p2d_lib.vocabulary import DX, FEATURES, MALIGNANT


def by_class(cases: pd.DataFrame, descriptions: pd.DataFrame) -> pd.DataFrame:
    """Mean score (0..1) of each feature, one column per dx, and `known`: its share (0..1) of the images."""
    scores = descriptions.set_index("image_id")[list(FEATURES)].reindex(cases["image_id"])
    means = scores.groupby(cases["dx"].to_numpy()).mean().T.reindex(columns=DX)
    return means.assign(known=scores.notna().mean()).rename_axis("feature")


def separation(cases: pd.DataFrame, descriptions: pd.DataFrame) -> pd.Series:
    """Share of each feature's variance that lies between diagnoses (eta squared, 0..1), largest first; known ones."""
    scores = descriptions.set_index("image_id")[list(FEATURES)].reindex(cases["image_id"])
    means = scores.groupby(cases["dx"].to_numpy()).transform("mean")
    total = ((scores - scores.mean()) ** 2).sum()
    between = ((means - scores.mean()) ** 2).where(scores.notna()).sum()
    return (between / total)[total > 0].sort_values(ascending=False)


def correlations(cases: pd.DataFrame, descriptions: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation (-1..1) of every two features whose scores vary, last "malignant" (0 or 1).

    Each over the images that have both scores; NaN where one of the two does not vary on these.
    """
    scores = descriptions.set_index("image_id")[list(FEATURES)].reindex(cases["image_id"])
    scores = scores.loc[:, scores.nunique() > 1].reset_index(drop=True)
    return scores.assign(malignant=cases["dx"].isin(MALIGNANT).to_numpy(float)).corr(method="spearman")


def rank_agreement(truth: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of two describers' scores, for each feature that both know and that varies.

    truth, measured: one column per feature, same rows. Columns: feature, n, rho (-1..1), highest first.
    """
    rows = []
    for name in FEATURES:
        pair = pd.DataFrame({"truth": truth[name], "measured": measured[name]}).dropna()
        if len(pair) and (pair.nunique() > 1).all():
            rows.append({"feature": name, "n": len(pair), "rho": float(spearmanr(pair).statistic)})
    return pd.DataFrame(rows, columns=["feature", "n", "rho"]).sort_values("rho", ascending=False, ignore_index=True)


@dataclass(frozen=True)
class Comparison:
    """Describers of the same images beside a reference, all with their rows in the order of `cases`."""

    cases: pd.DataFrame  # image_id, lesion_id, dx of the images compared on
    reference: pd.DataFrame  # the reference's rows; its name is in the column describer
    others: Mapping[str, pd.DataFrame]  # rows of each other describer, by name
    prior: pd.DataFrame  # scores of the class prior (`faithfulness.class_prior`)
    seed: int = 0

    @property
    def reference_name(self) -> str:
        return str(self.reference["describer"].iloc[0])

    @property
    def describers(self) -> dict[str, pd.DataFrame]:
        """The reference and the others, by name."""
        return {self.reference_name: self.reference, **self.others}

    def ahead_of_prior(self, name: str) -> Difference:
        """A describer's mean AUC minus the class prior's, over the features that the describer scores."""
        other, lesions = self.others[name], self.cases["lesion_id"]
        return faithfulness.compare(other, self.prior, self.reference, lesions, seed=self.seed)["auc"]


def compare(
    cases: pd.DataFrame,
    tables: Sequence[pd.DataFrame],
    reference: pd.DataFrame,
    images: Sequence[str] | None = None,
    seed: int = 0,
) -> Comparison:
    """The describers of `tables` against a reference, on test images.

    cases: all cases. tables: rows of `descriptions`, one table per describer; one with the reference's name is left
    out. reference: rows of the reference for all cases. images: image_ids to compare on; default: all of test. The
    class prior is the reference's mean on train images. Raises ValueError for a describer that does not describe each
    test image exactly once.
    """
    test = cases[cases["split"] == "test"]
    test = test if images is None else test[test["image_id"].isin(images)]
    named = {str(table["describer"].iloc[0]): table for table in tables if len(table)}
    reference_name = str(reference["describer"].iloc[0])
    others = {name: _rows(name, table, test) for name, table in named.items() if name != reference_name}
    prior = by_class(cases[cases["split"] == "train"], reference)
    return Comparison(
        test, _rows(reference_name, reference, test), others, faithfulness.class_prior(prior, test["dx"]), seed
    )


def texts_table(
    comparison: Comparison,
    extra: Mapping[str, Mapping[str, float]] | None = None,
    bert_model: str | Path | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """How the describers word their texts, a row each, the reference first.

    Scores against the reference's texts (BLEU-4, ROUGE-L, CIDEr-D, with bert_model BERTScore F1), columns of `extra`
    ({column: {describer: value}}), and the diversity of the texts. bert_model: folder or hub id of the model for
    BERTScore on `device`; without it nothing is downloaded. Columns that are empty throughout are left out.
    """
    references = comparison.reference["text"].tolist()
    rows = []
    for name, table in comparison.describers.items():
        texts = table["text"].tolist()
        row = {"describer": name}
        if name != comparison.reference_name:
            scores = caption_metrics.against(texts, [[reference] for reference in references])
            row |= {column: scores[column] for column in ("BLEU-4", "ROUGE-L", "CIDEr-D")}
            row |= caption_metrics.bertscore_column(texts, references, bert_model, device)
        row |= {column: values.get(name, np.nan) for column, values in (extra or {}).items()}
        diversity = caption_metrics.diversity(texts, comparison.seed)
        rows.append(row | {column: diversity[column] for column in ("distinct-2", "self-BLEU", "coverage")})
    table = pd.DataFrame(rows)
    order = ["describer", "BLEU-4", "ROUGE-L", "CIDEr-D", "BERTScore F1", *(extra or {}), "distinct-2", "self-BLEU"]
    return table.reindex(columns=[*order, "coverage"]).dropna(how="all", axis=1)


def faithfulness_table(comparison: Comparison) -> pd.DataFrame:
    """Whether the describers' scores follow the reference: a row each, and one for the class prior.

    Columns: describer, features (how many of those that the reference knows to vary are scored), auc, kappa, and for
    describers ahead (of the class prior, mean AUC over the same features) and loss (of mean AUC when descriptions are
    exchanged within a diagnosis). auc, ahead and loss are (estimate, low, high) with 95 % intervals over lesions. No
    row where the reference has no feature that varies on these images.
    """
    lesions, seed = comparison.cases["lesion_id"], comparison.seed
    rows = []
    for name, table in {**comparison.others, "class prior": comparison.prior}.items():
        agreement = faithfulness.macro(table, comparison.reference, lesions, seed=seed)
        features = len(faithfulness.by_feature(table, comparison.reference))
        row = {"describer": name, "features": features, "auc": tuple(agreement["auc"])}
        row["kappa"] = agreement["kappa"].estimate
        if name in comparison.others:
            loss = faithfulness.exchange_loss(table, comparison.reference, comparison.cases["dx"], lesions, seed=seed)
            row |= {"ahead": tuple(comparison.ahead_of_prior(name)[:3]), "loss": tuple(loss["auc"][:3])}
        rows.append(row)
    table = pd.DataFrame(rows, columns=["describer", "features", "auc", "kappa", "ahead", "loss"])
    return table if (table["features"] > 0).any() else table.iloc[:0]


def attributes_table(comparison: Comparison) -> pd.DataFrame:
    """Agreement by feature: n, present and the AUC of each describer and of the class prior, index feature.

    Features that the reference knows to be present and absent on these images; sorted by the first describer's AUC.
    """
    tables = {**comparison.others, "class prior": comparison.prior}
    each = {name: faithfulness.by_feature(table, comparison.reference) for name, table in tables.items()}
    base = faithfulness.by_feature(comparison.reference, comparison.reference).set_index("feature")[["n", "present"]]
    for name, table in each.items():
        base[f"AUC {name}"] = table.set_index("feature")["auc"]
    return base.sort_values(base.columns[2], ascending=False)


def _rows(name: str, table: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """A describer's rows of the cases, in their order."""
    table = table[table["image_id"].isin(cases["image_id"])]
    times = table["image_id"].value_counts().reindex(cases["image_id"], fill_value=0)
    if (times != 1).any():
        image = (times != 1).idxmax()
        raise ValueError(
            f"describer {name!r} describes {image} {times[image]} times ({(times != 1).sum()} of {len(cases)} images "
            "are not described once): compare on images that every describer has described"
        )
    return table.set_index("image_id").loc[cases["image_id"]].reset_index()
