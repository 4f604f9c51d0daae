"""Settings of other work, odd places and damaged state do not reach a run; what cannot be helped is one sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def test_variables_for_other_work_and_signs_in_paths_change_nothing(finished, tmp_path):
    clone = finished.copy(tmp_path / "p {x} q's $HOME %d é").with_kernels()
    home = clone.folder / "{home}"
    home.mkdir()
    for place in ("data", "tables", "figures"):
        shutil.move(clone.folder / place, home / place)
    (home / "data/runs/smoke/study_filled").mkdir()
    (home / "data/runs/smoke/study_filled/sheet {Anna}.xlsx").write_text("filled")
    kernel = tmp_path / "jupyter" / "kernels" / "prompt2derm"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/old/venv/bin/python", "-m", "ipykernel_launcher"], "display_name": "x", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("executor: slurm\nquiet: all\n")
    foreign = {
        "SNAKEMAKE_PROFILE": str(tmp_path / "profile"),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "IPYTHONDIR": "/proc/nowhere",
        "MATPLOTLIBRC": "/no/such/matplotlibrc",
        "PYTHONSAFEPATH": "1",
        "HOME": "/proc/nohome",
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }
    code, output = clone.run(P2D_HOME=str(home), **foreign)
    assert code == 0, output
    assert (home / "ran.txt").read_text().split() == ["07_readers"]


def test_the_lock_file_of_an_open_sheet_is_no_input(clone):
    (clone.run_folder / "study_filled").mkdir()
    for name in (".~lock.a.xlsx#", "~$a.xlsx", ".DS_Store"):
        (clone.run_folder / "study_filled" / name).write_text("open")
    assert clone.run()[0] == 0
    assert clone.ran() == []


def test_state_that_a_power_cut_left_empty_is_made_again(clone):
    emptied = ("stages/08_fairness.json", "notebooks/08_fairness.ipynb", "timings.json", ".digests.json")
    for name in (*emptied, "tables/t_07_readers.csv.provenance.json", "parameters.json"):
        (clone.run_folder / name).write_bytes(b"")
    code, output = clone.run()
    assert code == 0, output
    assert clone.ran() == ["08_fairness"]


FULL = """
import builtins, errno, sys
sys.path.insert(0, {workflow!r})
import drive, paper
def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "/mnt/small/plan.json")
paper.run_paper = full
sys.exit(drive.main([]))
"""


def test_a_full_disk_is_one_sentence(tmp_path):
    script = FULL.format(workflow=str(REPOSITORY / "workflow"))
    full = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert full.returncode == 1
    assert full.stderr.startswith("prompt2derm: /mnt/small/plan.json: No space left on device: make room, or name a ")
    assert len(full.stderr.splitlines()) == 1


def test_every_text_file_of_a_clone_has_unix_line_ends_whatever_git_is_told(tmp_path):
    shutil.copy(REPOSITORY / ".gitattributes", tmp_path)
    (tmp_path / "run_all.sh").write_bytes(b"#!/usr/bin/env bash\n")
    git = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true", "-c", "user.name=x", "-c", "user.email=x@y"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    (tmp_path / "run_all.sh").unlink()
    subprocess.run([*git, "checkout", "-q", "run_all.sh"], check=True)
    assert (tmp_path / "run_all.sh").read_bytes() == b"#!/usr/bin/env bash\n"


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_an_archive_unpacked_inside_another_repository_has_no_commit(tmp_path):
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    other = ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "another"]
    subprocess.run(["git", "-C", str(tmp_path), *other], check=True)
    unpacked = tmp_path / "prompt2derm"
    shutil.copytree(REPOSITORY / "p2d_lib", unpacked / "p2d_lib", ignore=shutil.ignore_patterns("*.safetensors"))
    says = "from p2d_lib.run import _commit; print(_commit())"
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "GIT_DIR": str(tmp_path / ".git")}
    commit = subprocess.run([sys.executable, "-c", says], cwd=unpacked, env=environment, capture_output=True, text=True)
    assert commit.stdout == "unknown\n", commit.stderr
    subprocess.run(["git", "-C", str(unpacked), "init", "-q"], check=True)
    subprocess.run(["git", "-C", str(unpacked), *other], check=True)
    commit = subprocess.run([sys.executable, "-c", says], cwd=unpacked, env=environment, capture_output=True, text=True)
    assert commit.stdout != "unknown\n" and len(commit.stdout.strip()) >= 7, "of its own repository it is known"
