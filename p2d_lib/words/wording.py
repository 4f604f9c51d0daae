"""How a run words its prompts: from tables of cases and features to prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES, Lesion
from p2d_lib.words.render import render
from p2d_lib.words.reword import paraphrase


def lesions(cases: pd.DataFrame, features: pd.DataFrame) -> list[Lesion]:
    """One Lesion per case. cases: dx, localization, age, sex; features: the 22 scores, rows in the same order.

    Raises pydantic's ValidationError for a value that the vocabulary does not have.
    """
    about = cases[["dx", "localization", "age", "sex"]].to_dict("records")
    scores = features[list(FEATURES)].to_dict("records")
    return [
        Lesion(**{name: value for name, value in (case | row).items() if value == value})  # NaN: unknown
        for case, row in zip(about, scores, strict=True)
    ]


@dataclass(frozen=True)
class Wording:
    """How 02 words its prompts; 04 words new prompts in the same way."""

    template: str  # a key of TEMPLATES
    max_features: int  # that one prompt mentions at most
    max_tokens: int  # of a prompt, at most: what the text encoder takes
    concepts: Sequence[str] = tuple(FEATURES)  # features that prompts may mention; the others are dropped
    paraphrased: bool = False  # by rules: synonyms, another order

    def prompts(self, lesions: Sequence[Lesion], count: Callable[[str], int], seed: int, ids: Sequence) -> list[str]:
        """One prompt per lesion. count: gives the number of tokens of a text; seed, ids: fix the paraphrase of each.

        A paraphrase that is longer than max_tokens is not used: the prompt stays as it was. Raises PromptError.
        """
        dropped = dict.fromkeys(set(FEATURES) - set(self.concepts))
        texts = [
            render(lesion.model_copy(update=dropped), self.template, self.max_features, self.max_tokens, count)
            for lesion in lesions
        ]
        if not self.paraphrased:
            return texts
        other = [paraphrase(text, derive(seed, "paraphrase", name)) for text, name in zip(texts, ids, strict=True)]
        return [new if count(new) <= self.max_tokens else old for new, old in zip(other, texts, strict=True)]
