"""Pipelines that cannot be a base are refused in one sentence, from their configuration, before weights are loaded."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from p2d_lib.models import base_fitness, pipelines
from p2d_lib.models.tiny_base import TINY

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@pytest.fixture
def folder(tmp_path) -> Path:
    """The small files of the base that ships, and files of weights without a tensor."""
    for path in TINY.rglob("*.json"):
        target = tmp_path / path.relative_to(TINY)
        target.parent.mkdir(exist_ok=True)
        target.write_text(path.read_text())
    for part, name in WEIGHTS.items():
        save_file({}, tmp_path / part / f"{name}.safetensors")
    return tmp_path


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def variant_only(folder: Path) -> None:
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(
        folder / "unet/diffusion_pytorch_model.fp16.safetensors"
    )


def flow_matching(folder: Path) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    (folder / "scheduler/scheduler_config.json").write_text('{"num_train_timesteps": 1000, "shift": 3.0}')


def unet_weights(folder: Path) -> Path:
    return folder / "unet/diffusion_pytorch_model.safetensors"


def linked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def one_below(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "model_index.json").rename(folder / "inner" / "model_index.json")


MISFITS = {
    "inpainting": (lambda f: change(f / "unet/config.json", in_channels=9), "takes 9 channels .* makes 8: a base for"),
    "pix2pix": (
        lambda f: change(f / "model_index.json", _class_name="StableDiffusionInstructPix2PixPipeline"),
        "its pipeline is StableDiffusionInstructPix2PixPipeline; expected StableDiffusionPipeline or",
    ),
    "own class": (lambda f: change(f / "model_index.json", _class_name="MyPipeline"), "its pipeline is MyPipeline"),
    "flow matching": (flow_matching, "its scheduler is FlowMatchEulerDiscreteScheduler, which has no noise schedule"),
    "other autoencoder": (
        lambda f: change(f / "model_index.json", vae=["diffusers", "AutoencoderTiny"]),
        "its vae is of class AutoencoderTiny; expected AutoencoderKL",
    ),
    "no text": (lambda f: change(f / "model_index.json", text_encoder=[None, None]), "it has no text_encoder"),
    "other width": (lambda f: change(f / "unet/config.json", cross_attention_dim=768), "text embeddings of width 768"),
    "clean images": (
        lambda f: change(f / "scheduler/scheduler_config.json", prediction_type="sample"),
        "predicts 'sample'; expected epsilon or v_prediction",
    ),
    "variant": (variant_only, r"unet holds only diffusion_pytorch_model\.fp16\.safetensors; save .* without variant"),
    "no weights": (lambda f: (f / "vae/diffusion_pytorch_model.safetensors").unlink(), "vae holds no weights"),
    "pointer": (
        lambda f: (f / "unet/diffusion_pytorch_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"),
        r"unet/diffusion_pytorch_model\.safetensors is a pointer of Git LFS",
    ),
    "no index": (lambda f: (f / "model_index.json").unlink(), r"model_index\.json cannot be read .*diffusers layout"),
    "text in place of weights": (lambda f: unet_weights(f).write_text("my weights"), "is no whole file of weights"),
    "cut weights": (lambda f: unet_weights(f).write_bytes(unet_weights(f).read_bytes()[:9]), "is no whole file of w"),
    "link to nothing": (lambda f: linked(unet_weights(f), "../blobs/abc"), r"whole file of weights \(No such file"),
    "link to itself": (lambda f: linked(unet_weights(f), unet_weights(f).name), r"weights \(Too many levels of sym"),
    "half an entry": (lambda f: change(f / "model_index.json", unet=["diffusers"]), "it has no unet; a text-to-image"),
    "no width": (lambda f: change(f / "text_encoder/config.json", hidden_size=None), "has hidden_size None; expected"),
    "noise in words": (
        lambda f: change(f / "scheduler/scheduler_config.json", beta_start="small"),
        "its scheduler has beta_start 'small'; expected a number above 0",
    ),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "it has no folder tokenizer"),
    "one folder below": (one_below, r"\(inner in it has one: name that folder\)"),
    "nested too deeply": (lambda f: (f / "unet/config.json").write_text("[" * 100_000), r"unet/config\.json cannot be"),
    "no JSON": (lambda f: (f / "unet/config.json").write_text("<html>"), r"unet/config\.json cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISFITS)
def test_what_is_no_base_is_refused_before_weights_are_loaded(folder, kind):
    spoil, sentence = MISFITS[kind]
    spoil(folder)
    with pytest.raises(pipelines.BaseError, match=sentence) as error:
        pipelines.load(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"base": 3}', "[" * 100_000])
def test_a_pointer_that_names_no_base_is_named(tmp_path, content):
    (tmp_path / base_fitness.POINTER).write_text(content)
    with pytest.raises(pipelines.BaseError, match=r"pointer\.json: is no pointer to a base; remove it, or run 03_fine"):
        pipelines.load(tmp_path)


def test_the_base_that_ships_and_its_copy_are_fit(folder):
    assert base_fitness.misfit_of_folder(folder) == base_fitness.misfit_of_folder(TINY) == ""


def test_weights_that_cannot_be_loaded_are_one_sentence(folder):
    with pytest.raises(pipelines.BaseError, match=r"cannot be loaded \(.+\): give tiny, random, a folder"):
        pipelines.load(folder)


def test_a_tokenizer_without_a_length_takes_that_of_the_text_encoder(tmp_path):
    pipelines.save(pipelines.load("random", seed=1), tmp_path / "base")
    path = tmp_path / "base" / "tokenizer" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("model_max_length")
    path.write_text(json.dumps(config))
    pipe = pipelines.load(tmp_path / "base")
    assert pipe.tokenizer.model_max_length == pipe.text_encoder.config.max_position_embeddings
