"""How a run words its prompts: from tables of cases and features to prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES, Lesion
from p2d_lib.words.render import render
from p2d_lib.words.reword import paraphrase


def lesions(cases: pd.DataFrame, features: pd.DataFrame) -> list[Lesion]:
    """Each case with its features, typed: `cases` with dx, localization, age, sex; `features` in the same order.

    Raises pydantic's ValidationError for what the vocabulary does not hold.
    """
    about = cases[["dx", "localization", "age", "sex"]].to_dict("records")
    scores = features[list(FEATURES)].to_dict("records")
    return [
        Lesion(**{name: value for name, value in (case | row).items() if value == value})  # NaN: not known
        for case, row in zip(about, scores, strict=True)
    ]


@dataclass(frozen=True)
class Wording:
    """How 02 words its prompts, so that 04 words new ones alike."""

    template: str  # a key of TEMPLATES
    max_features: int  # said in one prompt
    max_tokens: int  # of the text encoder that will read it
    concepts: Sequence[str] = tuple(FEATURES)  # that may be said; the others are dropped
    paraphrased: bool = False  # by rules, with synonyms and in other orders

    def prompts(self, lesions: Sequence[Lesion], count: Callable[[str], int], seed: int, ids: Sequence) -> list[str]:
        """One prompt per lesion. count: tokens of a text; ids: what addresses the paraphrase of each."""
        silent = dict.fromkeys(set(FEATURES) - set(self.concepts))
        texts = [
            render(lesion.model_copy(update=silent), self.template, self.max_features, self.max_tokens, count)
            for lesion in lesions
        ]
        if not self.paraphrased:
            return texts
        other = [paraphrase(text, derive(seed, "paraphrase", who)) for text, who in zip(texts, ids, strict=True)]
        return [new if count(new) <= self.max_tokens else old for new, old in zip(other, texts, strict=True)]
