"""Weights that cannot be had or used are named before the first notebook; those that ship are not looked at."""

import importlib
import json
import os

import pytest

from p2d_lib.parameters import profile


@pytest.fixture
def weights_check(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return importlib.import_module("weights_check")


def test_no_process_is_started_for_what_ships(weights_check, monkeypatch):
    monkeypatch.setattr(weights_check.subprocess, "run", None)
    assert weights_check.problems(profile("smoke")) == []


def test_ids_backbones_and_folders_that_cannot_be_are_named_all_at_once(weights_check, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{weights_check.REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionInpaintPipeline"}))
    values = profile("smoke")
    values["02_describe"]["captioner_model"] = "gpt2"
    values["03_finetune"] |= {"base": str(tmp_path), "scout_backbone": "resnet999"}
    values["06_classify"]["backbone"] = "resnet18:IMAGENET1K_V9"
    values["04_sample"]["sweep_extractor"] = "clip:" + str(tmp_path)
    values["05_fidelity"]["extractors"] = ["dinov2_vitl14", "efficientnet_lite0"]
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    first, second, eye, judge, third, fourth = weights_check.problems(values)
    assert eye.startswith(
        "05_fidelity.extractors: dinov2_vitl14: 'timm/vit_large_patch14_dinov2.lvd142m' cannot be loa"
    )
    assert judge.startswith("04_sample.sweep_extractor: clip:") and "is no model of open_clip" in judge
    assert first.startswith("02_describe.captioner_model: 'gpt2' cannot be loaded (")
    assert second == (
        f"03_finetune.base: {tmp_path}: its pipeline is StableDiffusionInpaintPipeline; expected "
        "StableDiffusionPipeline or StableDiffusionXLPipeline"
    )
    assert third.startswith("03_finetune.scout_backbone: 'resnet999': no backbone 'resnet999': did you mean 'resn")
    assert fourth.endswith(
        "'resnet18:IMAGENET1K_V9': resnet18 has no weights 'IMAGENET1K_V9'; there are IMAGENET1K_V1, DEFAULT"
    )
