"""Adapters, classifiers and checkpoints that somebody brings or that a disk has spoilt: whole, or refused by name."""

import copy
import json
import shutil

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from p2d_lib.artefacts import ADAPTER_WEIGHTS
from p2d_lib.models import classifiers, lora, pipelines
from p2d_lib.models.checkpoints import Checkpoints
from p2d_lib.models.weights import WeightsError
from p2d_lib.vocabulary import DX

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plain():
    return pipelines.load("random", seed=1)


@pytest.fixture(scope="module")
def adapter(plain, tmp_path_factory):
    """The folder of an adapter that fits `plain`."""
    folder, pipe = tmp_path_factory.mktemp("adapter"), fresh(plain)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    pipe.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    return folder


def fresh(pipe):
    return type(pipe)(**pipe.components | {"unet": copy.deepcopy(pipe.unet)})


def tensors(change):
    """What puts changed tensors in place of an adapter's."""
    return lambda file: save_file(
        {k: v.contiguous() for k, v in change(load_file(file)).items()}, file, {"format": "pt"}
    )


def renamed(old, new):
    return tensors(lambda held: {name.replace(old, new): value for name, value in held.items()})


def of_first(change):
    """Changes the first tensor of a file."""
    return tensors(lambda held: held | {(name := next(iter(held))): change(held[name])})


ADAPTERS = {
    "is not there": (lambda file: file.unlink(), "there is no such file"),
    "is empty": (lambda file: file.write_bytes(b""), "not a readable safetensors file"),
    "is cut": (lambda file: file.write_bytes(file.read_bytes()[:3000]), "not a readable safetensors file"),
    "holds no tensor": (tensors(lambda held: {}), "holds 0 tensors"),
    "holds NaN": (of_first(lambda value: value * float("nan")), "to_q.lora_A.weight holds a value that is not finite"),
    "holds an infinite value": (of_first(lambda value: value / 0), "holds a value that is not finite"),
    "has layers that the base lacks": (renamed("down_blocks.1", "down_blocks.7"), r"holds \d+ tensors, and the base t"),
    "lacks one half of a layer": (
        tensors(lambda held: dict(list(held.items())[1:])),
        r"holds \d+ tensors, and the base takes \d+ of such an adapter",
    ),
    "is peft's": (renamed("unet.", "base_model.model."), r"and the base takes 0 of such"),
    "is of a transformer": (renamed("unet.", "transformer."), r"and the base takes 0 of such"),
    "has other shapes": (of_first(lambda value: value.repeat(1, 2)), r"does not fit the base \(.*size mismatch for"),
    "holds the base's weights": (renamed("lora_A.", ""), "does not fit the base"),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_that_is_not_whole_or_of_another_base_is_refused_by_its_file(plain, adapter, tmp_path, kind):
    spoil, sentence = ADAPTERS[kind]
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    spoil(folder / ADAPTER_WEIGHTS)
    with pytest.raises(WeightsError, match=rf"(?s){ADAPTER_WEIGHTS}: .*{sentence}.*run 03_finetune again") as refused:
        lora.load(fresh(plain), folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("change", [lambda value: value, torch.Tensor.half], ids=["as it is", "in half precision"])
def test_an_adapter_that_fits_is_loaded(plain, adapter, tmp_path, change):
    shutil.copytree(adapter, tmp_path / "adapter")
    tensors(lambda held: {name: change(value) for name, value in held.items()})(tmp_path / "adapter" / ADAPTER_WEIGHTS)
    pipe = fresh(plain)
    lora.load(pipe, tmp_path / "adapter")
    merged, before = lora.merge(pipe).unet.state_dict(), plain.unet.state_dict()
    moved = {name for name in before if not torch.equal(before[name], merged[name])}
    assert moved == {name for name in before if name.endswith((".to_q.weight", ".to_v.weight"))}


def test_a_base_with_a_value_that_is_not_finite_is_refused(plain, tmp_path):
    pipelines.save(plain, tmp_path)
    file = next((tmp_path / "vae").glob("*.safetensors"))
    of_first(lambda value: value * float("nan"))(file)
    with pytest.raises(
        pipelines.BaseError, match=r"of its \w+ holds a value that is not finite; download or copy the base again"
    ):
        pipelines.load(tmp_path)


def config(**values):
    def change(folder):
        path = folder / "classifier.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


CLASSIFIERS = {
    "of other classes": (config(classes=DX[::-1]), "its classes are vasc, nv, .* expected akiec, bcc"),
    "of another backbone": (config(backbone="three_conv"), "no readable classifier"),
    "of other features": (config(n_features=5), "no readable classifier .*size mismatch"),
    "without its configuration": (lambda folder: (folder / "classifier.json").unlink(), "no readable classifier"),
    "with half a configuration": (lambda folder: (folder / "classifier.json").write_text('{"back'), "no readable clas"),
    "cut": (lambda folder: (folder / classifiers.WEIGHTS).write_bytes(b"\x10"), "no readable classifier"),
    "with NaN": (lambda folder: of_first(lambda v: v * float("nan"))(folder / classifiers.WEIGHTS), "not finite"),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_that_is_not_whole_or_reads_other_classes_is_refused(tmp_path, kind):
    spoil, sentence = CLASSIFIERS[kind]
    classifiers.save(classifiers.build("tiny_resnet", n_features=2, seed=0), tmp_path / "scout")
    classifiers.load(tmp_path / "scout", CPU)
    spoil(tmp_path / "scout")
    with pytest.raises(WeightsError, match=rf"scout.*: .*{sentence}.*; run the notebook that made it again"):
        classifiers.load(tmp_path / "scout", CPU)


@pytest.mark.parametrize("content", [{"weight": torch.ones(2)}, torch.ones(2), [1]], ids=["weights", "tensor", "list"])
def test_a_file_of_another_kind_in_place_of_a_checkpoint_is_named_and_the_fit_begins_at_zero(tmp_path, capsys, content):
    torch.save(content, tmp_path / "scout.pt")
    assert Checkpoints(tmp_path).of("scout", "key").load(CPU) is None
    assert capsys.readouterr().out == "scout: begins at step 0; scout.pt is no checkpoint of a fit\n"
