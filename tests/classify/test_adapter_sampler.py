"""The adapter samples further images as 04 did; copies are refused, and finished images are not sampled again."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib import images
from p2d_lib.classify import adapter_sampler
from p2d_lib.classify.adapter_sampler import AdapterSampler
from p2d_lib.prep import phantom
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

OF_04 = {
    "guidance_scale": 5.0, "guidance_interval": [1.4, 3.0], "solver": "dpm++2m", "num_inference_steps": 15,
    "batch_size": 2,
}  # fmt: skip


def picture(k):
    rng = np.random.default_rng(derive(9, "sampler", k))
    lesion = phantom.make_lesion(rng, DX[k % len(DX)])
    return phantom.render(lesion, phantom.make_view(rng, "clinic"), (64, 64))[0]


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A run with 60 train images, a base, an adapter, and synthetic images made with the settings OF_04."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run = Run("test", "06_classify")
    for name in ("base", "adapter", "train"):
        (run.folder / name).mkdir(parents=True)
        (run.folder / name / "weights").write_text(name)
    (run.folder / "synthetic.parquet").write_text("")
    (run.folder / "synthetic.parquet.provenance.json").write_text(json.dumps({"parameters": OF_04 | {"seed": 0}}))
    for k in range(60):
        images.save(run.folder / "train" / f"{k}.png", picture(k))
    return run, pd.DataFrame({"image_id": map(str, range(60)), "path": [f"train/{k}.png" for k in range(60)]})


@pytest.fixture
def sampler(train, monkeypatch):
    """A sampler whose image for seed k is phantom k, so that seeds below 60 give copies of train images."""
    calls = []

    def samples(pipe, requests, **settings):
        requests = list(requests)
        calls.append((requests, settings))
        for _, seed in requests:
            yield picture(seed)[None]

    monkeypatch.setattr(adapter_sampler.sampling, "samples", samples)
    monkeypatch.setattr(AdapterSampler, "_pipe", None)
    made = AdapterSampler(*train, torch.device("cpu"))
    made.calls = calls
    return made


def asked(seeds, **columns):
    names = [f"n{seed}" for seed in seeds]
    return pd.DataFrame({"image_id": names, "prompt": "melanoma", "seed": list(seeds), **columns})


def test_images_are_sampled_with_the_settings_of_04(sampler):
    rows = sampler(asked([100, 101, 102]))
    ((requests, settings),) = sampler.calls
    assert requests == [("melanoma", 100), ("melanoma", 101), ("melanoma", 102)]
    assert settings == OF_04 | {"guidance_interval": (1.4, 3.0), "size": 64}
    np.testing.assert_array_equal(sampler.run.images(rows)[1], picture(101))
    assert rows["accepted"].all() and rows["guidance"].eq(5.0).all()


def test_another_guidance_is_sampled_at_it_and_is_another_image(sampler):
    rows = sampler(asked([100, 100], guidance=[1.0, 2.0]))
    assert [settings["guidance_scale"] for _, settings in sampler.calls] == [1.0, 2.0]
    assert rows["path"].is_unique


def test_a_copy_of_a_train_image_is_refused(sampler):
    assert sampler(asked([100, 7, 101]))["accepted"].tolist() == [True, False, True]


def test_what_lies_there_is_not_sampled_again_until_it_is_discarded(sampler):
    sampler(asked([100, 101]))
    sampler(asked([100, 101, 102]))
    assert [len(requests) for requests, _ in sampler.calls] == [2, 1]
    sampler.discard()
    sampler(asked([100]))
    assert [len(requests) for requests, _ in sampler.calls] == [2, 1, 1]


def test_other_weights_have_a_folder_of_their_own(train, sampler):
    (train[0].folder / "adapter" / "weights").write_text("trained on")
    assert AdapterSampler(Run("test", "06_classify"), train[1], torch.device("cpu")).name != sampler.name
