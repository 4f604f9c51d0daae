"""Processes that share a training wait for one another as long as the slowest work of one of them takes."""

import socket
from datetime import timedelta

import pytest
import torch
from accelerate import PartialState

from p2d_lib.models.processes import LONGEST_WAIT, processes


@pytest.fixture
def one_of_torchrun(monkeypatch):
    """The variables that torchrun sets, for a single process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", **address}.items():
        monkeypatch.setenv(name, value)
    PartialState._reset_state()
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    PartialState._reset_state()


def test_a_process_waits_hours_for_another_that_samples_previews(one_of_torchrun):
    assert processes(torch.device("cpu")).num_processes == 1
    backend = torch.distributed.group.WORLD._get_backend(torch.device("cpu"))
    assert backend.options._timeout == LONGEST_WAIT >= timedelta(hours=6)
