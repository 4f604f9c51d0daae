"""Claims about the tokens of prompts: what is counted as short enough, the text encoder takes."""

import numpy as np
import pytest

from p2d_lib.models import clip, encoding, pipelines, token_counts
from p2d_lib.models.tiny_tokenizer import MAX_TOKENS
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words.render import CLIP_TOKENS, PromptError
from p2d_lib.words.wording import Wording

TINY = MAX_TOKENS - 2


@pytest.fixture(scope="module")
def pipe():
    return pipelines.load("random", seed=0)


def lesions(n: int) -> list[Lesion]:
    """Lesions that show many features."""
    rng = np.random.default_rng(0)
    shown = (dict(zip(FEATURES, row, strict=True)) for row in rng.random((n, len(FEATURES))))
    return [Lesion(dx=DX[k % 7], **scores) for k, scores in enumerate(shown)]


def test_a_paraphrase_is_one_that_the_tiny_text_encoder_takes_or_is_not_used(pipe):
    described, ids = lesions(80), range(80)
    wording = Wording("phrases", 8, TINY, paraphrased=True)
    by_clip = wording.prompts(described, clip.count_tokens, 0, ids)
    with pytest.raises(PromptError, match="the text encoder takes 62 tokens"):  # the claim is not empty
        encoding.tokens(pipe, by_clip)
    prompts = wording.prompts(described, token_counts.counter(TINY), 0, ids)
    assert encoding.tokens(pipe, prompts).shape == (80, MAX_TOKENS)
    plain = Wording("phrases", 8, TINY).prompts(described, token_counts.counter(TINY), 0, ids)
    assert sum(one != other for one, other in zip(prompts, plain, strict=True)) > 20, "many are still paraphrased"


def test_the_count_for_the_tiny_base_is_at_least_what_its_pipeline_counts_and_at_least_clips(pipe):
    for text in ("dermoscopic image of melanoma, marked red color", "a peculiar zigzag", "ÄÖ, naevus"):
        own, of_clip = encoding.count_tokens(pipe, text), clip.count_tokens(text)
        assert own == len(pipe.tokenizer(text)["input_ids"]) - 2
        assert token_counts.counter(TINY)(text) == max(own, of_clip)
        assert token_counts.counter(CLIP_TOKENS)(text) == of_clip
    assert encoding.count_tokens(pipe, "a peculiar zigzag") > clip.count_tokens("a peculiar zigzag")
