"""The example of HOWTO on the replies of a model gives what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "HOWTO.md"


def test_the_replies_that_the_original_collected_make_the_prompts_that_the_page_shows():
    if not os.environ.get("P2D_LLM_OUTPUTS"):
        pytest.skip("P2D_LLM_OUTPUTS is not set: the replies of the original prompt2derm are not at hand")
    page = HOWTO.read_text(encoding="utf-8").partition("## Prompt with what a model says")[2]
    (code, shown) = re.search(r"```python\n(.+?)```.+?prints:\n\n```\n(.+?)```", page, re.DOTALL).groups()
    replies = Path(os.environ["P2D_LLM_OUTPUTS"]) / "gpt-4.1-mini_lesion_features.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(replies)], capture_output=True, text=True)
    assert done.stdout == shown, done.stderr
