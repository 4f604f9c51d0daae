"""The benchmark of vision-language readers, in small: it prints every reading that it is about."""

import importlib.util
import re
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "vlm_gpu.py"


def test_a_model_of_that_layout_is_converted_read_fitted_and_read_again_and_each_is_timed(monkeypatch, capsys):
    monkeypatch.setenv("P2D_DEVICE", "cpu")
    spec = importlib.util.spec_from_file_location("vlm_gpu", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    assert benchmark.main(["--small", "--checkpoint", "--steps", "3"]) == 0
    printed = capsys.readouterr().out
    for what in ("by likelihood", "in words, 8 tokens"):
        assert len(re.findall(rf"^{what}: [\d.]+ images a second$", printed, re.M)) == 2, "before and after the fit"
    assert re.search(r"^fitting: [\d.]+ s a step of 16 images, 4 at once$", printed, re.M)
    apart = re.findall(r"likelihoods ([\d.e+-]+) of their range apart", printed)
    assert len(apart) == 2 and all(float(share) < 1e-5 for share in apart)
