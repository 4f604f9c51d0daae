"""One small run, one server and one browser for all tests of the app."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "readers"))  # the browser that the reader form's tests use

from app_run import RUN, make_run
from browser import Browser


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
        for _ in range(1200):
            if " at http" in (app_home / "app.log").read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        assert process.poll() is None, (app_home / "app.log").read_text()
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


class Page(Browser):
    """A page of the app in a real browser."""

    def until(self, script: str, seconds: float = 120):
        """The value of a JavaScript expression as soon as it is true; True for a part of the page."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(f"(value => value instanceof Node || value)({script})"):
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {script}\n{self.run('document.body.innerText')[:3000]}")

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({selector!r}).click()")

    def tab(self, title: str) -> None:
        self.run(f"[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText == {title!r}).click()")

    def fill(self, selector: str, text: str) -> None:
        """Types into a field, as gradio notices it."""
        self.run(
            f"(() => {{ const field = document.querySelector({selector!r}); field.value = {text!r};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def choose(self, selector: str, label: str) -> None:
        """Takes an entry of one of gradio's dropdowns."""
        self.run(f"document.querySelector('{selector} input').focus()")
        self.until(f"[...document.querySelectorAll('[role=option]')].some(o => o.innerText.trim().endsWith({label!r}))")
        self.run(
            f"[...document.querySelectorAll('[role=option]')].find(o => o.innerText.trim().endsWith({label!r}))"
            ".dispatchEvent(new MouseEvent('mousedown', {bubbles: true}))"
        )
        self.until("!document.querySelector('[role=option]')")  # the next list might have an entry of that name too

    def show(self, address: str, width: int = 1200, colours: str = "light") -> None:
        """Opens the app anew. width: px; colours: "light" or "dark", as the reader's machine asks for."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        wish = {"name": "prefers-color-scheme", "value": colours}
        self.call("Emulation.setEmulatedMedia", features=[wish])
        self.open(address)
        self.until("(document.querySelector('#p2d-prompt textarea') || {}).value", 120)

    def unfold(self, title: str, element: str) -> None:
        """Opens one of gradio's accordions, whose parts exist only from then on."""
        self.until(f"[...document.querySelectorAll('button')].find(one => one.innerText.trim().startsWith({title!r}))")
        self.run(
            f"[...document.querySelectorAll('button')].find(b => b.innerText.trim().startsWith({title!r})).click()"
        )
        self.until(f"document.querySelector({element!r})")
        time.sleep(0.5)  # gradio listens to a part a moment after it shows it


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
    """The app, opened anew."""
    browsers[0].show(address)
    return browsers[0]
