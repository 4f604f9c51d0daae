"""Words -> a lesion: the inverse of the templates that use the vocabulary's own phrases."""

import re

from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES, Lesion
from p2d_lib.words.render import SKIN_WORDS

MENTIONED, MENTIONED_MARKED = 0.5, 0.85  # scores of a feature that a text mentions, and of one it calls "marked"

# Negation after NegEx (Chapman et al., J Biomed Inform 34(5), 2001): a cue denies what follows it, up to a word or a
# sign that ends its scope. A comma ends it too, unless an "or" or "nor" shows that the list goes on.
_CUE = r"(?:no|not|nor|neither|never|without|lack(?:s|ing)?|free of|absence of|negative for|none of)"
_END = r"(?:but|however|although|though|except|with|and (?:an?|the|with|marked|there)|which|while)"
_STRETCH = rf"(?:(?!\b{_END}\b)[^,.;:])*"
_BEFORE = re.compile(rf"\b{_CUE}\b{_STRETCH}(?:(?:,{_STRETCH})*?,?\s*\b(?:or|nor)\b{_STRETCH})?")
_VERB = r"(?:(?:is|are|was|were|has been|have been|can be|could be)\s+)?"
_AFTER = re.compile(
    rf"[^,.;:]*\b{_VERB}(?:absent|lacking|(?:not|cannot be|can't be|never) "
    r"(?:seen|present|visible|found|observed|evident|detected|noted|identified|appreciated))\b"
)


def parse(text: str) -> Lesion:
    """The lesion that a text describes in the vocabulary's own phrases: the inverse of the templates that use them.

    A feature that the text mentions scores 0.5, or 0.85 where it is "marked". One that it does not mention, or denies
    ("without hair, no ruler", "streaks are absent"), scores 0: a describer that names all it sees denies the rest. Skin
    tone and diagnosis are None where the text does not state them.
    """
    text = affirmed(text.lower())
    skin = re.search(rf"\b({'|'.join(sorted(SKIN_WORDS, key=len, reverse=True))}) skin\b", text)
    tone = (SKIN_WORDS.index(skin[1]) + 0.5) / len(SKIN_WORDS) if skin else None
    rest = text.replace(skin[0], "") if skin else text
    scores = {}
    for name in sorted(FEATURES, key=lambda name: -len(FEATURES[name].phrase)):  # "light brown" before "brown"
        mention = re.search(rf"\b(marked )?{FEATURES[name].phrase}\b", rest)
        scores[name] = 0.0 if mention is None else MENTIONED_MARKED if mention[1] else MENTIONED
        rest = rest.replace(mention[0], "") if mention else rest
    dx = next((dx for dx, name in DX_NAMES.items() if name in text), None)
    site = next((site for site in sorted(SITES, key=len, reverse=True) if re.search(rf"\b{site}\b", rest)), "unknown")
    return Lesion(dx=dx, localization=site, **scores | {"background_skin_tone": tone})


def affirmed(text: str) -> str:
    """A text, in lower case, without the stretches that it denies ("no ruler", "without hair or ink", "... absent")."""
    return _BEFORE.sub("", _AFTER.sub("", text))
