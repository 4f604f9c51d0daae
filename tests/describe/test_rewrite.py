"""An LLM paraphrases prompts, and none gets longer than a text encoder takes."""

from pathlib import Path

import pytest
from chat_server import ChatServer, prompt, says

from p2d_lib.describe.rewrite import rewrite
from p2d_lib.llm.client import Client
from p2d_lib.llm.settings import Settings
from p2d_lib.words.wording import Wording

WORDING = Wording("phrases", max_features=8, max_tokens=6)


@pytest.mark.parametrize(
    ("reply", "becomes"),
    [
        ('"Mole with  a veil"\n', "Mole with a veil"),
        ("a mole that has a great many more words than are read", "nevus, veil"),
        ("", "nevus, veil"),
        ("<think>a short thought</think>\nMole with a veil", "Mole with a veil"),
        ("<think>a short thought", "nevus, veil"),
        ("Mole \ud83d with\x00 a veil", "Mole with a veil"),
        ("Here it is:\n\n```\nMole with a veil\n```", "Mole with a veil"),
        ("I'm sorry, I can't help.", "nevus, veil"),
    ],
)
def test_a_prompt_is_paraphrased_unless_that_is_too_long_or_empty(tmp_path, reply, becomes):
    with ChatServer(says(reply)) as server:
        client = Client(Settings(p2d_api_base_url=server.url), "llm", Path(tmp_path / "cache.jsonl"), allow_upload=True)
        rewritten = rewrite(["nevus, veil"] * 3, client, WORDING, lambda text: len(text.split()))
    assert rewritten == [becomes] * 3
    assert len(server.requests) == 1, "the same prompt is asked about once"
    assert "nevus, veil" in prompt(server.requests[0])


def test_a_paraphrase_that_was_cut_off_is_no_prompt(tmp_path):
    with ChatServer(says("Mole with", end="length")) as server:
        client = Client(Settings(p2d_api_base_url=server.url), "llm", Path(tmp_path / "cache.jsonl"), allow_upload=True)
        assert rewrite(["nevus, veil"], client, WORDING, lambda text: len(text.split())) == ["nevus, veil"]


def test_a_refusal_is_no_prompt(tmp_path):
    with ChatServer(says(refusal="I cannot help with that.")) as server:
        client = Client(Settings(p2d_api_base_url=server.url), "llm", Path(tmp_path / "cache.jsonl"), allow_upload=True)
        assert rewrite(["nevus, veil"], client, WORDING, lambda text: len(text.split())) == ["nevus, veil"]
