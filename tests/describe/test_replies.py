import json
import math
import os
from pathlib import Path

import pytest

from p2d_lib.describe import replies
from p2d_lib.schemas import DESCRIPTIONS
from p2d_lib.vocabulary import FEATURES

SCORES = {feature.field: 0.1 for feature in FEATURES.values()} | {"Border Irregularity": 0.8, "dark_brown": 0.7}


def reply(image="mel\\ISIC_0000001.jpg", klass="mel", text="A dark\n macule.", **changed) -> dict:
    return {"image": image, "class": klass, "description": text, "features": SCORES | changed}


def read(tmp_path: Path, *lines) -> object:
    path = tmp_path / "model_lesion_features.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n\n")
    return replies.read(path, "some-llm")


def test_a_reply_becomes_a_description(tmp_path):
    found = DESCRIPTIONS.validate(read(tmp_path, reply())).iloc[0]
    assert found[["image_id", "describer", "text"]].tolist() == ["ISIC_0000001", "some-llm", "A dark macule."]
    assert (found["border_irregularity"], found["dark_brown"], found["evolving"]) == (0.8, 0.7, 0.1)
    assert found["prompt"] == "dermoscopic image of melanoma, irregular border, dark brown color, very fair skin"
    assert found["valid"]


def test_folders_of_windows_and_unix_and_the_old_name_of_nevi_are_understood(tmp_path):
    found = read(tmp_path, reply("nev\\ISIC_7.jpg", "nev"), reply("nv/ISIC_8.png", "nv"), reply("ISIC_9.JPG"))
    assert found["image_id"].tolist() == ["ISIC_7", "ISIC_8", "ISIC_9"]
    assert found["prompt"].str.contains("melanocytic nevus").tolist() == [True, True, False]


@pytest.mark.parametrize("score", [1.2, -0.1, "0.5", "high", None, True, math.nan])
def test_a_score_that_is_none_never_becomes_a_number(tmp_path, score):
    found = read(tmp_path, reply(Asymmetry=score)).iloc[0]
    assert math.isnan(found["asymmetry"])
    assert not found["valid"]
    assert found["dark_brown"] == 0.7


def test_a_reply_without_a_text_or_a_field_is_kept_and_not_valid(tmp_path):
    missing = reply("a.jpg")
    del missing["features"]["red"]
    found = read(tmp_path, missing, reply("b.jpg", text=""), reply("c.jpg"))
    assert found["valid"].tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('{"image": "a.jpg", "class": "mel", "descr', "line 2: not a reply"),
        ({"image": "b.jpg", "class": "mel"}, "line 2: not a reply.*features"),
        (reply("b.jpg", "wart"), "line 2: class is 'wart', expected one of akiec"),
        (reply("mel/a.jpg"), "line 2: a has a reply in line 1"),
    ],
)
def test_a_line_that_is_no_reply_is_named(tmp_path, second, message):
    with pytest.raises(replies.ReplyError, match=rf"model_lesion_features\.jsonl, {message}"):
        read(tmp_path, reply("a.jpg"), second)


def test_the_replies_that_the_original_collected_are_all_read():
    if not os.environ.get("P2D_LLM_OUTPUTS"):
        pytest.skip("P2D_LLM_OUTPUTS is not set: the replies of the original prompt2derm are not at hand")
    found = replies.read(Path(os.environ["P2D_LLM_OUTPUTS"]) / "gpt-4.1-mini_lesion_features.jsonl", "gpt-4.1-mini")
    found = DESCRIPTIONS.validate(found)
    assert len(found) == 581
    assert found["valid"].all()
    assert found["prompt"].str.contains("melanoma").sum() == 126
    assert found["light_brown"].mean() == pytest.approx(0.603787, abs=1e-6)
    assert (found["evolving"] == 0).all()
