"""The benchmark of vision-language readers, in small: what it claims holds here, and a reader that fails is named."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from p2d_lib.models import vlm_likelihood

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "vlm_gpu.py"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setenv("P2D_DEVICE", "cpu")
    spec = importlib.util.spec_from_file_location("vlm_gpu", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_of_that_layout_is_converted_read_and_fitted_and_all_claims_hold(benchmark, capsys):
    assert benchmark.main(["--small", "--checkpoint"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("holds: ") == 5 and "FAILS" not in printed
    for what in ("by likelihood", "in words, 8 tokens"):
        assert len(re.findall(rf"^{what}: [\d.]+ images a second$", printed, re.M)) == 2, "before and after the fit"
    assert re.search(r"^fitting: [\d.]+ s a step of 16 images, 4 at once$", printed, re.M)
    assert "read as planted: 16 of 16" in printed


def test_a_reading_that_depends_on_the_batch_is_told_and_ends_with_an_error(benchmark, capsys, monkeypatch):
    exact = vlm_likelihood.log_likelihoods

    def leaking(vlm, images, question, options, batch_size=8):
        sums, lengths = exact(vlm, images, question, options, batch_size)
        return sums + np.float32(0.01 * (batch_size > 1)), lengths

    monkeypatch.setattr(vlm_likelihood, "log_likelihoods", leaking)
    assert benchmark.main(["--small", "--steps", "2"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("FAILS: ") == 3, "both readings, and a loss that had two steps to fall"
    assert "FAILS: alone or in a batch: " in printed and "FAILS: the loss falls" in printed
