"""Prompts paraphrased by an LLM, so that a text-to-image model is trained on more than one wording."""

from collections.abc import Callable, Sequence

from tqdm import tqdm

from p2d_lib.describe.llm.refusal import is_refusal
from p2d_lib.describe.llm.replies import one_line
from p2d_lib.llm.client import Client
from p2d_lib.words import thinking
from p2d_lib.words.wording import Wording

QUESTION = (
    "Rewrite this caption of a dermoscopic image in other words, as a dermatologist might. Keep every finding, add "
    "none, name the diagnosis first, use at most {words} words. Reply with the caption alone.\n\n{caption}"
)
WORDS_PER_TOKEN = 0.6  # of clinical English under CLIP's tokenizer


def rewrite(prompts: Sequence[str], client: Client, wording: Wording, count: Callable[[str], int]) -> list[str]:
    """Each prompt in the model's words; equal prompts are sent once.

    A prompt whose paraphrase is empty, cut off, refused or longer than `wording` allows stays as it was. count: gives
    the number of tokens of a text. Raises ApiError.
    """
    words = int(wording.max_tokens * WORDS_PER_TOKEN)
    different = list(dict.fromkeys(prompts))
    questions = (QUESTION.format(words=words, caption=prompt) for prompt in different)
    answers = tqdm(client.each(client.ask, questions), "rewrite", len(different), unit="prompt", mininterval=1)
    paraphrases = {}
    for prompt, answer in zip(different, answers, strict=True):
        text = _caption(answer.text)
        is_usable = text and not (answer.refused or answer.cut_at or is_refusal(text))
        paraphrases[prompt] = text if is_usable and count(text) <= wording.max_tokens else prompt
    return [paraphrases[prompt] for prompt in prompts]


def _caption(reply: str) -> str:
    """The caption in a reply, without thoughts, quotes, fences and a line that announces it ("Here it is:")."""
    lines = [line for line in thinking.answer(reply).splitlines() if line.strip() and not line.startswith("```")]
    announced = len(lines) > 1 and lines[0].rstrip("*_ ").endswith(":")
    return one_line(" ".join(lines[announced:])).strip("\"'`“” ")
