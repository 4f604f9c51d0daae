"""The benchmark of sampling, in small: what it measures and what it prints last."""

import importlib.util
from pathlib import Path

import pytest

from p2d_lib.models import pipelines, tiny_base

SMALL = ["--images", "2", "--alone", "1", "--rounds", "2", "--batch", "2", "--steps", "1", "--size", "32"]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setenv("P2D_DEVICE", "cpu")
    spec = importlib.util.spec_from_file_location(
        "sample_speed", Path(__file__).parents[2] / "benchmarks" / "sample_speed.py"
    )
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(pipelines, "load", lambda *_: tiny_base.tiny_pipeline(0))
    for name, small in {"FITTED": 14, "FITTING": 2, "REAL": 14, "ALONE": 2}.items():
        monkeypatch.setattr(benchmark, name, small)
    return benchmark


def test_sides_take_turns_are_judged_beside_real_images_and_the_ratio_comes_last(benchmark, capsys):
    benchmark.main(SMALL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:6]] == ["one at a time", "batched", "ours"] * 2
    assert [line.split(":")[0] for line in lines[6:9]] == ["real", "batched", "ours"]
    assert float(lines[-1].removeprefix("ratio ")) > 0
