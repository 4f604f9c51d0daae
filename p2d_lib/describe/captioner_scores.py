"""What a captioner has learnt: the scores of its stages, as the published cards print them, and its diagnoses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.describe import caption_metrics
from p2d_lib.describe.captioner_training import StageCaptions
from p2d_lib.describe.image_text import OTHER, OWN, similarity
from p2d_lib.instruments import intervals
from p2d_lib.instruments.scores import ABSTENTION, resampled_scores
from p2d_lib.models import clip
from p2d_lib.seeds import derive
from p2d_lib.words import diagnosis

SCORES = ("accuracy", "balanced_accuracy")
MAJORITY = "the most frequent diagnosis of train"


def stages_table(
    written: Sequence[StageCaptions],
    log: pd.DataFrame,
    images: np.ndarray,
    encoders: Mapping[str, clip.Clip],
    bert_model: str | Path | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """A row per stage: val loss and perplexity of the weights kept, and its captions against those of its style.

    written: of `captioner_training.fit`, which also gives the log. images: of val, uint8 (n, h, w, 3). encoders: by
    OWN and OTHER. BLEU-4 and the CLIP similarities are in 0..100, as the cards of the published captioners print them;
    CIDEr-D in 0..10; ROUGE-L and, with bert_model, BERTScore F1 in 0..1.
    """
    rows = []
    for of_stage in written:
        val_loss = log.loc[log["stage"] == of_stage.stage, "val_loss"].min()
        close = caption_metrics.against(of_stage.texts, [[reference] for reference in of_stage.references])
        row = {"stage": of_stage.stage, "style": of_stage.style, "val loss": val_loss, "PPL": np.exp(val_loss)}
        row |= {"BLEU-4": 100 * close["BLEU-4"], "ROUGE-L": close["ROUGE-L"], "CIDEr-D": close["CIDEr-D"]}
        row |= {name: 100 * similarity(encoders[name], images, of_stage.texts) for name in (OWN, OTHER)}
        rows.append(row | caption_metrics.bertscore_column(of_stage.texts, of_stage.references, bert_model, device))
    return pd.DataFrame(rows)


def diagnoses(
    cases: pd.DataFrame, texts: Mapping[str, Sequence[str]], train_dx: pd.Series, seed: int, n_resamples: int = 1000
) -> pd.DataFrame:
    """How often the diagnosis that a describer's text names is right: a row each, last the majority class of train.

    cases: dx and lesion_id of n images. texts: by describer, n each; one that names no diagnosis in any of them, as the
    models that are asked not to, has no row. A text that names none or several is an abstention, which counts as an
    error. Columns: describer, n, abstentions, and the SCORES as (estimate, low, high), 95 % intervals over lesions.
    """
    weights = intervals.resample(cases["lesion_id"], n_resamples, seed=derive(seed, "diagnoses"))
    named = {name: diagnosis.parse_all(cases["image_id"], part)["lenient"].tolist() for name, part in texts.items()}
    named = {name: part for name, part in named.items() if any(part)}
    named[MAJORITY] = [train_dx.mode().iloc[0]] * len(cases)
    rows = []
    for name, dx_read in named.items():
        of_describer = resampled_scores(cases["dx"], dx_read, None, weights)
        row = {"describer": name, "n": len(cases), "abstentions": dx_read.count(ABSTENTION)}
        rows.append(row | {score: intervals.summarise(of_describer[score], bounds=(0, 1)) for score in SCORES})
    return pd.DataFrame(rows)
