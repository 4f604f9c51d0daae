"""The measurement of growth finds planted exponents and a planted matrix of all pairs."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SPEC = importlib.util.spec_from_file_location("growth", Path(__file__).parents[2] / "benchmarks" / "growth.py")
growth = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(growth)

PLANTED = {
    "linear": lambda n, _: lambda: sum(range(2000 * n)),
    "quadratic": lambda n, _: lambda: sum(range(n * n)),
    "all pairs": lambda n, _: lambda: np.ones((n, n)).sum(),
    "fails": lambda n, _: lambda: 1 / 0,
}


def in_a_process_of_its_own(expression):
    """Its value there: what a child may reuse of the memory of this large process is no measure of growth."""
    code = (
        f"import test_growth; from test_growth import PLANTED, growth; growth.KERNELS = "
        f"{{name: ('00', build) for name, build in PLANTED.items()}}; print(__import__('json').dumps({expression}))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(growth, "KERNELS", {name: ("00", build) for name, build in PLANTED.items()})


def test_a_linear_and_a_quadratic_kernel_are_told_apart_and_a_matrix_of_all_pairs_is_seen(planted):
    seconds = {name: [growth.measured(name, n, 60)[0] for n in (1000, 4000)] for name in ("linear", "quadratic")}
    exponents = {name: np.log(late / early) / np.log(4) for name, (early, late) in seconds.items()}
    assert exponents["linear"] == pytest.approx(1, abs=0.4) and exponents["quadratic"] == pytest.approx(2, abs=0.4)
    memory = in_a_process_of_its_own("{name: growth.measured(name, 3000, 60)[1] for name in ('linear', 'all pairs')}")
    assert memory["all pairs"] == pytest.approx(3000**2 * 8 / 1e6, rel=0.1) and memory["linear"] < 5


def test_what_takes_too_long_or_fails_has_no_reading(planted, capfd):
    assert growth.measured("quadratic", 100_000, 0.5) is None
    assert growth.measured("fails", 10, 60) is None
    assert "ZeroDivisionError" in capfd.readouterr().err
