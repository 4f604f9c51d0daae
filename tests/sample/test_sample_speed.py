"""The benchmark of drawing, in small: what it measures and what it says last."""

import importlib.util
from pathlib import Path

import pytest

from p2d_lib.models import diffusion
from p2d_lib.sample import sampler

SMALL = ["--images", "4", "--alone", "1", "--rounds", "2", "--batch", "2", "--steps", "2"]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setenv("P2D_DEVICE", "cpu")
    spec = importlib.util.spec_from_file_location(
        "sample_speed", Path(__file__).parents[2] / "benchmarks" / "sample_speed.py"
    )
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(diffusion, "load", lambda *_: diffusion.tiny_pipeline(0))
    monkeypatch.setattr(benchmark, "FITTED", 14)
    monkeypatch.setattr(benchmark, "REAL", 14)
    monkeypatch.setattr(benchmark, "FITTING", 2)
    return benchmark


def test_sides_take_turns_are_judged_beside_real_images_and_the_ratio_comes_last(benchmark, capsys):
    benchmark.main(SMALL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:6]] == ["one at a time", "batched", "ours"] * 2
    assert [line.split(":")[0] for line in lines[6:9]] == ["real", "batched", "ours"]
    assert float(lines[-1].removeprefix("ratio ")) > 0


def test_an_adapter_is_drawn_with_by_both_sides(benchmark, capsys, monkeypatch):
    drawn = []
    generators = sampler.generators
    monkeypatch.setattr(
        sampler, "generators", lambda pipe, *rest, **how: drawn.append(pipe) or generators(pipe, *rest, **how)
    )
    benchmark.main([*SMALL, "--adapter"])
    assert drawn[0].unet.peft_config
    assert "as asked" not in capsys.readouterr().out
