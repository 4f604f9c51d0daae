"""Claims about drawing a plan and about what passes for a copy."""

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib import images
from p2d_lib.finetune import latents, train
from p2d_lib.models import classifiers, clip, diffusion
from p2d_lib.run import Run
from p2d_lib.sample import sampler
from p2d_lib.vocabulary import DX

SETTINGS = {"guidance_scale": 2.0, "num_inference_steps": 2, "batch_size": 2, "size": 32}


@pytest.fixture(scope="module")
def pipe():
    """A random tiny pipeline with a random adapter."""
    pipe = diffusion.load("random")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    encoded = latents.Encoded(
        diffusion.encode_images(pipe, pixels)[:, None].expand(-1, 2, -1, -1, -1),
        diffusion.embed_prompts(pipe, ["a", ""]), torch.zeros(2, dtype=torch.int64),
    )  # fmt: skip
    train.fit_adapter(pipe, encoded, train.Recipe(steps=3, batch_size=2, learning_rate=0.1, seed=0), rank=2)
    return pipe


@pytest.fixture
def planned():
    return pd.DataFrame(
        {
            "image_id": ["adapter_mel_0", "adapter_nv_0", "adapter_nv_1", "base_mel_0"],
            "dx": ["mel", "nv", "nv", "mel"],
            "prompt": ["melanoma", "nevus", "nevus", "melanoma"],
            "seed": [1, 2, 3, 1],
            "generator": ["adapter", "adapter", "adapter", "base"],
        }
    )


def test_a_set_that_was_stopped_goes_on_where_it_was(pipe, planned, tmp_path, monkeypatch):
    sampler.draw(pipe, planned[:2], tmp_path, **SETTINGS)
    asked, honest = [], diffusion.sample
    monkeypatch.setattr(diffusion, "sample", lambda *a, **k: asked.extend(a[2]) or honest(*a, **k))
    sampler.draw(pipe, planned, tmp_path, **SETTINGS)
    assert asked == [3, 1]
    sampler.draw(pipe, planned, tmp_path, **SETTINGS)
    assert asked == [3, 1]


def test_base_images_are_drawn_without_the_adapter(pipe, planned, tmp_path):
    sampler.draw(pipe, planned, tmp_path, **SETTINGS)
    drawn = dict(zip(planned["image_id"], images.load(sampler.files(planned, tmp_path)), strict=True))
    pipe.disable_lora()
    plain = diffusion.sample(pipe, ["melanoma"], [1], **SETTINGS)[0]
    pipe.enable_lora()
    assert np.abs(drawn["base_mel_0"].astype(int) - plain).max() <= 1
    assert np.abs(drawn["adapter_mel_0"].astype(int) - plain).mean() > 1


def test_an_edited_prompt_is_drawn_anew(planned, tmp_path):
    edited = planned.assign(prompt=planned["prompt"].replace("nevus", "mole"))
    same = [a == b for a, b in zip(*(sampler.files(plan, tmp_path) for plan in (planned, edited)), strict=True)]
    assert same == [True, False, False, True]


def test_a_planted_copy_is_found_and_a_new_lesion_is_not():
    rng = np.random.default_rng(0)
    train_vectors, val_vectors = rng.normal(size=(200, 8)), rng.normal(size=(210, 8))
    thresholds = sampler.copy_thresholds(val_vectors, np.repeat(DX, 30), train_vectors)
    index, distance = sampler.nearest(train_vectors[[17, 4]] + 1e-3, train_vectors)
    assert index.tolist() == [17, 4]
    assert (distance < min(thresholds.values())).all()
    fresh = sampler.nearest(rng.normal(size=(1000, 8)), train_vectors)[1]
    assert (fresh < max(thresholds.values())).mean() < 0.15


def test_a_class_without_val_images_takes_the_threshold_of_all():
    rng = np.random.default_rng(0)
    val, dx = rng.normal(size=(60, 4)), np.repeat(DX[:6], 10)
    thresholds = sampler.copy_thresholds(val, dx, rng.normal(size=(50, 4)))
    assert min(thresholds[k] for k in DX[:6]) <= thresholds[DX[6]] <= max(thresholds[k] for k in DX[:6])


def test_a_drawn_train_image_is_measured_at_distance_zero(planned, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, pixels, strict=True):
        images.save(path, image)
    device = torch.device("cpu")
    scout = classifiers.build("tiny_resnet")
    vectors = classifiers.predict(scout, pixels, device)["embedding"]
    aligner, _ = clip.fit(pixels, ["a", "b", "c", "d"], steps=1, batch_size=4, seed=0, device=device)
    names = np.array(["w", "x", "y", "z"])
    measured = sampler.measure(planned, paths, scout, aligner, names, vectors, device)
    assert measured["nearest_case"].tolist() == names.tolist()
    assert measured["nearest_distance"].max() < 1e-3
    assert measured["alignment"].between(-1, 1).all()


def test_as_many_copies_as_asked_for_are_planted_each_of_its_class(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run, drawn = Run("t", "04_sample"), tmp_path / "drawn"
    (run.folder / "images").mkdir(parents=True)
    drawn.mkdir()
    train = pd.DataFrame({"dx": ["mel", "nv", "nv"], "path": [f"images/{k}.png" for k in range(3)]})
    for k, path in enumerate(train["path"]):
        (run.folder / path).write_text(f"real {train['dx'][k]}")
    files = sampler.files(planned, drawn)
    for n in (2, 3):
        for file in files:
            file.write_text("synthetic")
        names = sampler.plant_copies(run, planned, drawn, train, n)
        real = {name: file.read_text() for name, file in zip(planned["image_id"], files, strict=True)}
        assert [name for name, text in real.items() if text != "synthetic"] == names
        assert len(names) == n and all(real[name] == f"real {name.split('_')[1]}" for name in names)
    assert sampler.plant_copies(run, planned, drawn, train, 0) == []
