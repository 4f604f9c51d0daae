"""./run_all.sh, without its set-up, on notebooks that take milliseconds."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import cli
import paper
import psutil
import pytest

from p2d_lib.artefacts import NOTEBOOKS


def test_a_finished_run_has_nothing_left_to_do_even_where_its_clone_was_moved(clone):
    code, output = clone.run()
    assert code == 0, output
    assert clone.ran() == []
    assert all(f"{notebook} " in output for notebook in NOTEBOOKS)
    assert "unchanged" in output and "index.html" in output


def test_a_copied_run_is_up_to_date_whatever_its_dates(finished, tmp_path):
    clone = finished.copy(tmp_path / "copied", shutil.copyfile)
    for path in sorted((clone.folder / "data").rglob("*"), reverse=True):  # the later the name, the older the file
        os.utime(path, (time.time() - 1e6, time.time() - 1e6 + len(list(path.parents))))
    code, output = clone.run()
    assert code == 0, output
    assert clone.ran() == []


def test_a_run_that_was_copied_under_another_name_makes_only_what_differs(clone):
    for kind in ("data/runs", "tables", "figures"):
        shutil.copytree(clone.folder / kind / "smoke", clone.folder / kind / "variant")
    code, output = clone.run("--run", "variant", "--set", "07_readers.seed=9")
    assert code == 0, output
    assert clone.ran() == ["07_readers"]
    assert clone.run()[0] == 0
    assert clone.ran() == [], "the run that was copied is as it was"


def test_the_page_of_a_copied_run_is_its_own_also_where_no_stage_runs(clone):
    for kind in ("data/runs", "tables", "figures"):
        shutil.copytree(clone.folder / kind / "smoke", clone.folder / kind / "variant")
    code, output = clone.run("--run", "variant")
    assert code == 0, output
    assert clone.ran() == []
    assert (clone.folder / "data/runs/variant/index.html").read_text() == "variant"
    (clone.folder / "data/runs/variant/.index.json").write_text('{"half')  # as a power cut leaves it
    code, output = clone.run("--run", "variant")
    assert code == 0, output


def test_a_filled_sheet_a_parameter_and_a_module_rerun_what_depends_on_them_and_nothing_else(clone):
    (clone.run_folder / "study_filled").mkdir()
    (clone.run_folder / "study_filled" / "reader.xlsx").write_text("filled")
    assert clone.run()[0] == 0
    assert clone.ran() == ["07_readers"]
    (clone.folder / "p2d_lib" / "fairness" / "planted.py").write_text("VALUE = 2\n")
    (clone.folder / "p2d_lib" / "parameters" / "__init__.py").touch()
    (clone.folder / "p2d_lib" / "sample" / "planted.py").touch()  # newer, but the same
    assert clone.run()[0] == 0
    assert clone.ran() == ["08_fairness"]
    assert clone.run("--set", "06_classify.seed=9")[0] == 0
    assert clone.ran() == ["06_classify", "07_readers", "08_fairness"]


def test_a_stage_does_not_run_where_all_that_it_reads_comes_out_as_it_was(clone):
    code, output = clone.run("--set", "06_classify.steps=9")  # which makes no difference to the stub
    assert code == 0, output
    assert clone.ran() == ["06_classify"]
    assert "[8/8] 08_fairness   unchanged: all that it reads came out as it was" in output
    (clone.run_folder / "cases.parquet").unlink()
    assert clone.run("--to", "02_describe")[0] == 0
    assert clone.ran() == ["01_prep"]


def _edit(path: Path) -> None:
    """Other contents, of the same size and date."""
    stat = path.stat()
    path.write_text(path.read_text()[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES = [  # {stage: (path, change, reason)}
    {
        1: ("data/runs/smoke/images/part", Path.unlink, "data/runs/smoke/images has been changed since it was made"),
        4: ("data/runs/smoke/notebooks/04_sample.ipynb", Path.unlink, "notebooks/04_sample.ipynb is missing"),
        5: ("tables/smoke/t_05_fidelity.csv", Path.unlink, "tables/smoke/t_05_fidelity.csv is missing"),
        7: ("data/runs/smoke/stages/07_readers.json", Path.unlink, "it has not been made"),
    },
    {
        2: ("data/runs/smoke/wording.json", Path.unlink, "data/runs/smoke/wording.json is missing"),
        3: ("data/runs/smoke/adapter/part", _edit, "data/runs/smoke/adapter has been changed since it was made"),
        6: ("tables/smoke/t_06_classify.csv", _edit, "t_06_classify.csv has been changed since it was made"),
        7: ("data/runs/smoke/stages/07_readers.json", lambda path: path.write_text("{"), "it has not been made"),
        8: ("figures/smoke/f_08_fairness.png", Path.unlink, "figures/smoke/f_08_fairness.png is missing"),
    },
]


@pytest.mark.parametrize("changes", CHANGES)
def test_what_was_deleted_or_changed_by_hand_is_noticed(clone, changes):
    for path, change, _ in changes.values():
        change(clone.folder / path)
    code, output = clone.run("--dry-run")
    assert code == 0 and output.count("runs: ") == len(changes), output
    for stage, (_, _, reason) in changes.items():
        (line,) = (line for line in output.splitlines() if line.startswith(f"[{stage}/8] "))
        assert f"{NOTEBOOKS[stage - 1]:<12}  runs: " in line and reason in line


def test_what_was_deleted_or_changed_by_hand_is_made_again_and_nothing_else(clone):
    changed = [clone.folder / "tables/smoke/t_06_classify.csv", clone.run_folder / "adapter/part"]
    before = [path.read_text() for path in changed]
    _edit(changed[0])
    changed[1].unlink()
    code, output = clone.run()
    assert code == 0, output
    assert clone.ran() == ["03_finetune", "06_classify"]
    assert [path.read_text() for path in changed] == before


def test_saved_outputs_and_prose_do_not_outdate_a_stage_and_a_changed_cell_does(clone):
    clone.edit("08_fairness", lambda cells: cells[2].update(outputs=[{"output_type": "stream"}], execution_count=3))
    clone.edit("08_fairness", lambda cells: cells.append({"cell_type": "markdown", "source": "New.", "metadata": {}}))
    assert clone.run()[0] == 0
    assert clone.ran() == []
    clone.edit("08_fairness", lambda cells: cells[1].update(source=cells[1]["source"] + "\nimport json"))
    assert clone.run()[0] == 0
    assert clone.ran() == ["08_fairness"]


def test_other_weights_in_a_folder_that_a_parameter_names_are_noticed(clone):
    weights = clone.folder / "my bert" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("first")
    options = ("--set", f"02_describe.bert_model={weights.parent}", "--to", "02_describe")
    assert clone.run(*options)[0] == 0
    assert clone.ran() == ["02_describe"]
    _edit(weights)
    code, output = clone.run(*options, "--dry-run")
    assert code == 0 and "[2/8] 02_describe   runs: my bert has changed" in output.replace(f"{clone.folder}/", "")


def test_from_forces_and_to_stops(clone):
    assert clone.run("--from", "05_fidelity", "--to", "06_classify")[0] == 0
    assert clone.ran() == ["05_fidelity", "06_classify"]
    assert clone.run()[0] == 0
    assert clone.ran() == []


def test_one_seed_for_all_and_a_value_set_back_says_so(clone):
    code, output = clone.run("--seed", "3", "--set", "08_fairness.seed=4", "--dry-run")
    assert code == 0 and output.count("runs: parameter seed is 3, was 0") == 7
    assert "[8/8] 08_fairness   runs: parameter seed is 4, was 0" in output
    assert clone.run("--set", "08_fairness.seed=4")[0] == 0
    code, output = clone.run()
    assert clone.ran() == ["08_fairness", "08_fairness"]
    assert "[8/8] 08_fairness   runs: parameter seed is 0, was 4" in output


def test_results_stay_and_those_of_old_names_go_on_a_file_system_whose_clock_is_behind(clone):
    stale = clone.run_folder / "tables" / "t_old.csv.provenance.json"
    stale.write_text(json.dumps({"notebook": "06_classify", "execution": "an earlier one", "position": 0}))
    (clone.folder / "tables" / "smoke" / "t_old.csv").write_text("a\n1\n")
    code, output = clone.run("--from", "06_classify", "--to", "06_classify", STUB_CLOCK="3600")
    assert code == 0, output
    assert sorted(path.name for path in (clone.folder / "tables" / "smoke").glob("t_[o0]*")) == [
        f"t_{notebook}.csv" for notebook in NOTEBOOKS
    ]
    assert not stale.exists()


def test_a_stage_that_leaves_an_artefact_out_fails_by_its_name(clone):
    clone.edit("05_fidelity", lambda cells: cells[1].update(source="x = 1"))
    clone.edit("02_describe", lambda cells: cells[2].update(source="pass"))
    code, output = clone.run()
    assert code == 1
    assert (
        "02_describe failed: FileNotFoundError: 02_describe ran to its end and left no descriptions.parquet" in output
    )


def test_a_failure_names_notebook_and_error_and_the_next_start_continues_there(clone):
    failing = ("--run", "other", "--to", "03_finetune")
    code, output = clone.run(*failing, STUB_FAIL="02_describe")
    assert code == 1
    assert "02_describe failed: ValueError: row 3 of planted.csv is 7, expected 8" in output
    assert "data/runs/other/notebooks/02_describe.ipynb" in output
    assert (clone.folder / "data/runs/other/notebooks/02_describe.ipynb").exists()
    assert not (clone.folder / "data/runs/other/descriptions.parquet").exists(), "half a stage is left"
    clone.ran()
    assert clone.run(*failing)[0] == 0
    assert clone.ran() == ["02_describe", "03_finetune"]


def test_a_failure_stops_only_what_needs_it(clone):
    code, output = clone.run("--from", "05_fidelity", STUB_FAIL="05_fidelity")
    assert code == 1 and "05_fidelity failed: ValueError" in output and "Not run" not in output
    assert clone.ran() == ["05_fidelity", "06_classify", "07_readers", "08_fairness"], "nothing needs 05"
    code, output = clone.run("--from", "06_classify", STUB_FAIL="06_classify")
    assert code == 1 and "Not run, since they need it: 07_readers, 08_fairness" in output
    assert clone.ran() == ["05_fidelity", "06_classify"]
    assert clone.run()[0] == 0
    assert clone.ran() == ["06_classify"], "it leaves what 07 and 08 were made from"


def test_a_syntax_error_stops_only_what_needs_it_and_names_notebook_cell_and_line(clone):
    clone.edit("06_classify", lambda cells: cells[1].update(source="import json\nx = = 1"))
    (clone.folder / "p2d_lib" / "fidelity" / "planted.py").write_text("VALUE = 3\n")
    code, output = clone.run()
    assert code == 1
    assert "06_classify failed: notebooks/06_classify.ipynb, cell 2, line 2: invalid syntax: x = = 1" in output
    assert "Not run, since they need it: 07_readers, 08_fairness" in output
    assert clone.ran() == ["05_fidelity"]
    code, output = clone.run("--dry-run")
    assert code == 1 and "[6/8] 06_classify   cannot run: notebooks/06_classify.ipynb, cell 2, line 2" in output
    clone.edit("06_classify", lambda cells: cells[1].update(source="from p2d_lib.classify import planted"))
    code, output = clone.run()
    assert code == 0, output
    assert clone.ran() == []


def test_a_syntax_error_in_a_module_and_a_magic_in_a_cell(clone):
    (clone.folder / "p2d_lib" / "fairness" / "planted.py").write_text("def f(:\n")
    clone.edit("05_fidelity", lambda cells: cells[1].update(source="%time from p2d_lib.fidelity import planted\n!ls"))
    code, output = clone.run()
    assert code == 1
    assert "08_fairness failed: p2d_lib/fairness/planted.py, line 1: " in output
    assert clone.ran() == ["05_fidelity"]


def test_one_name_runs_once_at_a_time_and_two_names_side_by_side(clone):
    first = clone.start("--run", "held", "--to", "01_prep", STUB_HANG="01_prep")
    _wait_for(clone.folder / "hanging")
    code, output = clone.run("--run", "held", "--to", "01_prep")
    assert code == 2 and "'held' is under way" in output and str(first.pid) in output
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
    output, _ = process.communicate(timeout=30)
    _wait_until(lambda: not psutil.pid_exists(kernel), "the kernel ends")
    _wait_until(lambda: not _alive(mark), "everything of the run ends")
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "Stopped in 08_fairness. To continue: ./run_all.sh" in output
    clone.ran()
    code, output = clone.run()
    assert code == 0, output
    assert clone.ran() == ["08_fairness"]


def test_a_dry_run_says_what_would_run_and_leaves_nothing(clone):
    before = _files(clone.folder)
    code, output = clone.run("--profile", "paper", "--dry-run")
    assert code == 0, output
    assert output.count("runs: ") == len(NOTEBOOKS)
    code, output = clone.run("--dry-run", "--from", "06_classify", "--to", "06_classify")
    assert code == 0 and "[6/8] 06_classify   runs: --from asks for it" in output
    assert "[8/8] 08_fairness   after" in output
    code, output = clone.run("--dry-run", "--set", "06_classify.seed=3")
    assert code == 0 and "[8/8] 08_fairness   runs if 06_classify makes another result than before" in output
    code, output = clone.run("--dry-run", "--set", "08_fairness.min_n=3")
    assert code == 0 and output.count("runs: ") == 1
    assert "[8/8] 08_fairness   runs: parameter min_n is 3, was 10" in output
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
        (("--run", "a" * 101), "is 101 letters long; write 100 at most"),
        (("--set", "06_classify.external=[isic2019=~/none]"), "/none (06_classify.external)"),
        (("--from", "05_fidelty"), "did you mean '05_fidelity'?"),
        (("--from", "06_classify", "--to", "05_fidelity"), "--from 06_classify lies behind --to 05_fidelity"),
        (("--cores", "0"), "at least one core"),
        (("--data", "somewhere"), "add --profile mini"),
        (("--profile", "mini"), "give its folder with --data DIR or P2D_HAM10000=DIR"),
        (("--profile", "mini", "--data", "nowhere"), "there is no folder"),
        (("--profile", "mini", "--data", "nowhere", "--dry-run"), "there is no folder"),
        (("--set", "03_finetune.base=/does/not/exist"), "there is no folder /does/not/exist (03_finetune.base)"),
        (("--set", "03_finetune.base=~/models/none"), "there is no folder ~/models/none (03_finetune.base)"),
        (
            ("--set", f"03_finetune.base={__file__}"),
            "test_driver.py is a file, and a folder is needed (03_finetune.base)",
        ),
        (("--set", "07_readers.sheets=~/none"), "/none (07_readers.sheets)"),
        (
            ("--set", "04_sample.num_inference_steps=5000"),
            "num_inference_steps: 5000: input should be less than or equal",
        ),
        (("--set", f"01_prep.split_seed={'9' * 20}"), f"split_seed: {'9' * 20}: input should be less"),
        (("--seed", "9" * 20), f"seed: {'9' * 20}: input should be less than 9223372036854775808"),
        (("--set", "02_describe.max_tokens=75"), "max_tokens: 75: the text encoder of base 'tiny' reads 62 at most"),
        (("--profile", "mini", "--data", __file__), "test_driver.py is a file: unpack it and name the folder"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence_before_anything_runs(monkeypatch, arguments, sentence):
    for name in [name for name in os.environ if name.startswith("P2D_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(paper, "lock_run", lambda *_: pytest.fail("the run has begun"))
    with pytest.raises(cli.Refused) as refused:
        paper.run_paper(cli.arguments([*arguments]), [*arguments])
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_all_that_cannot_be_is_refused_in_one_list(clone):
    values = ("06_classify.seeds=1", "03_finetune.base=/none", "04_sample.solver=heun", "07_readers.sheets=/nor/this")
    values += ("06_classify.arms=[real, mixed:sentense]", "06_classify.prompt_sources=[captoner]")
    wrong = [
        argument for value in (*values, "05.x=1", "02_describe.edits_file=gone.csv") for argument in ("--set", value)
    ]
    code, output = clone.run(*wrong, "--run", "a b", P2D_DEVICE="gpu")
    assert code == 2 and clone.ran() == []
    lines = output.strip().splitlines()
    assert lines[0] == "prompt2derm: 10 things must be corrected before anything runs:", output
    assert len(lines) == 11 and all(line.startswith("- ") for line in lines[1:])
    named = ("P2D_DEVICE=gpu", "'a b'", "seeds: 1", "base)", "'heun'", "sheets)", "'05'", "gone.csv")
    for what in (*named, "sentense", "captoner"):
        assert what in output


def test_sheets_are_read_from_the_folder_that_is_named_wherever_it_lies(clone, tmp_path):
    (tmp_path / "s1").mkdir()
    (tmp_path / "s1" / "reader.xlsx").write_text("filled")
    for sheets in ("~/s1", str(tmp_path / "s1")):
        code, output = clone.run("--set", f"07_readers.sheets={sheets}", HOME=str(tmp_path))
        assert code == 0, output
    assert clone.ran() == ["07_readers"], "the two are one folder"


def test_where_nothing_can_be_written_one_sentence_says_what_to_do(clone):
    (clone.folder / "a file").write_text("")
    code, output = clone.run(P2D_HOME=str(clone.folder / "a file"))
    assert code == 2 and len(output.strip().splitlines()) == 1
    assert "data/runs cannot be written to" in output and "P2D_HOME=DIR ./run_all.sh" in output


def test_a_device_that_is_none_is_refused(clone):
    code, output = clone.run(P2D_DEVICE="gpu")
    assert code == 2 and "P2D_DEVICE=gpu: no such device; write cpu, cuda, cuda:1 (or another number) or mps" in output


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
