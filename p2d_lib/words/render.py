"""A lesion -> a prompt, in one of six templates, never longer than what a text encoder takes."""

import json
import re
from collections.abc import Callable

from p2d_lib.vocabulary import DX_NAMES, FEATURES, Lesion

PRESENT, MARKED = 0.35, 0.7  # scores from which a feature is mentioned, and mentioned as "marked"
SKIN_WORDS = ("very fair", "fair", "light brown", "moderate brown", "dark brown", "very dark")  # Fitzpatrick I..VI
CLIP_TOKENS = 75  # tokens that CLIP's text encoder takes, without the start and end tokens
TRIGGER = "dermoscopic image"  # first words of the template "phrases"
MAJOR = ("atypical_pigment_network", "blue_whitish_veil", "atypical_vascular_pattern")  # two points each
MINOR = ("irregular_streaks", "irregular_dots_globules", "irregular_blotches", "regression_structures")  # one each
STRUCTURES = ("atypical_pigment_network", "irregular_streaks", "irregular_dots_globules", "irregular_blotches")


class PromptError(ValueError):
    """A prompt that a text encoder would truncate, or a lesion without the diagnosis that a prompt begins with."""


def render(
    lesion: Lesion,
    template: str = "phrases",
    max_features: int = 8,
    max_tokens: int = CLIP_TOKENS,
    count: Callable[[str], int] = lambda text: len(re.findall(r"\w+|[^\w\s]", text)),
) -> str:
    """The prompt of a lesion: the diagnosis first, then its features, at most `max_tokens` tokens long.

    template: a key of TEMPLATES. max_features: how many of the present features the prompt mentions; those with the
    highest scores are kept, and they stand in the vocabulary's order (structures, shape, colours, artefacts). If the
    prompt is still too long, the features with the lowest scores are dropped one by one, so that a text encoder
    truncates nothing. count: gives the number of tokens of a text; by default words and punctuation marks are counted.
    Raises PromptError for a lesion without dx, or when the diagnosis alone is too long.
    """
    if lesion.dx is None:
        raise PromptError(f"a prompt begins with the diagnosis, and this lesion has none: {lesion}")
    write = TEMPLATES[template]
    for n in range(max_features, -1, -1):
        text = write(lesion, mentioned(lesion, n))
        if count(text) <= max_tokens:
            return text
    raise PromptError(
        f"{text!r} has {count(text)} tokens without any feature: let max_tokens be more than {max_tokens}"
    )


def mentioned(lesion: Lesion, at_most: int = len(FEATURES)) -> list[str]:
    """Names of the features that are present (score from PRESENT on), in the vocabulary's order.

    at_most: of more features than this, those with the highest scores. Skin tone is never among them: it is a degree,
    not something present or absent.
    """
    scores = {name: getattr(lesion, name) for name in FEATURES if name != "background_skin_tone"}
    present = {name: score for name, score in scores.items() if score is not None and score >= PRESENT}
    strongest = sorted(present, key=present.get, reverse=True)[:at_most]
    return [name for name in FEATURES if name in strongest]


def _phrases(lesion: Lesion, features: list[str]) -> str:
    colours = [FEATURES[name].phrase for name in features if is_plain_colour(name)]
    parts = [f"dermoscopic image of {DX_NAMES[lesion.dx]}"]
    parts += [phrase(lesion, name) for name in features if not is_plain_colour(name)]
    if colours:
        parts.append(" and ".join(colours) + (" color" if len(colours) == 1 else " colors"))
    return ", ".join([*parts, *skin(lesion), *_site(lesion)])


def _concepts(lesion: Lesion, features: list[str]) -> str:
    return ", ".join([DX_NAMES[lesion.dx], *(FEATURES[name].phrase for name in features), *_site(lesion)])


def _sentence(lesion: Lesion, features: list[str]) -> str:
    person = [f"{lesion.age:.0f}-year-old"] if lesion.age is not None else []
    person += [lesion.sex] * (lesion.sex != "unknown")
    first = ", ".join([DX_NAMES[lesion.dx].capitalize(), *_site(lesion), *[" ".join(person)] * bool(person)])
    groups = {"Seen": [], "Colors": [], "In view": []}
    for name in features:
        groups[
            "In view" if FEATURES[name].kind == "artefact" else "Colors" if is_plain_colour(name) else "Seen"
        ].append(phrase(lesion, name))
    lists = [f"{group}: {enumerated(phrases)}" for group, phrases in groups.items() if phrases]
    return ". ".join([first, *lists, *(words.capitalize() for words in skin(lesion))]) + "."


def _json(lesion: Lesion, features: list[str]) -> str:
    about = {"diagnosis": DX_NAMES[lesion.dx], "site": " ".join(_site(lesion)), "skin": " ".join(skin(lesion))}
    scores = {FEATURES[name].phrase: round(getattr(lesion, name), 1) for name in features}
    return json.dumps({key: value for key, value in (about | scores).items() if value != ""})


def _seven_point(lesion: Lesion, features: list[str]) -> str:
    """Argenziano et al., Arch Dermatol 134 (1998): three or more points raise the suspicion of melanoma."""
    criteria = {**dict.fromkeys(MAJOR, 2), **dict.fromkeys(MINOR, 1)}
    points = sum(criteria[name] for name in mentioned(lesion) if name in criteria)
    known = all(getattr(lesion, name) is not None for name in criteria)
    total = [f"7-point checklist {points} of 10"] if known else ["7-point checklist"]
    met = [f"{FEATURES[name].phrase} {criteria[name]}" for name in features if name in criteria]
    return ", ".join([DX_NAMES[lesion.dx], *total, *met, *skin(lesion), *_site(lesion)])


def _abcd(lesion: Lesion, features: list[str]) -> str:
    """Stolz's rule (Nachbar et al., J Am Acad Dermatol 30, 1994): 1.3 A + 0.1 B + 0.5 C + 0.5 D, from 5.45 suspicious.

    Scores stand for counts: asymmetry for 0 to 2 axes, border for 0 to 8 segments. Blue-grey is the veil's colour.
    """
    present = mentioned(lesion)
    colours = [name for name in present if is_plain_colour(name) or name == "blue_whitish_veil"]
    n_structures = sum(name in STRUCTURES for name in present)
    counts = {"A": None, "B": None, "C": max(1, len(colours)), "D": max(1, n_structures)}
    if lesion.asymmetry is not None:
        counts["A"] = round(2 * lesion.asymmetry)
    if lesion.border_irregularity is not None:
        counts["B"] = round(8 * lesion.border_irregularity)
    parts = [f"{letter}{n}" for letter, n in counts.items() if n is not None]
    if len(parts) == len(counts):
        parts.append(f"total {1.3 * counts['A'] + 0.1 * counts['B'] + 0.5 * (counts['C'] + counts['D']):.1f}")
    named = [FEATURES[name].phrase for name in features if name in colours or name in STRUCTURES]
    return ", ".join([DX_NAMES[lesion.dx], "ABCD rule " + " ".join(parts), *named, *skin(lesion), *_site(lesion)])


TEMPLATES = {
    "phrases": _phrases,  # the base that ships was trained on these
    "concepts": _concepts,  # no word that is not in the vocabulary
    "sentence": _sentence,
    "json": _json,
    "seven_point": _seven_point,
    "abcd": _abcd,
}


def phrase(lesion: Lesion, name: str) -> str:
    """The words for a feature of a lesion: "marked ..." for a structure with a score from MARKED on."""
    marked = getattr(lesion, name) >= MARKED and FEATURES[name].kind == "structure"
    return ("marked " if marked else "") + FEATURES[name].phrase


def skin(lesion: Lesion) -> list[str]:
    """["fair skin"], by the score of the skin tone; [] where it is not known."""
    if lesion.background_skin_tone is None:
        return []
    return [f"{SKIN_WORDS[min(int(lesion.background_skin_tone * len(SKIN_WORDS)), len(SKIN_WORDS) - 1)]} skin"]


def _site(lesion: Lesion) -> list[str]:
    return [lesion.localization] * (lesion.localization != "unknown")


def enumerated(phrases: list[str]) -> str:
    """Phrases as a sentence lists them: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def is_plain_colour(name: str) -> bool:
    """Whether a feature is one of the named colours, which a prompt lists together at its end."""
    return FEATURES[name].kind == "colour" and name != "color_variation"
