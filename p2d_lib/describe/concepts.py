"""Concept filtering: prompts mention the k most frequent concepts of the vocabulary and no others.

A text-to-image model learns nothing of a word that hardly ever occurs. In radiology the UMLS concepts (CUIs) that come
with captions are counted, as in ROCOv2 (Rückert et al., arXiv:2405.10004); here the concepts are the vocabulary's
features, and `vocabulary.codes` has their codes in UMLS and SNOMED CT where there are any.
"""

import pandas as pd

from p2d_lib.vocabulary import FEATURES, codes
from p2d_lib.words.render import PRESENT


def frequency(descriptions: pd.DataFrame) -> pd.DataFrame:
    """How often each concept is present, the most frequent first; equal shares keep the vocabulary's order.

    descriptions: a row per image, as `schemas.DESCRIPTIONS`; give those of train images, so that no other image decides
    what prompts mention. An unknown feature (NaN) is not present; skin tone, a degree, counts wherever it is known.
    Columns: concept, umls_cui, snomed_ct ("" where there is none), share (of the rows, 0..1). Raises ValueError without
    rows to count.
    """
    if descriptions.empty:
        raise ValueError("descriptions: no rows to count concepts on; give those of the train images")
    present = descriptions[list(FEATURES)] >= PRESENT
    present["background_skin_tone"] = descriptions["background_skin_tone"].notna()
    coded = [codes()["feature", name] for name in FEATURES]
    table = pd.DataFrame(
        {
            "concept": list(FEATURES),
            "umls_cui": [code.umls_cui for code in coded],
            "snomed_ct": [code.snomed_ct for code in coded],
            "share": present.mean().to_numpy(),
        }
    )
    return table.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def top(frequencies: pd.DataFrame, k: int) -> tuple[str, ...]:
    """The k most frequent concepts of a `frequency` table. Raises ValueError unless k is 1..22."""
    if not 1 <= k <= len(FEATURES):
        raise ValueError(f"top_concepts: {k}: the vocabulary has {len(FEATURES)} concepts; keep 1 to {len(FEATURES)}")
    return tuple(frequencies["concept"].iloc[:k])
