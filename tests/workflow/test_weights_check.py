"""Weights that cannot be had or used are named before the first notebook; those that ship are not looked at."""

import importlib
import json

import pytest

from p2d_lib.parameters import profile


@pytest.fixture
def weights_check(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return importlib.import_module("weights_check")


def test_no_process_is_started_for_what_ships(weights_check, monkeypatch):
    monkeypatch.setattr(weights_check.subprocess, "run", None)
    values = profile("smoke")
    assert weights_check.problems(values) == []
    values["03_finetune"]["base"] = "/no/such/folder"  # which request.py names
    assert weights_check.problems({name: values[name] for name in ("02_describe", "03_finetune")}) == []


def test_ids_backbones_and_folders_that_cannot_be_are_named_all_at_once(weights_check, tmp_path, monkeypatch):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionInpaintPipeline"}))
    values = profile("smoke")
    values["02_describe"]["captioner_model"] = "gpt2"
    values["03_finetune"] |= {"base": str(tmp_path), "scout_backbone": "resnet999"}
    values["06_classify"] |= {"backbone": "resnet18:IMAGENET1K_V9", "study_backbone": "resnet999"}
    values["04_sample"]["sweep_extractor"] = "clip:" + str(tmp_path)
    values["05_fidelity"]["extractors"] = ["dinov2_vitl14", "efficientnet_lite0"]
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    values["07_readers"]["clip_models"] = ["ViT-B-32", "hf-hub:nobody/nothing"]
    first, second, judge, eye, clip, third, fourth, fifth = weights_check.problems(values)
    assert eye.startswith(
        "05_fidelity.extractors: dinov2_vitl14: 'timm/vit_large_patch14_dinov2.lvd142m' cannot be loa"
    )
    assert judge.startswith("04_sample.sweep_extractor: clip:") and "is no model of open_clip" in judge
    assert clip.startswith("07_readers.clip_models: 'nobody/nothing' cannot be loaded (")
    assert first.startswith("02_describe.captioner_model: 'gpt2' cannot be loaded (")
    assert second == (
        f"03_finetune.base: {tmp_path}: its pipeline is StableDiffusionInpaintPipeline; expected "
        "StableDiffusionPipeline or StableDiffusionXLPipeline"
    )
    assert third.startswith("03_finetune.scout_backbone: 'resnet999': no backbone 'resnet999': did you mean 'resn")
    assert fifth.startswith("06_classify.study_backbone: 'resnet999': no backbone")
    assert fourth.endswith(
        "'resnet18:IMAGENET1K_V9': resnet18 has no weights 'IMAGENET1K_V9'; there are IMAGENET1K_V1, DEFAULT"
    )


def test_a_dry_run_of_the_paper_names_the_weights_and_the_steps_of_the_vision_language_model(weights_check):
    readers = dict(weights_check.listed(profile("paper"))["07_readers"])
    assert readers["vlm_model"].startswith("microsoft/llava-med-v1.5-mistral-7b (brought into transformers' layout")
    assert readers["vlm_model"].endswith("read as it comes, fitted on train (LoRA), read again)")
    assert weights_check.listed(profile("smoke")) == {}
