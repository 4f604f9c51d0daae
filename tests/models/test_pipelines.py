"""Claims about loading a base: from what ships, a folder, the hub at one commit; and about noticing other weights."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from p2d_lib.models import pipelines, pixel_baselines, sampling, weights

PROMPTS = ["dermoscopic image of melanoma", "dermoscopic image of nevus"]
COMMITS = {"v1": "1" * 40, "main": "2" * 40}
sample = partial(sampling.sample, guidance_scale=5.0, guidance_interval=(1.4, 3.0), num_inference_steps=3)


@pytest.fixture(scope="module")
def pipe():
    return pipelines.load("random", seed=1)


@pytest.fixture
def hub(hub_cache):
    """The cache of org/derm: two commits with other weights each."""
    for revision, seed in (("v1", 1), ("main", 2)):
        pipelines.save(pipelines.load("random", seed=seed), hub_cache(revision, COMMITS[revision]))
    return hub_cache("main", COMMITS["main"]).parents[1]


def test_a_saved_pipeline_samples_the_same_images_when_it_is_loaded(pipe, tmp_path):
    pipelines.save(pipe, tmp_path / "base")
    loaded = pipelines.load(tmp_path / "base")
    before, after = (sample(which, PROMPTS, [3, 4]) for which in (pipe, loaded))
    assert np.abs(before.astype(int) - after).mean() < 0.5  # weights are rounded to half precision
    assert next(pipe.unet.parameters()).dtype == torch.float32


def test_a_base_that_is_nowhere_is_named_with_what_would_do(tmp_path):
    with pytest.raises(pipelines.BaseError, match=r"nowhere.*no such folder.*tiny, random, a folder"):
        pipelines.load(tmp_path / "nowhere")


def test_a_trained_pipeline_is_written_and_a_loaded_one_is_pointed_to(pipe, tmp_path):
    pipelines.save(pipe, tmp_path / "base")
    loaded = pipelines.load(tmp_path / "base")
    for name, trained, written in (("trained", True, True), ("loaded", False, False)):
        pipelines.save_or_point(loaded, tmp_path / name, trained)
        assert bool(list((tmp_path / name).rglob("*.safetensors"))) == written
        again = pipelines.load(tmp_path / name)
        assert torch.equal(again.unet.conv_in.weight, loaded.unet.conv_in.weight)
    pipelines.save_or_point(pipe, tmp_path / "random", trained=False)  # there is nothing to point to
    assert pipelines.load(tmp_path / "random").unet is not None


def test_other_weights_in_the_folder_that_a_pointer_names_are_an_error(pipe, tmp_path):
    pipelines.save(pipe, tmp_path / "base")
    pipelines.save_or_point(pipelines.load(tmp_path / "base"), tmp_path / "pointed", trained=False)
    shutil.move(tmp_path / "base", tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "base")  # a copy of the same bytes is the same base
    pipelines.load(tmp_path / "pointed")
    file = tmp_path / "base" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["decoder.bias"][0] += 0.5  # one number of four million
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(
        pipelines.BaseError, match=r"pointer\.json: the weights of .*base' have changed.*run 03_finetune"
    ):
        pipelines.load(tmp_path / "pointed")


def test_the_recorded_digest_holds_in_half_precision_too(pipe, tmp_path):
    pipelines.save(pipe, tmp_path / "base")
    pipelines.save_or_point(pipelines.load(tmp_path / "base"), tmp_path / "pointed", trained=False)
    assert pipelines.load(tmp_path / "pointed", dtype=torch.float16).unet.dtype == torch.float16


def test_a_pointer_is_not_written_for_weights_that_an_adapter_was_added_to(pipe, tmp_path):
    pipelines.save(pipe, tmp_path / "base")
    adapted = pipelines.load(tmp_path / "base")
    adapted.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(ValueError, match="before an adapter"):
        pipelines.save_or_point(adapted, tmp_path / "pointed", trained=False)


@pytest.mark.parametrize(
    ("name", "revision"), [("org/derm", "main"), ("org/derm@v1", "v1"), (f"org/derm@{'1' * 40}", "v1")]
)
def test_an_id_is_pinned_to_the_commit_that_its_revision_means(hub, tmp_path, name, revision):
    loaded = pipelines.load(name)
    expected = pipelines.load(hub / "snapshots" / COMMITS[revision])
    assert torch.equal(loaded.unet.conv_in.weight, expected.unet.conv_in.weight)
    pipelines.save_or_point(loaded, tmp_path / "pointed", trained=False)
    record = json.loads((tmp_path / "pointed" / pipelines.POINTER).read_text())
    parts = (expected.vae, expected.unet, expected.text_encoder)
    assert record == {"base": "org/derm", "commit": COMMITS[revision], "weights_sha256": weights.sha256(*parts)}


def test_a_run_keeps_its_commit_when_the_branch_moves_on(hub, tmp_path):
    before = pipelines.load("org/derm")
    pipelines.save_or_point(before, tmp_path / "pointed", trained=False)
    (hub / "refs" / "main").write_text(COMMITS["v1"])
    assert not torch.equal(pipelines.load("org/derm").unet.conv_in.weight, before.unet.conv_in.weight)
    assert torch.equal(pipelines.load(tmp_path / "pointed").unet.conv_in.weight, before.unet.conv_in.weight)


def test_a_revision_that_neither_hub_nor_cache_knows_is_named(hub):
    with pytest.raises(pipelines.BaseError, match=r"org/derm@v9.*Cannot resolve revision 'v9'.*id@revision"):
        pipelines.load("org/derm@v9")


def test_a_text_encoder_is_pinned_alike(hub, tmp_path):
    snapshot = hub / "snapshots" / COMMITS["v1"]
    for part in ("text_encoder", "tokenizer"):  # as the hub holds a text encoder, in no subfolder
        shutil.copytree(snapshot / part, snapshot, dirs_exist_ok=True)
    baseline = pixel_baselines.build("scratch-unet", side=32, text_encoder="org/derm@v1")
    baseline.save(tmp_path)
    record = json.loads((tmp_path / pixel_baselines.RECORD).read_text())
    assert record["text_encoder"] == f"org/derm@{COMMITS['v1']}"
    assert record["text_sha256"] == baseline.text.sha256()
    (hub / "refs" / "v1").write_text(COMMITS["main"])
    assert pixel_baselines.load(tmp_path).text.sha256() == baseline.text.sha256()
