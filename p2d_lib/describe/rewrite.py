"""Prompts said in other words by an LLM, for a text-to-image model that is to hear more than one wording."""

from collections.abc import Sequence

from tqdm import tqdm

from p2d_lib.describe.llm.client import Client
from p2d_lib.words.wording import Wording

QUESTION = (
    "Rewrite this caption of a dermoscopic image in other words, as a dermatologist might. Keep every finding, add "
    "none, name the diagnosis first, use at most {words} words. Reply with the caption alone.\n\n{caption}"
)
WORDS_PER_TOKEN = 0.6  # of clinical English under CLIP's tokenizer


def rewrite(prompts: Sequence[str], client: Client, wording: Wording, count) -> list[str]:
    """Each prompt in the model's words, equal ones asked about once; one that comes back longer than `wording` allows,
    or empty, stays as it was. count: tokens of a text. Raises ApiError."""
    words = int(wording.max_tokens * WORDS_PER_TOKEN)
    different = list(dict.fromkeys(prompts))
    asked = (QUESTION.format(words=words, caption=prompt) for prompt in different)
    answers = tqdm(client.each(client.ask, asked), "rewrite", len(different), unit="prompt", mininterval=1)
    said = {}
    for prompt, answer in zip(different, answers, strict=True):
        text = " ".join(answer.text.split()).strip("\"'` ")
        said[prompt] = text if text and not answer.refused and count(text) <= wording.max_tokens else prompt
    return [said[prompt] for prompt in prompts]
