"""What the driver says on a machine whose cores others keep busy."""

import importlib
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "workflow"))
    return importlib.import_module("processes")


def test_a_process_that_keeps_a_core_busy_is_noticed_and_idle_cores_are_not(processes, monkeypatch):
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert max(processes.busy_cores() for _ in range(5)) > processes.BUSY
    finally:
        spinning.kill()
        spinning.wait()
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: [2.0] * (psutil.cpu_count() or 1))
    assert processes.advice_on_cores(psutil.cpu_count(), processes.busy_cores()) == ""


def test_fewer_cores_are_advised_only_where_others_keep_some_busy(processes):
    assert "--cores 1 may be faster" in processes.advice_on_cores(2, busy=1.1)
    assert "--cores 13 may be faster" in processes.advice_on_cores(16, busy=2.4)
    assert processes.advice_on_cores(2, busy=0.2) == "" and processes.advice_on_cores(1, busy=3.0) == ""
