"""Prompts that change one word of a description, and say all that is asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from p2d_lib.vocabulary import FEATURES, Lesion
from p2d_lib.words.render import mentioned
from p2d_lib.words.wording import Wording

Scores = Mapping[str, float]  # of the vocabulary's features


def prompt(lesion: Lesion, wording: Wording, count: Callable[[str], int]) -> str:
    """The lesion in the run's words, never paraphrased: a paraphrase would change other words too."""
    return replace(wording, paraphrased=False).prompts([lesion], count, 0, [""])[0]


def shortened(lesion: Lesion, edits: Sequence[Scores], wording: Wording, count: Callable[[str], int]) -> Lesion:
    """The lesion with as many of its strongest features as leave room for each of the edits in a prompt.

    A prompt drops the weakest features where it is full, so a word that is added could take the place of another one.
    Features that an edit sets stay as the lesion has them.
    """
    edited = {name for edit in edits for name in edit}
    others = [name for name in mentioned(lesion) if name not in edited]
    others.sort(key=lambda name: getattr(lesion, name), reverse=True)
    while True:
        fits = all(_says_all(lesion.model_copy(update=dict(edit)), wording, count) for edit in edits)
        if fits or not others:
            return lesion
        lesion = lesion.model_copy(update={others.pop(): 0.0})


def _says_all(lesion: Lesion, wording: Wording, count: Callable[[str], int]) -> bool:
    """Whether the prompt names all features that the lesion shows and that the run's wording knows."""
    named = [name for name in mentioned(lesion) if name in wording.concepts]
    whole = replace(wording, max_features=len(FEATURES), max_tokens=10**6)
    return len(named) <= wording.max_features and count(prompt(lesion, whole, count)) <= wording.max_tokens
