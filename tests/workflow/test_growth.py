"""The measurement of growth finds planted exponents and a planted matrix of all pairs."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2d_lib.files import sha256

SPEC = importlib.util.spec_from_file_location("growth", Path(__file__).parents[2] / "benchmarks" / "growth.py")
growth = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(growth)
growth_kernels = sys.modules["growth_kernels"]

PLANTED = {
    "linear": lambda n, _: lambda: sum(range(2000 * n)),
    "quadratic": lambda n, _: lambda: sum(range(n * n)),
    "all pairs": lambda n, _: lambda: np.ones((n, n)).sum(),
    "fails": lambda n, _: lambda: 1 / 0,
}
PLANTED = {name: growth_kernels.Kernel("00", name, build) for name, build in PLANTED.items()}


def in_a_process_of_its_own(expression):
    """Its value there: what a child may reuse of the memory of this large process is no measure of growth."""
    code = (
        f"from test_growth import PLANTED, growth; growth.KERNELS = PLANTED; "
        f"print(__import__('json').dumps({expression}))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(growth, "KERNELS", PLANTED)


def test_a_linear_and_a_quadratic_kernel_are_told_apart_and_a_matrix_of_all_pairs_is_seen(planted):
    seconds = {name: [growth.measured(name, n, 60)[0] for n in (1000, 4000)] for name in ("linear", "quadratic")}
    exponents = {name: np.log(late / early) / np.log(4) for name, (early, late) in seconds.items()}
    assert exponents["linear"] == pytest.approx(1, abs=0.4) and exponents["quadratic"] == pytest.approx(2, abs=0.4)
    memory = in_a_process_of_its_own("{name: growth.measured(name, 3000, 60)[1] for name in ('linear', 'all pairs')}")
    assert memory["all pairs"] == pytest.approx(3000**2 * 8 / 1e6, rel=0.1) and memory["linear"] < 5


def test_what_takes_too_long_or_fails_has_no_reading_and_without_any_there_is_no_table(planted, capfd, monkeypatch):
    assert growth.measured("quadratic", 100_000, 1) is None
    assert growth.measured("fails", 10, 60) is None
    assert "ZeroDivisionError" in capfd.readouterr().err
    monkeypatch.setattr(sys, "argv", ["growth.py", "--only", "fails", "--sizes", "10"])
    with pytest.raises(SystemExit, match="nothing ended within 60 s: give a longer --limit"):
        growth.main()


def test_one_run_gives_the_table_with_both_exponents_and_the_figure(planted, tmp_path):
    table = pd.DataFrame(
        [("quadratic", n, 2e-6 * n**2, 0.01 * n) for n in (1000, 10_000)] + [("linear", 1000, 0.5, 0.1)],
        columns=["kernel", "n", "seconds", "mb"],
    )
    results = tmp_path / "SPEED.md"
    results.write_text(f"before\n{growth.BEGIN}\nan old table\n{growth.END}\nafter\n")
    growth.write(growth.printed(table), results)
    lines = results.read_text().splitlines()
    assert "| 00 quadratic | 2.00 s, 10 MB | 200.00 s, 100 MB | 2.0 | 1.0 |" in lines
    assert "| 00 linear | 0.50 s, 0 MB |  |  |  |" in lines, "no exponent of one size"
    assert (lines[0], lines[-1]) == ("before", "after") and "an old table" not in lines
    growth.figure(table, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    results.write_text("no place")
    with pytest.raises(ValueError, match="put them where the table belongs"):
        growth.write("", results)


def test_kernels_do_their_work_on_all_images(tmp_path):
    kernels, results = growth.KERNELS, {}
    for name in ("batches", "form", "events", "known", "copying", "auc"):
        (tmp_path / name).mkdir()
        results[name] = kernels[name].build(50, tmp_path / name)()
    assert results["known"] == sha256(tmp_path / "known" / "made")
    assert len(results["batches"]) == 200 and min(results["batches"]) < max(results["batches"])
    assert 0.2 < results["auc"] < 0.8 and results["copying"].p > 0.01, "two samples of one law"
    assert (tmp_path / "form" / "form.html").read_text().count("data:image/png") == 50
    assert len((tmp_path / "events" / "events.jsonl").read_text().splitlines()) == 50
    assert len({kernel.title for kernel in kernels.values()}) == len(kernels)
