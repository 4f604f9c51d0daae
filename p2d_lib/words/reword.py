"""The same said otherwise: synonyms and other orders, and back."""

import re

import numpy as np

SYNONYMS = {
    "dermoscopic image of": ("dermoscopy of", "dermatoscopic image showing", "close-up dermoscopic view of"),
    "actinic keratosis": ("solar keratosis",),
    "basal cell carcinoma": ("basalioma",),
    "benign keratosis": ("benign keratosis-like lesion",),
    "dermatofibroma": ("fibrous histiocytoma",),
    "melanoma": ("malignant melanoma",),
    "melanocytic nevus": ("mole", "nevus"),
    "vascular lesion": ("lesion of blood vessels",),
    "atypical pigment network": ("irregular pigment network", "uneven pigmented network"),
    "blue-whitish veil": ("blue-white veil", "bluish white haze"),
    "atypical vessels": ("irregular vascular pattern", "atypical vascular structures"),
    "irregular dots and globules": ("uneven dots and globules", "dots and globules of varied size"),
    "irregular streaks": ("uneven streaks", "irregular radial lines"),
    "irregular blotches": ("uneven blotches", "off-centre dark blotches"),
    "regression structures": ("signs of regression", "scar-like regression"),
    "asymmetric shape": ("asymmetry", "no symmetry in shape"),
    "irregular border": ("ragged border", "notched outline"),
    "varied colors": ("many colors", "variegated coloring"),
    "multicomponent pattern": ("several patterns side by side",),
    "evolving": ("changing over time",),
    "high contrast to the skin": ("standing out from the skin",),
    "hair": ("hairs across the field",),
    "ruler": ("ruler in view",),
    "ink markings": ("pen marks",),
    "marked": ("pronounced", "prominent"),
}


def paraphrase(text: str, seed: int) -> str:
    """The same said otherwise: half of the phrases by a synonym, what follows the diagnosis in another order.

    text: a prompt of parts with commas between them, of any template but json. The rule-based stand-in for captions
    rewritten by an LLM.
    """
    rng = np.random.default_rng(seed)
    first, *parts = text.rstrip(".").split(", ")
    parts = [parts[k] for k in rng.permutation(len(parts))]
    exchange = {phrase: rng.choice(others) for phrase, others in SYNONYMS.items() if rng.random() < 0.5}
    if not exchange:
        return ", ".join([first, *parts])
    longest_first = sorted(exchange, key=len, reverse=True)
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)
    return pattern.sub(lambda found: str(exchange[found[1].lower()]), ", ".join([first, *parts]))


def plain(text: str) -> str:
    """What `paraphrase` made of phrases, in the vocabulary's own words again, in the order it has."""
    back = {other: phrase for phrase, others in SYNONYMS.items() for other in (*others, phrase)}
    pattern = "|".join(map(re.escape, sorted(back, key=len, reverse=True)))
    return re.sub(rf"\b({pattern})\b", lambda found: back[found[1]], text.lower())
