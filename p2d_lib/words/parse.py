"""Words -> a lesion: the inverse of the templates that use the vocabulary's own phrases."""

import re

from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES, Lesion
from p2d_lib.words.render import SKIN_WORDS

SAID, SAID_MARKED = 0.5, 0.85  # what `read` scores a feature that is said


def read(text: str) -> Lesion:
    """What a text says, in the vocabulary's own phrases: the inverse of the wordings that use them.

    A feature that is said scores 0.5, or 0.85 where it is "marked"; one that is not said scores 0, for a describer
    that says all it sees denies the rest. Skin tone and diagnosis are None where they are not said.
    """
    text = text.lower()
    skin = re.search(rf"\b({'|'.join(sorted(SKIN_WORDS, key=len, reverse=True))}) skin\b", text)
    tone = (SKIN_WORDS.index(skin[1]) + 0.5) / len(SKIN_WORDS) if skin else None
    rest = text.replace(skin[0], "") if skin else text
    scores = {}
    for name in sorted(FEATURES, key=lambda name: -len(FEATURES[name].phrase)):  # "light brown" before "brown"
        found = re.search(rf"\b(marked )?{FEATURES[name].phrase}\b", rest)
        scores[name] = 0.0 if found is None else SAID_MARKED if found[1] else SAID
        rest = rest.replace(found[0], "") if found else rest
    dx = next((dx for dx, name in DX_NAMES.items() if name in text), None)
    site = next((site for site in sorted(SITES, key=len, reverse=True) if re.search(rf"\b{site}\b", rest)), "unknown")
    return Lesion(dx=dx, localization=site, **scores | {"background_skin_tone": tone})
