"""What the form of Create offers: a typical lesion of each class, and the prompt that the sliders make."""

import json
import threading
from functools import cached_property, partial

from p2d_lib.run import Run
from p2d_lib.sample import single_words
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words.at_random import TONE, scores_of
from p2d_lib.words.choose import chosen
from p2d_lib.words.render import MARKED, PRESENT, SKIN_WORDS
from p2d_lib.words.wording import Wording, lesions

IMPORTS = threading.Lock()  # two threads that import parts of transformers at once break its lazy modules


class Form:
    """The words of one run: which features its prompts may name, and how."""

    def __init__(self, run: Run):
        cases = run.read("cases")
        described = cases.merge(chosen(run.read("descriptions")), on="image_id")
        self.train = described[described["split"] == "train"].reset_index(drop=True)
        self.wording = Wording(**json.loads(run.path("wording").read_text()))
        self._count = partial(count_tokens, max_tokens=self.wording.max_tokens)
        self.sliders = [name for name in FEATURES if name in self.wording.concepts and name != TONE]

    @cached_property
    def presets(self) -> dict[str, Lesion]:
        """By class, the train case whose scores lie nearest to the mean of its class; a class without one is plain."""
        return {dx: self._typical(dx) for dx in DX}

    def _typical(self, dx: str) -> Lesion:
        of_class = self.train[self.train["dx"] == dx]
        if of_class.empty:
            return Lesion(dx=dx, **dict.fromkeys(self.sliders, 0.0))
        scores = of_class[list(FEATURES)].fillna(0)
        row = of_class.loc[[((scores - scores.mean()) ** 2).sum(axis=1).idxmin()]]
        return lesions(row, row)[0].model_copy(update={"age": None, "sex": "unknown"})

    def lesion(self, dx: str, site: str, tone: str | None, scores: dict[str, float]) -> Lesion:
        """What the form states. tone: one of SKIN_WORDS, or None. scores: of the sliders, 0..1."""
        level = None if tone is None else (SKIN_WORDS.index(tone) + 0.5) / len(SKIN_WORDS)
        return Lesion(dx=dx, localization=site, **scores | {TONE: level})

    def prompt(self, lesion: Lesion) -> str:
        """The lesion in this run's words."""
        return single_words.prompt(lesion, self.wording, self._count)

    def strip(self, lesion: Lesion, name: str) -> list[tuple[str, str]]:
        """The lesion once for each level of a feature that words can tell apart: (level in words, prompt), rising."""
        steps = [{name: score} for score in scores_of(name)]
        room = single_words.shortened(lesion, steps, self.wording, self._count)
        prompts = [self.prompt(room.model_copy(update=step)) for step in steps]
        return [(level_in_words(name, step[name]), prompt) for step, prompt in zip(steps, prompts, strict=True)]


def tone_of(lesion: Lesion) -> str | None:
    """The skin tone of a lesion as one of SKIN_WORDS."""
    if lesion.background_skin_tone is None:
        return None
    return SKIN_WORDS[min(int(lesion.background_skin_tone * len(SKIN_WORDS)), len(SKIN_WORDS) - 1)]


def level_in_words(name: str, score: float) -> str:
    """The word that a prompt has for a score of a feature: "dark brown skin", "absent", "present" or "marked"."""
    if name == TONE:
        return f"{tone_of(Lesion(background_skin_tone=score))} skin"
    if score >= MARKED and FEATURES[name].kind == "structure":
        return "marked"
    return "present" if score >= PRESENT else "absent"


def count_tokens(text: str, max_tokens: int) -> int:
    """Tokens of a text, as 04 counts them where prompts have at most max_tokens. The first call loads the tokenizer."""
    with IMPORTS:
        from p2d_lib.models import token_counts

        return token_counts.counter(max_tokens)(text)
