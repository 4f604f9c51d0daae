"""Claims about P2D_DEVICE: what it may say, what it means for one of several processes, what is refused at once."""

import os
import subprocess
import sys

import pytest
import torch

from p2d_lib import device


@pytest.mark.parametrize(("precision", "dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_cpu_computes_in_bfloat16_only_where_it_is_told_to(precision, dtype):
    layer = torch.nn.Linear(2, 2)
    with device.half(torch.device("cpu"), precision):
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision is 'half': write auto, float32, bfloat16"):
        device.half(torch.device("cpu"), "half")


@pytest.fixture
def cards(monkeypatch):
    """A machine with four NVIDIA cards, as far as PyTorch is asked; nothing computes on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("P2D_DEVICE", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", ["", "cuda"])
def test_each_process_of_several_gets_its_own_card(cards, name):
    devices = []
    for rank in range(4):
        cards.setenv("P2D_DEVICE", name)
        cards.setenv("LOCAL_RANK", str(rank))
        devices.append(str(device.set_up()))
        assert os.environ["P2D_DEVICE"] == devices[-1]  # which provenance records
    assert devices == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]


@pytest.mark.parametrize(("name", "expected"), [("cuda:2", "cuda:2"), ("cpu", "cpu")])
def test_a_device_named_in_full_is_used_by_every_process(cards, name, expected):
    cards.setenv("P2D_DEVICE", name)
    cards.setenv("LOCAL_RANK", "1")
    assert str(device.set_up()) == expected


@pytest.mark.parametrize("name", ["gpu", "GPU", "cuda:", "cuda1", "tpu"])
def test_a_name_that_is_no_device_is_refused_with_what_may_be_written(monkeypatch, name):
    monkeypatch.setenv("P2D_DEVICE", name)
    for read in (device.requested, device.set_up):
        with pytest.raises(device.DeviceError, match=rf"^P2D_DEVICE={name}: no such device; write cpu, cuda"):
            read()


def test_gpu_is_probably_cuda(monkeypatch):
    monkeypatch.setenv("P2D_DEVICE", "gpu")
    with pytest.raises(device.DeviceError, match="did you mean cuda"):
        device.requested()


@pytest.mark.parametrize(("name", "lack"), [("cuda:7", "has 4 of them"), ("mps", "no Apple GPU")])
def test_a_device_that_this_machine_lacks_is_refused(cards, name, lack):
    cards.setattr(torch.backends.mps, "is_available", lambda: False)
    cards.setenv("P2D_DEVICE", name)
    with pytest.raises(device.DeviceError, match=lack):
        device.set_up()


def test_cuda_without_a_card_is_refused_in_a_sentence(cards):
    cards.setattr(torch.cuda, "is_available", lambda: False)
    cards.setenv("P2D_DEVICE", "cuda")
    with pytest.raises(device.DeviceError, match="P2D_DEVICE=cuda: PyTorch finds no NVIDIA GPU here"):
        device.set_up()


def test_the_name_can_be_checked_without_loading_torch():
    code = "import sys; from p2d_lib.device import requested; requested(); print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "False"
