"""Claims about checkpoints: the same work takes them up, other work and damaged files do not, the clock says when they
are due."""

import struct

import pytest
import torch

from p2d_lib.models import checkpoints
from p2d_lib.models.checkpoints import Checkpoints

CPU = torch.device("cpu")


def _parts(value: float) -> dict:
    weight = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(weight.weight, value)
    return {"model": weight, "optimizer": torch.optim.AdamW(weight.parameters(), lr=1e-3)}


def test_the_same_work_gets_its_state_and_log_back(tmp_path, capsys):
    of = Checkpoints(tmp_path).of
    of("scout", "key").store(_parts(3.0), [{"step": 0}, {"step": 1}])
    parts = _parts(0.0)
    assert of("scout", "key").restore(parts, CPU) == [{"step": 0}, {"step": 1}]
    assert parts["model"].weight.tolist() == [[3.0, 3.0]]
    assert "scout: continues after step 2" in capsys.readouterr().out


def test_other_work_begins_at_zero_and_says_so(tmp_path, capsys):
    of = Checkpoints(tmp_path).of
    of("scout", "key").store(_parts(3.0), [{"step": 0}])
    parts = _parts(0.0)
    assert of("scout", "other").restore(parts, CPU) == []
    assert parts["model"].weight.tolist() == [[0.0, 0.0]]
    assert "scout: begins at step 0; a checkpoint of step 1" in capsys.readouterr().out
    assert of("alignment", "key").restore(parts, CPU) == []  # where there is none, nothing is said
    assert capsys.readouterr().out == ""


def _with_a_changed_bit(data: bytes) -> bytes:
    weight = struct.pack("<f", 3.0)
    assert weight in data
    return data.replace(weight, struct.pack("<f", 3.0000002), 1)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"<html>moved</html>", _with_a_changed_bit],
    ids=["emptied", "cut", "another file", "one bit"],
)
def test_a_damaged_checkpoint_is_named_and_the_fit_begins_at_zero(tmp_path, capsys, damage):
    of, file = Checkpoints(tmp_path).of, tmp_path / "scout.pt"
    of("scout", "key").store(_parts(3.0), [{"step": 0}])
    file.write_bytes(damage(file.read_bytes()))
    parts = _parts(0.0)
    assert of("scout", "key").restore(parts, CPU) == []
    assert parts["model"].weight.tolist() == [[0.0, 0.0]]
    assert "scout: begins at step 0; scout.pt is damaged and is not read" in capsys.readouterr().out


@pytest.mark.parametrize(("minutes", "due"), [(10.0, [False, False, True, False]), (0.0, [True] * 4)])
def test_a_checkpoint_is_due_when_its_minutes_have_passed_since_the_last(tmp_path, monkeypatch, minutes, due):
    now = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    checkpoint, state = Checkpoints(tmp_path, minutes).of("scout", "key"), []
    for seconds in (0, 599, 600, 1199):
        now[0] = 100.0 + seconds
        state.append(checkpoint.due())
        if state[-1]:
            checkpoint.store(_parts(0.0), [])
    assert state == due
