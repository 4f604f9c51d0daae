"""How many tokens a prompt has for the text encoder that will read it."""

import sys
from collections.abc import Callable
from functools import cache

from p2d_lib.models import clip
from p2d_lib.models.tiny_tokenizer import MAX_TOKENS, tiny_tokenizer


@cache
def counter(max_tokens: int) -> Callable[[str], int]:
    """A function that counts the tokens of a text, without those that mark start and end.

    max_tokens: what a prompt may have at most. CLIP's tokens are counted. Where the limit is low enough for the tiny
    base's text encoder, that one may read the prompts: then the larger of both counts is taken, since its tokenizer
    spells a word that it does not know in letters.
    """
    if max_tokens > MAX_TOKENS - 2:
        return clip.count_tokens
    tiny = tiny_tokenizer()
    tiny.model_max_length = sys.maxsize  # else it warns of each text that is too long
    return lambda text: max(clip.count_tokens(text), len(tiny.tokenize(text)))
