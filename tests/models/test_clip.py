"""The alignment model tells matching words from others, and opens with open_clip."""

import numpy as np
import open_clip
import pytest
import torch

from p2d_lib.models import clip

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "yellow": (200, 200, 40)}


def patches(n, seed):
    rng = np.random.default_rng(seed)
    names = rng.choice(list(COLOURS), n)
    images = np.array([COLOURS[name] for name in names])[:, None, None] + rng.normal(0, 25, (n, 32, 32, 3))
    return images.clip(0, 255).astype(np.uint8), [f"dermoscopic image of a {name} lesion" for name in names]


@pytest.fixture(scope="module")
def fitted():
    return clip.fit(*patches(120, 0), steps=60, batch_size=24, seed=0, device=torch.device("cpu"))


def test_a_matching_prompt_is_closer_than_another_and_is_found(fitted):
    images, prompts = patches(80, 1)
    shuffled = [prompts[i - 1] for i in range(80)]
    differ = np.array(prompts) != np.array(shuffled)
    assert (
        clip.alignment(fitted[0], images, prompts).mean()
        > clip.alignment(fitted[0], images, shuffled)[differ].mean() + 0.3
    )
    assert clip.retrieval(fitted[0], images, prompts) > 0.9  # chance: 0.25


def test_repeated_prompts_are_no_negatives_of_each_other():
    same = torch.tensor([0, 0, 1])
    right = torch.tensor([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    one_to_one = torch.eye(3) * 9
    assert clip._loss(right, same) < 0.6 < clip._loss(one_to_one, same)
    distinct = torch.arange(3)
    expected = torch.nn.functional.cross_entropy(one_to_one, distinct)
    torch.testing.assert_close(clip._loss(one_to_one, distinct), expected)


def test_a_saved_model_is_the_same_and_open_clip_opens_it(fitted, tmp_path):
    images, prompts = patches(6, 2)
    clip.save(fitted[0], tmp_path / "alignment")
    loaded = clip.load(tmp_path / "alignment", torch.device("cpu"))
    np.testing.assert_array_equal(clip.alignment(loaded, images, prompts), clip.alignment(fitted[0], images, prompts))
    _, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'alignment'}")
    assert preprocess.transforms[0].size == 32


def test_images_of_another_size_are_resized_to_the_models(fitted):
    images, prompts = patches(6, 3)
    large = images.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(
        clip.alignment(fitted[0], large, prompts), clip.alignment(fitted[0], images, prompts), atol=0.05
    )


def test_an_image_without_a_prompt_is_refused(fitted):
    with pytest.raises(ValueError, match="2 images and 1 prompts"):
        clip.alignment(fitted[0], patches(2, 0)[0], ["one"])


def test_of_a_published_model_a_folder_keeps_name_and_digest_and_notices_other_weights(fitted, tmp_path):
    clip.save(fitted[0], tmp_path / "published")
    published = clip.load(tmp_path / "published", torch.device("cpu"))
    clip.save(published, tmp_path / "alignment")
    assert [path.name for path in (tmp_path / "alignment").iterdir()] == [clip.POINTER]
    images, prompts = patches(6, 1)
    again = clip.load(tmp_path / "alignment", torch.device("cpu"))
    assert np.array_equal(clip.alignment(again, images, prompts), clip.alignment(published, images, prompts))
    with torch.no_grad():
        published.model.logit_scale += 1
    published.config = fitted[0].config
    clip.save(published, tmp_path / "published")
    with pytest.raises(ValueError, match="published have changed: their SHA-256 was"):
        clip.load(tmp_path / "alignment", torch.device("cpu"))
