"""Captions become scores; what no image shows is not taught, and what was not taught is unknown."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.describe import captioner, captioner_training
from p2d_lib.describe.caption_styles import CLINICAL, captions
from p2d_lib.vocabulary import DX, DX_NAMES, FEATURES, Lesion
from p2d_lib.words import diagnosis
from p2d_lib.words.parse import MENTIONED, MENTIONED_MARKED, parse
from p2d_lib.words.render import PromptError

IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("style", ["sentence", CLINICAL])
def test_captions_mention_all_that_is_visible_and_nothing_else(style):
    shown = {"dx": "mel", "hair_amount": 0.5, "irregular_streaks": 0.9, "red": 0.4, "background_skin_tone": 0.1}
    lesion = Lesion(**shown, localization="back", age=60, sex="male", black=0.1)
    (text,) = captions([lesion], style)
    assert not any(word in text for word in ("back", "60", "male", "black"))
    parsed = parse(text)
    assert (parsed.dx, parsed.hair_amount, parsed.red) == ("mel", MENTIONED, MENTIONED)
    assert parsed.irregular_streaks == MENTIONED_MARKED
    assert captions([lesion.model_copy(update={"localization": "ear", "age": 20.0})], style) == [text]


@pytest.mark.parametrize("dx", DX)
def test_a_clinical_caption_is_a_sentence_and_then_the_diagnosis_which_the_parser_of_answers_finds(dx):
    everything = Lesion(dx=dx, **dict.fromkeys(FEATURES, 0.9))
    for lesion in (everything, Lesion(dx=dx), Lesion(dx=dx, light_brown=0.5, background_skin_tone=0.4)):
        (text,) = captions([lesion], CLINICAL)
        assert text.startswith("A skin lesion") and text.endswith(f". Most likely {DX_NAMES[dx]}.")
        assert diagnosis.parse(text).lenient == dx
        named = {name for name in FEATURES if getattr(parse(text), name)}
        assert named == {name for name in FEATURES if getattr(lesion, name)}
    with pytest.raises(PromptError, match="ends in the diagnosis"):
        captions([Lesion(hair_amount=0.9)], CLINICAL)


def test_a_score_is_the_mean_over_the_captions_and_skin_tone_over_those_that_state_it(monkeypatch):
    several = ["Melanoma. In view: hair. Very fair skin.", "Melanoma. Seen: marked irregular streaks."]
    monkeypatch.setattr(captioner, "caption", lambda model, images: ["Melanoma.", "What is this."])
    monkeypatch.setattr(captioner, "several_captions", lambda model, images, n, batch_size: [several[:n]] * len(images))
    cases = pd.DataFrame({"image_id": ["a", "b"]}, index=[7, 3])
    described = captioner.describe(cases, lambda rows: IMAGES[: len(rows)], None, 2)
    assert described["image_id"].tolist() == ["a", "b"]
    assert described["text"].tolist() == ["Melanoma.", "What is this."]
    assert described["valid"].tolist() == [True, False]
    assert described["hair_amount"].tolist() == [MENTIONED / 2] * 2
    assert described["irregular_streaks"].tolist() == [MENTIONED_MARKED / 2] * 2
    assert described["background_skin_tone"].tolist() == pytest.approx([0.5 / 6] * 2)
    assert (described["red"] == 0).all()
    once = captioner.describe(cases, lambda rows: IMAGES[: len(rows)], None, 1)
    assert once["irregular_streaks"].tolist() == [0, 0]


def test_a_feature_that_was_not_taught_is_unknown_and_one_that_was_can_be_denied(monkeypatch):
    lesions = [Lesion(dx="mel", red=0.9), Lesion(dx="nv", hair_amount=0.5, black=0.1)]
    assert captioner_training.taught(lesions) == ["red", "hair_amount"]
    assert captioner_training.taught([*lesions, Lesion(dx="nv", background_skin_tone=0.0)])[1] == "background_skin_tone"
    monkeypatch.setattr(captioner, "caption", lambda model, images: ["Melanoma. Colors: red."])
    monkeypatch.setattr(
        captioner, "several_captions", lambda model, images, n, batch_size: [["Melanoma. Colors: red."]]
    )
    cases = pd.DataFrame({"image_id": ["a"]})
    (scores,) = captioner.describe(cases, lambda rows: IMAGES[:1], None, 1, captioner_training.taught(lesions)).to_dict(
        "records"
    )
    assert (scores["red"], scores["hair_amount"]) == (MENTIONED, 0)
    assert sum(scores[name] == scores[name] for name in FEATURES) == 2
    (nothing,) = captioner.describe(cases, lambda rows: IMAGES[:1], None, 1, []).to_dict("records")
    assert not any(nothing[name] == nothing[name] for name in FEATURES)
