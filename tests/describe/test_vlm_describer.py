"""A vision-language model's answers become descriptions: constrained ones whole, written ones read with care."""

import json
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pytest

from p2d_lib.describe import vlm as describer
from p2d_lib.describe.llm import replies
from p2d_lib.models.vlm import Vlm, generate, scores
from p2d_lib.vocabulary import FEATURES

CASES = pd.DataFrame({"image_id": [f"case_{i}" for i in range(7)]})
MODEL = Vlm(model=None, processor=None, name="some/model")
WHOLE = json.dumps({"description": "A brown lesion."} | dict.fromkeys(FEATURES, 0.5))


def load_images(rows):
    """Image i is grey level i throughout."""
    levels = rows["image_id"].str.removeprefix("case_").astype(np.uint8).to_numpy()
    return np.broadcast_to(levels[:, None, None, None], (len(rows), 4, 4, 3)).copy()


@pytest.fixture
def model(monkeypatch):
    """A stand-in whose texts and scores tell which image it saw."""
    monkeypatch.setattr(describer, "IMAGES_AT_ONCE", 3)

    def say(_vlm, images, _question, _max_new_tokens, _batch_size):
        return [f"Seen:  grey\n{image[0, 0, 0]}." for image in images]

    def score(_vlm, images, _question, fields, _batch_size):
        return np.add.outer(images[:, 0, 0, 0] / 10, np.arange(len(fields)) / 100).astype(np.float32)

    for name, answer, real in (("generate", say, generate), ("scores", score, scores)):
        monkeypatch.setattr(describer, name, create_autospec(real, side_effect=answer))
    return describer


def test_each_image_gets_its_own_text_and_all_scores_in_order(model, tmp_path):
    table = model.describe(CASES, load_images, MODEL, tmp_path)
    assert table["image_id"].tolist() == CASES["image_id"].tolist()
    assert table["text"].tolist() == [f"Seen: grey {i}." for i in range(7)]
    expected = np.add.outer(np.arange(7) / 10, np.arange(22) / 100)
    np.testing.assert_allclose(table[list(FEATURES)], expected, atol=1e-4)
    assert table["valid"].all() and (table["describer"] == "vlm").all() and (table["seconds"] > 0).all()


def test_a_written_reply_is_parsed_and_what_it_lacks_is_unknown(model, tmp_path):
    written = [
        WHOLE, f"```json\n{WHOLE}\n```", WHOLE[:60], "I'm sorry, I can't help with that.", "A mole.", WHOLE, WHOLE,
    ]  # fmt: skip
    model.generate.side_effect = [written[:3], written[3:6], written[6:]]
    table = model.describe(CASES, load_images, MODEL, tmp_path, mode="repaired")
    assert table["valid"].tolist() == [True, True, False, False, False, True, True]
    assert table.loc[2, "text"] == "A brown lesion." and table.loc[2, "regression_structures"] != 0.5
    assert table.loc[3:4, list(FEATURES)].isna().all(axis=None)
    assert {"fenced": 1, "cut off": 1, "refused": 1, "no JSON": 1}.items() <= table.attrs["repairs"].items()
    model.scores.assert_not_called()


def test_a_refusal_leaves_no_scores_even_where_they_were_forced(model, tmp_path):
    model.generate.side_effect = [["I'm sorry, I can't help with that."]]
    table = model.describe(CASES[:1], load_images, MODEL, tmp_path)
    assert not table.loc[0, "valid"] and table[list(FEATURES)].isna().all(axis=None)


def test_stopped_work_goes_on_where_it_stopped_with_the_same_result(model, tmp_path):
    whole = model.describe(CASES, load_images, MODEL, tmp_path / "whole").drop(columns="seconds")
    say = model.generate.side_effect

    def stops_in_the_second_part(vlm, images, *rest):
        if images.max() > 2:
            raise KeyboardInterrupt
        return say(vlm, images, *rest)

    model.generate.side_effect = stops_in_the_second_part
    with pytest.raises(KeyboardInterrupt):
        model.describe(CASES, load_images, MODEL, tmp_path / "parts")
    model.generate.side_effect = say
    model.generate.reset_mock()
    again = model.describe(CASES, load_images, MODEL, tmp_path / "parts").drop(columns="seconds")
    assert [len(call.args[1]) for call in model.generate.call_args_list] == [3, 1], "the first part was asked again"
    pd.testing.assert_frame_equal(again, whole)


@pytest.mark.parametrize(
    "changed",
    [
        {"vlm": Vlm(None, None, "another/model")},
        {"mode": "repaired"},
        {"max_new_tokens": 9},
        {"load_images": lambda rows: load_images(rows) + 1},
    ],
)
def test_kept_replies_are_not_taken_for_another_question(model, tmp_path, changed):
    arguments = {"cases": CASES, "load_images": load_images, "vlm": MODEL, "folder": tmp_path}
    model.describe(**arguments)
    model.generate.reset_mock()
    model.describe(**arguments)
    model.generate.assert_not_called()
    model.describe(**arguments | changed)
    assert model.generate.call_count == 3


def test_memory_holds_one_part_at_a_time(model, tmp_path):
    loaded = []

    def counted(rows):
        loaded.append(len(rows))
        return load_images(rows)

    model.describe(CASES, counted, MODEL, tmp_path)
    assert loaded == [3, 3, 1]


def test_all_describers_get_the_same_question():
    text_line, *feature_lines, _ = replies.QUESTION.splitlines()
    assert text_line.startswith(describer.TEXT_QUESTION)
    assert describer.SCORES_QUESTION.splitlines()[1:-1] == feature_lines


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mode is 'free', expected one of constrained, repaired"):
        describer.describe(CASES, load_images, MODEL, tmp_path, mode="free")
