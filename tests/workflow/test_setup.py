"""The set-up that ./run_all.sh and ./run_tests.sh begin with."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone with a space in its path that can install one package, which no index has."""
    clone = tmp_path / "a clone"
    (clone / "workflow").mkdir(parents=True)
    shutil.copy(REPOSITORY / "workflow" / "setup.sh", clone / "workflow")
    for name in ("run_all.sh", "run_tests.sh", "pyproject.toml", "requirements-setup.lock"):
        shutil.copy(REPOSITORY / name, clone)
    (clone / "requirements-test.lock").write_text("")
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
    result = _call(clone, PYTHON="/no/such/python3")
    assert result.returncode == 1
    assert result.stderr.startswith("prompt2derm: no Python 3.11, 3.12 or 3.13 with venv was found")
    assert len(result.stderr.splitlines()) == 1
    assert not (clone / ".venv").exists()


def test_a_failed_install_ends_in_one_sentence_that_names_the_log_and_is_never_taken_for_a_finished_one(clone):
    result = _call(clone, "run_tests.sh")
    assert result.returncode == 1
    failed = result.stderr.splitlines()[1:]
    assert len(failed) == 1 and "nowhere==1.0" in failed[0] and "run the same command again" in failed[0]
    assert str(clone / ".venv" / "setup.log") in failed[0]
    assert not (clone / ".venv" / "complete").exists()


def test_the_environment_of_another_clone_behind_a_link_stays_whole(clone, tmp_path):
    other = tmp_path / "other clone" / ".venv"
    other.mkdir(parents=True)
    (other / "complete").write_text("theirs")
    (clone / ".venv").symlink_to(other)
    result = _call(clone)
    assert result.returncode == 1
    assert result.stderr.startswith(f"prompt2derm: .venv is a link to {other}") and "rm .venv" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (other / "complete").read_text() == "theirs"


def _finish(clone: Path, *options: str) -> None:
    """A .venv that holds no package, with the stamp of a finished set-up."""
    subprocess.run([sys.executable, "-m", "venv", *options, clone / ".venv"], check=True)
    locks = [(clone / name).read_text() for name in ("requirements-setup.lock", "requirements.lock")]
    metadata = (clone / "pyproject.toml").read_text().partition("[tool.ruff]\n")[0]
    (clone / ".venv" / "complete").write_text("".join([f"{clone}\n{sys.version}\n", *locks, metadata]))


def test_a_finished_set_up_is_kept_in_under_a_second_until_the_lock_changes(clone):
    _finish(clone, "--without-pip")
    started = time.monotonic()
    assert _call(clone, "workflow/setup.sh").stderr == ""
    assert time.monotonic() - started < 1
    with (clone / "pyproject.toml").open("a") as settings:
        settings.write("# a setting of ruff or pytest\n")
    assert _call(clone, "workflow/setup.sh").stderr == ""
    with (clone / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    again = subprocess.Popen(["bash", clone / "workflow" / "setup.sh"], stderr=subprocess.PIPE, text=True)
    assert "setting up .venv" in again.stderr.readline()
    again.terminate()
    assert "set-up interrupted: run the same command again" in again.communicate()[1]
    assert again.returncode == 1
    assert not (clone / ".venv" / "complete").exists()


PIP = """#!/bin/sh
case "$*" in
    *"-m uv"*) exit 1 ;;
    *"-m pip"*) env | grep -E '^(PIP|PYTHON)' > "{seen}" ;;
    *) exec {python} "$@" ;;
esac
"""


def test_what_pip_is_told_for_other_environments_does_not_reach_this_one(clone, tmp_path):
    _finish(clone, "--without-pip")
    (clone / ".venv/bin/python").unlink()
    (clone / ".venv/bin/python").write_text(PIP.format(seen=tmp_path / "seen", python=sys.executable))
    (clone / ".venv/bin/python").chmod(0o755)
    elsewhere = {name: "/elsewhere" for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PYTHONHOME")}
    (clone / "requirements-test.lock").write_text("# changed\n")
    setup = ["bash", clone / "workflow" / "setup.sh", "test"]
    told = {"PIP_USER": "1", "PIP_DRY_RUN": "1", "PYTHONSAFEPATH": "1", "PIP_INDEX_URL": "https://kept", **elsewhere}
    environment = {**os.environ, "PYTHON": sys.executable, **told}
    done = subprocess.run(setup, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heard = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    assert heard["PIP_USER"] == "0" and heard["PIP_INDEX_URL"] == "https://kept"
    assert not heard.keys() & {"PIP_DRY_RUN", "PYTHONSAFEPATH", *elsewhere}


def _wheel(folder: Path) -> str:
    """Writes a package `planted` 1.0 into the folder; its sha256."""
    path = folder / "planted-1.0-py3-none-any.whl"
    info = "planted-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("planted.py", "VALUE = 1\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_after_a_run_the_tests_add_their_packages_alone_and_a_run_after_them_adds_nothing(clone):
    _finish(clone)
    lock = clone / "requirements-test.lock"
    lock.write_text(f"planted==1.0 \\\n    --hash=sha256:{_wheel(clone.parent)}\n")
    setup = clone / "workflow" / "setup.sh"

    def outcome(*arguments: str) -> list[str]:
        environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(clone.parent), "PYTHON": sys.executable}
        called = subprocess.run(["bash", setup, *arguments], env=environment, capture_output=True, text=True)
        return [f"{called.returncode}", *called.stderr.splitlines()]

    assert outcome() == ["0"]
    first = outcome("test")
    assert first[:2] == ["0", "prompt2derm: adding the test packages to .venv"], first
    assert len(first) == 3 and "set up in" in first[2]
    subprocess.run([clone / ".venv" / "bin" / "python", "-c", "import planted"], check=True)
    assert outcome("test") == outcome() == ["0"]

    lock.write_text(lock.read_text() + "# changed\n")
    assert outcome() == ["0"]
    assert outcome("test")[1] == "prompt2derm: adding the test packages to .venv"

    lock.write_text(f"planted==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    subprocess.run([clone / ".venv" / "bin" / "python", "-m", "pip", "uninstall", "-qy", "planted"], check=True)
    refused = outcome("test")
    assert refused[0] == "1" and "installing the packages failed" in refused[-1]
    assert outcome() == ["0"] and outcome("test")[0] == "1"
