"""Features -> words: the template a text-to-image prompt is written with."""

from collections.abc import Mapping

from p2d_lib.vocabulary import DX_NAMES, FEATURES

PRESENT, MARKED = 0.35, 0.7  # a score from here on is said; from here on it is said to be marked
SKIN_WORDS = ("very fair", "fair", "light brown", "moderate brown", "dark brown", "very dark")  # Fitzpatrick I..VI


def prompt(dx: str, features: Mapping[str, float], localization: str = "", max_features: int = 8) -> str:
    """One line a text-to-image model can be asked with.

    dx: a key of `vocabulary.DX_NAMES`. features: scores in 0..1 by feature name; NaN or missing means "not known"
    and stays unsaid. localization: a body site, unsaid when empty or "unknown". max_features: how many of the
    present features are said, highest score first (CLIP reads 77 tokens). Raises KeyError for an unknown dx.
    """
    strongest = said(features, max_features)
    colours = [FEATURES[name].phrase for name in strongest if is_plain_colour(name)]
    others = [
        ("marked " if features[name] >= MARKED and FEATURES[name].kind == "structure" else "") + FEATURES[name].phrase
        for name in strongest
        if not is_plain_colour(name)
    ]
    parts = [f"dermoscopic image of {DX_NAMES[dx]}", *others]
    if colours:
        parts.append(" and ".join(colours) + (" color" if len(colours) == 1 else " colors"))
    tone = features.get("background_skin_tone", float("nan"))
    if tone == tone:  # not NaN
        parts.append(f"{SKIN_WORDS[min(int(tone * len(SKIN_WORDS)), len(SKIN_WORDS) - 1)]} skin")
    if localization and localization != "unknown":
        parts.append(localization)
    return ", ".join(parts)


def said(features: Mapping[str, float], at_most: int = len(FEATURES)) -> list[str]:
    """The features that are present, the highest scores if there are too many, in the vocabulary's order.

    Skin tone is never among them: it is a degree, not a presence.
    """
    present = {
        name: score
        for name in FEATURES
        if name != "background_skin_tone" and (score := features.get(name, float("nan"))) >= PRESENT
    }
    strongest = sorted(present, key=present.get, reverse=True)[:at_most]
    return [name for name in FEATURES if name in strongest]


def is_plain_colour(name: str) -> bool:
    """Whether a feature is one of the named colours, which a prompt lists together."""
    return FEATURES[name].kind == "colour" and name != "color_variation"
