"""One small run, one server and one browser for all tests of the app."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "readers"))  # the browser that the reader form's tests use

from app_page import Page
from app_run import RUN, make_run


@pytest.fixture(scope="session")
def app_home(tmp_path_factory):
    """A P2D_HOME with a finished run and the tables of another."""
    folder = tmp_path_factory.mktemp("app home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2D_HOME", str(folder))
        make_run(RUN)
        make_run("other", per_class=1)
    return folder


@pytest.fixture(scope="session")
def address(app_home):
    """Where the app listens: the command that users give, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "P2D_HOME": str(app_home), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "p2d_lib.app", "--run", RUN, "--port", str(port)]
    log = (app_home / "app.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(3000):  # some seconds, and minutes where others have the processor
            if " at http" in (app_home / "app.log").read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        assert process.poll() is None, (app_home / "app.log").read_text()
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.fixture(scope="session")
def browsers(tmp_path_factory):
    """Two browsers that share nothing."""
    pages = []
    try:
        for name in ("one browser", "another"):
            pages.append(Page(tmp_path_factory.mktemp(name)))
        yield pages
    finally:
        for page in pages:
            page.close()


@pytest.fixture
def page(browsers, address):
    """The app, opened anew while it makes no image."""
    browsers[0].show_idle(address)
    return browsers[0]
