"""The benchmark of training runs, in small."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "train_speed.py"


def test_both_sides_are_measured_and_the_ratio_comes_last(capsys, monkeypatch):
    monkeypatch.setenv("P2D_DEVICE", "cpu")
    spec = importlib.util.spec_from_file_location("train_speed", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.main(["--size", "32", "--batch-size", "2", "--images", "4", "--steps", "5", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    plain, ours = (float(line.split()[1]) for line in lines[1:3])
    assert [line.split(":")[0] for line in lines[1:3]] == ["plain", "ours"]
    assert float(lines[-1].removeprefix("ratio ")) == pytest.approx(ours / plain, abs=0.02)
