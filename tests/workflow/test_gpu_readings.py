"""gpu.sh writes down what the benchmarks print, beside the targets that it reaches and misses."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

GPU = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"
PYTHON = """#!/bin/sh
case "$1" in
    */train_speed.py) printf 'plain: 30.10 images/s\\nH100, bfloat16: ours computes at {share}%% of the rate\\nratio {training}\\n' ;;
    */sample_speed.py) printf 'ours: {rate} images a second\\nratio {sampling}\\n' ;;
    *) echo "a scripted GPU" ;;
esac
"""  # noqa: E501


@pytest.mark.parametrize(
    ("readings", "reached"),
    [
        ({"share": 44, "training": 2.31, "rate": 23.5, "sampling": 2.02}, [True, True, True, True]),
        ({"share": 39, "training": 1.99, "rate": 19.9, "sampling": 1.5}, [False, False, False, False]),
        ({"share": 9, "training": 10.5, "rate": 100.0, "sampling": 1.5}, [True, False, False, True]),
    ],
)
def test_each_target_is_reached_or_missed_by_what_was_printed(readings, reached, tmp_path):
    python = tmp_path / "python"
    python.write_text(PYTHON.format(**readings))
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    results = tmp_path / "SPEED.md"
    results.write_text("# Speed\n")
    command = ["bash", str(GPU), "--small", str(results)]
    done = subprocess.run(command, env={**os.environ, "PYTHON": str(python)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = results.read_text()
    assert text.startswith("# Speed\n") and "## On a GPU: a scripted GPU" in text
    training, sampling = (line for line in text.splitlines() if line.startswith("| 2"))
    words = {True: "reached", False: "missed"}
    assert f"at least twice: {words[reached[0]]}; 40 % of the product's rate: {words[reached[1]]}" in training
    assert f"at least twice: {words[reached[2]]}; 20 images a second: {words[reached[3]]}" in sampling
    assert f"ratio {readings['training']}" in training and "`train_speed.py --images 16" in training
