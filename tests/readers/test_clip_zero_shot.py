"""A CLIP names the diagnosis whose words lie nearest to the image; where all are equally near, it names none."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib.readers import clip_zero_shot
from p2d_lib.readers.clip_zero_shot import NAMES, TEMPLATES, class_vectors, probabilities, read
from p2d_lib.vocabulary import DX

MODEL = SimpleNamespace(model=SimpleNamespace(logit_scale=torch.tensor(np.log(10.0))))


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    """The words of a diagnosis lie on an axis of their own; an image is its own embedding."""
    monkeypatch.setattr(clip_zero_shot.clip, "embed_prompts", lambda model, prompts: embed(prompts))
    monkeypatch.setattr(clip_zero_shot.clip, "embed_images", lambda model, images: images)


def embed(prompts):
    """Each name of a diagnosis lies on that diagnosis' axis; the eighth axis is about the template."""
    vectors = np.zeros((len(prompts), 8))
    for row, prompt in enumerate(prompts):
        vectors[row, [k for k, dx in enumerate(DX) if any(name in prompt for name in NAMES[dx])]] = 1
        vectors[row, 7] = 0.1 * [template.format("").strip() in prompt for template in TEMPLATES].count(True)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_planted_diagnoses_are_read_and_an_image_equally_near_to_all_words_is_no_diagnosis():
    vectors = class_vectors(MODEL)
    assert vectors.shape == (7, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    p = probabilities(MODEL, np.eye(8)[:7], vectors)
    assert p.argmax(1).tolist() == list(range(7)) and p.max(1).min() > 0.9
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_allclose(probabilities(MODEL, np.full((1, 8), 8**-0.5), vectors), 1 / 7, atol=0.02)


def test_readings_are_in_the_order_of_the_images_and_bear_the_model_s_name():
    run = SimpleNamespace(in_parts=lambda table, function: function(np.eye(8)[table["axis"]]))
    table = pd.DataFrame({"image_id": ["c", "a", "b"], "axis": [4, 0, 6]})
    found = read(MODEL, "some/folder/alignment", run, table)
    assert found["image_id"].tolist() == ["c", "a", "b"] and set(found["reader"]) == {"CLIP, alignment"}
    assert found["dx_read"].tolist() == [DX[4], DX[0], DX[6]] and set(found["kind"]) == {"vlm"}
