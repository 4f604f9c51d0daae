"""A lesion -> words, and words -> a lesion: templates, what fits a text encoder, prompts for images yet to be drawn."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from p2d_lib.run import derive
from p2d_lib.vocabulary import DX_NAMES, FEATURES, SITES, Lesion

PRESENT, MARKED = 0.35, 0.7  # a score from here on is said; from here on it is said to be marked
SKIN_WORDS = ("very fair", "fair", "light brown", "moderate brown", "dark brown", "very dark")  # Fitzpatrick I..VI
CLIP_TOKENS = 75  # that CLIP's text encoder reads, beside the two that mark start and end
TRIGGER = "dermoscopic image"  # how most templates begin
MAJOR = ("atypical_pigment_network", "blue_whitish_veil", "atypical_vascular_pattern")  # two points each
MINOR = ("irregular_streaks", "irregular_dots_globules", "irregular_blotches", "regression_structures")  # one each
STRUCTURES = ("atypical_pigment_network", "irregular_streaks", "irregular_dots_globules", "irregular_blotches")
JITTER = 0.35  # share of a class's standard deviation that a jittered prompt moves by
SAID, SAID_MARKED = 0.5, 0.85  # what `read` scores a feature that is said


class PromptError(ValueError):
    """A prompt that a text encoder would cut, or features that cannot be worded."""


def render(
    lesion: Lesion,
    template: str = "phrases",
    max_features: int = 8,
    max_tokens: int = CLIP_TOKENS,
    count: Callable[[str], int] = lambda text: len(re.findall(r"\w+|[^\w\s]", text)),
) -> str:
    """The lesion in the words of a template, the diagnosis first, at most `max_tokens` long by `count`.

    template: a key of TEMPLATES. max_features: how many of the present features are said, highest scores first; those
    said stand in the vocabulary's order, structures before shape before colours before what is in view. Where it is
    still too long the weakest features go, one by one, so a text encoder has nothing to cut. count: tokens of a text,
    default words and signs. Raises PromptError for a lesion without dx, or when the diagnosis alone is too long.
    """
    if lesion.dx is None:
        raise PromptError(f"a prompt begins with the diagnosis, and this lesion has none: {lesion}")
    write = TEMPLATES[template]
    for n in range(max_features, -1, -1):
        text = write(lesion, said(lesion, n))
        if count(text) <= max_tokens:
            return text
    raise PromptError(
        f"{text!r} has {count(text)} tokens without any feature: let max_tokens be more than {max_tokens}"
    )


def said(lesion: Lesion, at_most: int = len(FEATURES)) -> list[str]:
    """The features that are present, the highest scores if there are too many, in the vocabulary's order.

    Skin tone is never among them: it is a degree, not a presence.
    """
    scores = {name: getattr(lesion, name) for name in FEATURES if name != "background_skin_tone"}
    present = {name: score for name, score in scores.items() if score is not None and score >= PRESENT}
    strongest = sorted(present, key=present.get, reverse=True)[:at_most]
    return [name for name in FEATURES if name in strongest]


def _phrases(lesion: Lesion, features: list[str]) -> str:
    colours = [FEATURES[name].phrase for name in features if is_plain_colour(name)]
    parts = [f"dermoscopic image of {DX_NAMES[lesion.dx]}"]
    parts += [_marked(lesion, name) for name in features if not is_plain_colour(name)]
    if colours:
        parts.append(" and ".join(colours) + (" color" if len(colours) == 1 else " colors"))
    return ", ".join([*parts, *_skin(lesion), *_site(lesion)])


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
        ].append(_marked(lesion, name))
    lists = [f"{group}: {_list(phrases)}" for group, phrases in groups.items() if phrases]
    return ". ".join([first, *lists, *(skin.capitalize() for skin in _skin(lesion))]) + "."


def _json(lesion: Lesion, features: list[str]) -> str:
    about = {"diagnosis": DX_NAMES[lesion.dx], "site": " ".join(_site(lesion)), "skin": " ".join(_skin(lesion))}
    scores = {FEATURES[name].phrase: round(getattr(lesion, name), 1) for name in features}
    return json.dumps({key: value for key, value in (about | scores).items() if value != ""})


def _seven_point(lesion: Lesion, features: list[str]) -> str:
    """Argenziano et al., Arch Dermatol 134 (1998): three or more points raise the suspicion of melanoma."""
    criteria = {**dict.fromkeys(MAJOR, 2), **dict.fromkeys(MINOR, 1)}
    points = sum(criteria[name] for name in said(lesion) if name in criteria)
    known = all(getattr(lesion, name) is not None for name in criteria)
    total = [f"7-point checklist {points} of 10"] if known else ["7-point checklist"]
    met = [f"{FEATURES[name].phrase} {criteria[name]}" for name in features if name in criteria]
    return ", ".join([DX_NAMES[lesion.dx], *total, *met, *_skin(lesion), *_site(lesion)])


def _abcd(lesion: Lesion, features: list[str]) -> str:
    """Stolz's rule (Nachbar et al., J Am Acad Dermatol 30, 1994): 1.3 A + 0.1 B + 0.5 C + 0.5 D, from 5.45 suspicious.

    Scores stand for counts: asymmetry for 0 to 2 axes, border for 0 to 8 segments. Blue-grey is the veil's colour.
    """
    seen = said(lesion)
    colours = [name for name in seen if is_plain_colour(name) or name == "blue_whitish_veil"]
    n_structures = sum(name in STRUCTURES for name in seen)
    counts = {"A": None, "B": None, "C": max(1, len(colours)), "D": max(1, n_structures)}
    if lesion.asymmetry is not None:
        counts["A"] = round(2 * lesion.asymmetry)
    if lesion.border_irregularity is not None:
        counts["B"] = round(8 * lesion.border_irregularity)
    parts = [f"{letter}{n}" for letter, n in counts.items() if n is not None]
    if len(parts) == len(counts):
        parts.append(f"total {1.3 * counts['A'] + 0.1 * counts['B'] + 0.5 * (counts['C'] + counts['D']):.1f}")
    named = [FEATURES[name].phrase for name in features if name in colours or name in STRUCTURES]
    return ", ".join([DX_NAMES[lesion.dx], "ABCD rule " + " ".join(parts), *named, *_skin(lesion), *_site(lesion)])


TEMPLATES = {
    "phrases": _phrases,  # what the base that ships was trained on
    "concepts": _concepts,  # concept-only captions: no word that is not in the vocabulary
    "sentence": _sentence,
    "json": _json,
    "seven_point": _seven_point,
    "abcd": _abcd,
}


def _marked(lesion: Lesion, name: str) -> str:
    marked = getattr(lesion, name) >= MARKED and FEATURES[name].kind == "structure"
    return ("marked " if marked else "") + FEATURES[name].phrase


def _skin(lesion: Lesion) -> list[str]:
    if lesion.background_skin_tone is None:
        return []
    return [f"{SKIN_WORDS[min(int(lesion.background_skin_tone * len(SKIN_WORDS)), len(SKIN_WORDS) - 1)]} skin"]


def _site(lesion: Lesion) -> list[str]:
    return [lesion.localization] * (lesion.localization != "unknown")


def _list(phrases: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def is_plain_colour(name: str) -> bool:
    """Whether a feature is one of the named colours, which a prompt lists together."""
    return FEATURES[name].kind == "colour" and name != "color_variation"


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


def chosen(descriptions: pd.DataFrame) -> pd.DataFrame:
    """One valid description per image: a person's before a machine's, then the first in the table's order."""
    valid = descriptions[descriptions["valid"]]
    return valid.sort_values("reviewer", key=lambda who: who == "", kind="stable").drop_duplicates("image_id")


def resample(table: pd.DataFrame, n: int, mode: str, seed: int) -> pd.DataFrame:
    """Rows to prompt n new images of one class with, from the class's train rows; row i is the same whatever n.

    table: the features' columns and any others, which go along. mode:
    - "empirical": the rows as they are, each once before any twice;
    - "jitter": such a row moved within 0..1 by a share of the difference of two other rows and drawn towards the mean,
      so that means and covariances stay what they were (the smoothed bootstrap of Silverman and Young, Biometrika 74,
      1987). What is unknown stays unknown;
    - "balanced": rows that show a rare combination more often, in proportion to the rarity of the rarest pair of
      features that they show together.
    Raises ValueError for a table without rows.
    """
    if table.empty:
        raise ValueError("no rows to resample prompts from")
    names, size = list(FEATURES), len(table)
    if mode == "balanced":
        edges = np.cumsum(_rarity(table)) / _rarity(table).sum()
        golden = (np.random.default_rng(seed).random() + np.arange(n) * (math.sqrt(5) - 1) / 2) % 1  # evenly, for any n
        return table.iloc[np.searchsorted(edges, golden, side="right").clip(max=size - 1)].reset_index(drop=True)
    rounds = [np.random.default_rng(derive(seed, "round", k)).permutation(size) for k in range(-(-n // size))]
    picked = table.iloc[np.concatenate([np.empty(0, int), *rounds])[:n].astype(int)].reset_index(drop=True)
    if mode == "jitter":
        scores = table[names].to_numpy(float)
        others = [np.random.default_rng(derive(seed, "jitter", i)).integers(size, size=2) for i in range(n)]
        a, b = np.reshape(others, (n, 2)).T.astype(int)
        mean = table[names].mean().to_numpy()
        moved = mean + math.sqrt(1 - JITTER**2) * (picked[names].to_numpy(float) - mean)
        moved = moved + JITTER * np.nan_to_num(scores[a] - scores[b]) / math.sqrt(2)
        picked[names] = 1 - np.abs(1 - np.abs(moved))  # reflected at both ends
    return picked


def _rarity(table: pd.DataFrame) -> np.ndarray:
    """1 / share of the rows that show the rarest pair of features this row shows; (n,)."""
    shows = (table[list(FEATURES)].to_numpy(float) >= PRESENT).astype(float)
    together = shows.T @ shows / len(table)
    pairs = np.where(shows[:, :, None] * shows[:, None, :] > 0, together, 1.0)
    return 1 / pairs.min(axis=(1, 2))
