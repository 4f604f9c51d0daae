import pandas as pd
import pytest

from p2d_lib.fidelity import alignment


def test_a_mismatched_prompt_is_always_one_of_another_class():
    table = pd.DataFrame({"dx": ["mel", "nv", "df"] * 20, "prompt": [f"{dx} {i}" for i in range(20) for dx in "abc"]})
    own = dict(zip(table["dx"], "abc", strict=False))
    drawn = alignment.mismatched(table, seed=0)
    assert all(prompt[0] != own[dx] for dx, prompt in zip(table["dx"], drawn, strict=True))
    assert drawn == alignment.mismatched(table, seed=0) != alignment.mismatched(table, seed=1)


def test_one_class_alone_has_no_mismatched_prompts():
    with pytest.raises(ValueError, match="only 'mel'"):
        alignment.mismatched(pd.DataFrame({"dx": ["mel"], "prompt": ["x"]}), seed=0)
