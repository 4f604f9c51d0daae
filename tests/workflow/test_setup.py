"""The set-up that ./run_all.sh and ./run_tests.sh begin with."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone with a space in its path that can install one package, which no index has."""
    clone = tmp_path / "a clone"
    (clone / "workflow").mkdir(parents=True)
    shutil.copy(REPOSITORY / "workflow" / "setup.sh", clone / "workflow")
    for name in ("run_all.sh", "run_tests.sh", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, clone)
    (clone / "requirements.lock").write_text(f"nowhere==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    return clone


def _call(clone: Path, script: str = "run_all.sh", **environment: str) -> subprocess.CompletedProcess:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PYTHON": sys.executable}
    return subprocess.run(
        ["bash", str(clone / script)],
        cwd="/",
        env={**os.environ, **offline, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_without_a_python_it_says_in_one_sentence_what_to_install(clone):
    said = _call(clone, PYTHON="/no/such/python3")
    assert said.returncode == 1
    assert said.stderr.startswith("prompt2derm: no Python 3.11, 3.12 or 3.13 with venv was found")
    assert len(said.stderr.splitlines()) == 1
    assert not (clone / ".venv").exists()


def test_a_failed_install_ends_in_one_sentence_that_names_the_log_and_is_never_taken_for_a_finished_one(clone):
    said = _call(clone, "run_tests.sh")
    assert said.returncode == 1
    failed = said.stderr.splitlines()[1:]
    assert len(failed) == 1 and "nowhere==1.0" in failed[0] and "run the same command again" in failed[0]
    assert str(clone / ".venv" / "setup.log") in failed[0]
    assert not (clone / ".venv" / "complete").exists()


def test_a_finished_set_up_is_kept_in_under_a_second_until_the_lock_changes(clone):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    made_from = f"{clone}\n{sys.version}\n" + "".join(
        (clone / name).read_text() for name in ("requirements.lock", "pyproject.toml")
    )
    (clone / ".venv" / "complete").write_text(made_from)
    started = time.monotonic()
    assert _call(clone, "workflow/setup.sh").stderr == ""
    assert time.monotonic() - started < 1
    with (clone / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    again = subprocess.Popen(["bash", clone / "workflow" / "setup.sh"], stderr=subprocess.PIPE, text=True)
    assert "setting up .venv" in again.stderr.readline()
    again.terminate()
    assert "set-up interrupted: run the same command again" in again.communicate()[1]
    assert again.returncode == 1
    assert not (clone / ".venv" / "complete").exists()
