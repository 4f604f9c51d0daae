import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the libraries are imported
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import small_run

from p2d_lib.release.publish import publish
from p2d_lib.run import Run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A home with the small run. Not to be changed: see `home`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("P2D_HOME", str(folder))
        small_run.make()
    return folder


@pytest.fixture
def home(finished, tmp_path, monkeypatch) -> Path:
    """The finished home, moved, as P2D_HOME."""
    folder = shutil.copytree(finished, tmp_path / "home")
    monkeypatch.setenv("P2D_HOME", str(folder))
    return folder


@pytest.fixture
def run(home) -> Run:
    return Run(small_run.NAME, "release")


@pytest.fixture(scope="session")
def released(finished, tmp_path_factory) -> Path:
    """The folder of the small run's release."""
    to = tmp_path_factory.mktemp("released") / "set"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("P2D_HOME", str(finished))
        publish(Run(small_run.NAME, "release"), to, rows_a_tar=10)
    return to
