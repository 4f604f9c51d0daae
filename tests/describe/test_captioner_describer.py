"""What the captioner says becomes scores; what no image shows is not taught."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.describe import captioner
from p2d_lib.vocabulary import Lesion
from p2d_lib.words.parse import SAID, SAID_MARKED, read

IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


def test_captions_say_all_that_is_seen_and_nothing_else():
    seen = {"dx": "mel", "hair_amount": 0.5, "irregular_streaks": 0.9, "red": 0.4, "background_skin_tone": 0.1}
    lesion = Lesion(**seen, localization="back", age=60, sex="male", black=0.1)
    (text,) = captioner.captions([lesion])
    assert not any(word in text for word in ("back", "60", "male", "black"))
    said = read(text)
    assert (said.dx, said.hair_amount, said.irregular_streaks, said.red) == ("mel", SAID, SAID_MARKED, SAID)
    assert captioner.captions([lesion.model_copy(update={"localization": "ear", "age": 20.0})]) == [text]


def test_a_score_is_the_mean_over_the_captions_and_skin_tone_of_those_that_say_it(monkeypatch):
    several = ["Melanoma. In view: hair. Very fair skin.", "Melanoma. Seen: marked irregular streaks."]
    monkeypatch.setattr(captioner, "caption", lambda model, images: ["Melanoma.", "What is this."])
    monkeypatch.setattr(captioner, "spread", lambda model, images, n, batch_size: [several[:n]] * len(images))
    cases = pd.DataFrame({"image_id": ["a", "b"]}, index=[7, 3])
    found = captioner.describe(cases, lambda rows: IMAGES[: len(rows)], None, 2)
    assert found["image_id"].tolist() == ["a", "b"]
    assert found["text"].tolist() == ["Melanoma.", "What is this."]
    assert found["valid"].tolist() == [True, False]
    assert found["hair_amount"].tolist() == [SAID / 2] * 2
    assert found["irregular_streaks"].tolist() == [SAID_MARKED / 2] * 2
    assert found["background_skin_tone"].tolist() == pytest.approx([0.5 / 6] * 2)
    assert (found["red"] == 0).all()
    once = captioner.describe(cases, lambda rows: IMAGES[: len(rows)], None, 1)
    assert once["irregular_streaks"].tolist() == [0, 0]
