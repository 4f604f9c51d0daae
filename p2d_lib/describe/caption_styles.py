"""Captions that a captioner learns: what is visible of a lesion, in one of three styles.

"phrases" and "sentence" are templates of `words.render`. "clinical" is what the published instruction of the DermLIP +
GPT-2 captioners asks for: one sentence about the lesion, then the most likely diagnosis. `words.parse.parse` takes all
three.
"""

from collections.abc import Sequence

from p2d_lib.vocabulary import DX_NAMES, FEATURES, Lesion
from p2d_lib.words.render import PromptError, enumerated, mentioned, phrase, render, skin

NOT_VISIBLE = {"localization": "unknown", "age": None, "sex": "unknown"}  # what an image cannot show
CLINICAL = "clinical"


def captions(lesions: Sequence[Lesion], style: str = "sentence") -> list[str]:
    """One caption a lesion: all that is visible of it, every present feature.

    style: CLINICAL, or a template of `words.render`. Raises PromptError for a lesion without a diagnosis.
    """
    visible = [lesion.model_copy(update=NOT_VISIBLE) for lesion in lesions]
    if style == CLINICAL:
        return [clinical(lesion) for lesion in visible]
    return [render(lesion, style, len(FEATURES), 1000) for lesion in visible]


def clinical(lesion: Lesion) -> str:
    """A sentence about a lesion, then its diagnosis: "A skin lesion with hair, on fair skin. Most likely melanoma."

    Raises PromptError for a lesion without a diagnosis.
    """
    if lesion.dx is None:
        raise PromptError(f"a clinical caption ends in the diagnosis, and this lesion has none: {lesion}")
    names = mentioned(lesion)
    shown = f" with {enumerated([phrase(lesion, name) for name in names])}" if names else ""
    tone = "".join(f", on {words}" for words in skin(lesion))
    return f"A skin lesion{shown}{tone}. Most likely {DX_NAMES[lesion.dx]}."
