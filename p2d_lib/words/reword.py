"""Paraphrases by rules: synonyms and another order of the phrases."""

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
    """A prompt in other words: half of its phrases become synonyms, and what follows the diagnosis is shuffled.

    text: a prompt whose parts are separated by commas (any template but json). seed: which synonyms and which order.
    It is the rule-based alternative to captions that an LLM rewrites.
    """
    rng = np.random.default_rng(seed)
    first, *parts = text.rstrip(".").split(", ")
    parts = [parts[k] for k in rng.permutation(len(parts))]
    exchange = {phrase: rng.choice(others) for phrase, others in SYNONYMS.items() if rng.random() < 0.5}
    if not exchange:
        return ", ".join([first, *parts])
    longest_first = sorted(exchange, key=len, reverse=True)
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)
    return pattern.sub(lambda match: str(exchange[match[1].lower()]), ", ".join([first, *parts]))
