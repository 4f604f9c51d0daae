"""Concept filtering: the k most frequent concepts of the vocabulary are said in prompts, the others are not.

Of a word that is hardly ever said, a text-to-image model learns nothing. Radiology counts the UMLS concepts (CUIs) that
its captions come with, as those of ROCOv2 do (Rückert et al., arXiv:2405.10004); here the concepts are the vocabulary's
features, and `vocabulary.codes` names them in UMLS and SNOMED CT where that can be done.
"""

import pandas as pd

from p2d_lib.vocabulary import FEATURES, codes
from p2d_lib.words.render import PRESENT


def frequency(descriptions: pd.DataFrame) -> pd.DataFrame:
    """How often each concept is present, the most frequent first; equal shares keep the vocabulary's order.

    descriptions: a row per image, as `schemas.DESCRIPTIONS`; give those of train images, so that no other image shapes
    what is said. An unknown feature (NaN) is not said; skin tone, a degree, wherever it is known. Columns: concept,
    umls_cui, snomed_ct ("" where there is none), share (of the rows, 0..1). Raises ValueError without rows to count.
    """
    if descriptions.empty:
        raise ValueError("descriptions: no rows to count concepts on; give those of the train images")
    said = descriptions[list(FEATURES)] >= PRESENT
    said["background_skin_tone"] = descriptions["background_skin_tone"].notna()
    named = [codes()["feature", name] for name in FEATURES]
    table = pd.DataFrame(
        {
            "concept": list(FEATURES),
            "umls_cui": [code.umls_cui for code in named],
            "snomed_ct": [code.snomed_ct for code in named],
            "share": said.mean().to_numpy(),
        }
    )
    return table.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def top(frequencies: pd.DataFrame, k: int) -> tuple[str, ...]:
    """The k most frequent concepts of a `frequency` table. Raises ValueError unless k is 1..22."""
    if not 1 <= k <= len(FEATURES):
        raise ValueError(f"top_concepts: {k}: the vocabulary has {len(FEATURES)} concepts; keep 1 to {len(FEATURES)}")
    return tuple(frequencies["concept"].iloc[:k])
