"""./run_all.sh, without its set-up, on notebooks that take milliseconds."""

import signal
import time
from pathlib import Path

import psutil
import pytest

from p2d_lib.artefacts import NOTEBOOKS


def test_a_finished_run_has_nothing_left_to_do_even_where_its_clone_was_moved(clone):
    code, said = clone.run()
    assert code == 0, said
    assert clone.ran() == []
    assert all(f"{notebook} " in said for notebook in NOTEBOOKS)
    assert "unchanged" in said and "index.html" in said


def test_a_filled_sheet_a_parameter_and_a_module_rerun_what_depends_on_them_and_nothing_else(clone):
    (clone.folder / "data" / "runs" / "smoke" / "study_filled").mkdir()
    (clone.folder / "data" / "runs" / "smoke" / "study_filled" / "reader.xlsx").write_text("filled")
    assert clone.run()[0] == 0
    assert clone.ran() == ["07_readers"]
    (clone.folder / "p2d_lib" / "fairness" / "planted.py").write_text("VALUE = 2\n")
    (clone.folder / "p2d_lib" / "parameters" / "__init__.py").touch()
    (clone.folder / "p2d_lib" / "sample" / "planted.py").touch()  # newer, but the same
    assert clone.run("--set", "06_classify.steps=9")[0] == 0
    assert clone.ran() == ["06_classify", "07_readers", "08_fairness"]


def test_from_forces_to_stops_and_a_deleted_table_is_made_again(clone):
    (clone.folder / "tables" / "smoke" / "t_05_fidelity.csv").unlink()
    assert clone.run()[0] == 0
    assert clone.ran() == ["05_fidelity"]
    assert clone.run("--from", "05_fidelity", "--to", "06_classify")[0] == 0
    assert clone.ran() == ["05_fidelity", "06_classify"]
    assert clone.run()[0] == 0
    assert clone.ran() == ["07_readers"], "its folder of classifiers is newer; the readings 08 reads are the same"


def test_a_failure_names_notebook_and_error_and_the_next_start_continues_there(clone):
    failing = ("--run", "other", "--to", "03_finetune")
    code, said = clone.run(*failing, STUB_FAIL="02_describe")
    assert code == 1
    assert "02_describe failed: ValueError: row 3 of planted.csv is 7, expected 8" in said
    assert "data/runs/other/notebooks/02_describe.ipynb" in said
    assert (clone.folder / "data/runs/other/notebooks/02_describe.ipynb").exists()
    assert not (clone.folder / "data/runs/other/descriptions.parquet").exists(), "half a stage is left"
    clone.ran()
    assert clone.run(*failing)[0] == 0
    assert clone.ran() == ["02_describe", "03_finetune"]


def test_one_name_runs_once_at_a_time_and_two_names_side_by_side(clone):
    first = clone.start("--run", "held", "--to", "01_prep", STUB_HANG="01_prep")
    _wait_for(clone.folder / "hanging")
    code, said = clone.run("--run", "held", "--to", "01_prep")
    assert code == 2 and "'held' is under way" in said and str(first.pid) in said
    assert clone.run("--run", "beside", "--to", "01_prep")[0] == 0
    first.terminate()
    assert first.wait(timeout=30) == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_no_kernel_lives_on_and_the_next_start_continues(clone, number):
    if number == signal.SIGKILL:
        clone.with_kernels()
    mark = str(clone.folder / "data" / "runs" / "smoke")
    process = clone.start("--from", "08_fairness", STUB_HANG="08_fairness")
    kernel = int(_wait_for(clone.folder / "hanging"))
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    _wait_until(lambda: not psutil.pid_exists(kernel), "the kernel ends")
    _wait_until(lambda: not _alive(mark), "everything of the run ends")
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "Stopped in 08_fairness. To continue: ./run_all.sh" in said
    clone.ran()
    code, said = clone.run()
    assert code == 0, said
    assert clone.ran() == ["08_fairness"]


def test_a_dry_run_says_what_would_run_and_leaves_nothing(clone):
    before = _files(clone.folder)
    code, said = clone.run("--profile", "paper", "--dry-run")
    assert code == 0, said
    assert said.count("runs: ") == len(NOTEBOOKS)
    code, said = clone.run("--dry-run", "--set", "08_fairness.min_n=3")
    assert code == 0 and said.count("runs: ") == 1 and "[8/8] 08_fairness   runs: Params have changed" in said
    assert _files(clone.folder) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set", "06_classify.sedes=5"), "06_classify.sedes: there is no such parameter: did you mean 'seeds'?"),
        (("--set", "06_classify.seeds=many"), "06_classify.seeds: 'many'"),
        (("--set", "06_classify.seeds=1"), "06_classify.seeds: 1: input should be greater than or equal to 2"),
        (("--set", "06_clasify.seeds=5"), "did you mean '06_classify'?"),
        (("--set", "06_classify.arms=[real"), "--set 06_classify.arms=[real: a value that YAML cannot read: "),
        (("--set", "02_describe.edits_file=nowhere.csv"), "there is no file nowhere.csv (02_describe.edits_file"),
        (("--profile", "smok"), "did you mean 'smoke'?"),
        (("--run", "../elsewhere"), "--run '../elsewhere': 01_prep.run: '../elsewhere': write a name of letters"),
        (("--run", ""), "--run '': 01_prep.run: '': write a name of letters"),
        (("--from", "05_fidelty"), "did you mean '05_fidelity'?"),
        (("--from", "06_classify", "--to", "05_fidelity"), "--from 06_classify lies behind --to 05_fidelity"),
        (("--cores", "0"), "at least one core"),
        (("--data", "somewhere"), "add --profile mini"),
        (("--profile", "mini"), "give its folder with --data DIR or P2D_HAM10000=DIR"),
        (("--profile", "mini", "--data", "nowhere"), "there is no folder"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence_before_anything_runs(clone, arguments, sentence):
    code, said = clone.run(*arguments)
    assert code == 2
    assert sentence in said
    assert len(said.strip().splitlines()) == 1, said
    assert clone.ran() == []


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not {"__pycache__", ".snakemake"} & set(path.parts))


def _wait_for(path: Path, seconds: float = 60) -> str:
    _wait_until(lambda: path.exists() and path.read_text(), f"{path.name} appears", seconds)
    return path.read_text()


def _wait_until(holds, what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def _alive(mark: str) -> list[int]:
    pids = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("P2D_RUN_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                pids.append(process.pid)
        except psutil.Error:
            continue
    return pids
