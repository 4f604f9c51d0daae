"""The ground of the app: logs that lose nothing, who may enter, refusals that give nothing away."""

import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest

from p2d_lib.app import store
from p2d_lib.app.command import NotStarted, arguments, check_address, is_loopback, password
from p2d_lib.app.safety import Refused, guarded, plain_line
from p2d_lib.app.serve import open_run


def test_a_half_written_line_is_left_out_and_named_and_spoils_no_later_one(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    store.append(path, {"n": 1})
    with path.open("ab") as stream:
        stream.write(b'{"n": 2, "te')  # a power cut
    assert store.records(path) == [{"n": 1}]
    assert f"{path}, line 2" in caplog.text
    store.append(path, {"n": 3, "text": "naïve\n<b>"})
    assert store.records(path) == [{"n": 1}, {"n": 3, "text": "naïve\n<b>"}]


def test_many_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: store.append(path, {"k": k}), range(40)))
    assert sorted(record["k"] for record in store.records(path)) == list(range(40))


def test_a_record_is_on_the_disk_before_append_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append((tmp_path / "log.jsonl").read_bytes()))
    store.append(tmp_path / "log.jsonl", {"n": 1})
    assert synced[0] == b'{"n": 1}\n'


def test_a_log_begins_on_a_network_file_system_that_flushes_no_folders(tmp_path, monkeypatch):
    fsync = os.fsync

    def of_files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", of_files_only)
    store.append(tmp_path / "log.jsonl", {"n": 1})
    assert store.records(tmp_path / "log.jsonl") == [{"n": 1}]


def test_a_record_that_json_cannot_hold_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        store.append(tmp_path / "log.jsonl", {"n": float("nan")})
    assert store.records(tmp_path / "log.jsonl") == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "lesions.example"])
def test_beyond_this_machine_a_user_and_a_password_are_needed(host):
    assert not is_loopback(host)
    with pytest.raises(NotStarted, match="--user"):
        password(host, [], {"P2D_APP_PASSWORD": "long enough"})
    with pytest.raises(NotStarted, match="P2D_APP_PASSWORD"):
        password(host, ["ada"], {})
    with pytest.raises(NotStarted, match="10 characters"):
        password(host, ["ada"], {"P2D_APP_PASSWORD": "short"})
    assert password(host, ["ada"], {"P2D_APP_PASSWORD": "long enough"}) == "long enough"
    assert password(host, ["ada"], {}, ask=lambda _: "typed by hand") == "typed by hand"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_on_this_machine_nobody_needs_a_password(host):
    assert is_loopback(host) and password(host, [], {}) == ""


@pytest.mark.parametrize("argv", [["--port", "70000"], ["--port", "-1"], ["--user", ""]])
def test_a_port_or_user_that_cannot_be_is_refused(argv, capsys):
    with pytest.raises(SystemExit, match="2"):
        arguments(argv)
    assert argv[0] in capsys.readouterr().err


def test_an_address_that_is_taken_or_of_another_machine_is_refused_before_the_run_is_opened():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NotStarted, match=f"port {port} of 127.0.0.1: Address already in use: choose"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)
    with pytest.raises(NotStarted, match=r"192.0.2.1: .*choose another one"):
        check_address("192.0.2.1", 7860)


def test_a_password_is_never_an_argument():
    with pytest.raises(SystemExit):
        arguments(["--password", "secret"])


def test_the_command_says_how_to_make_a_run_where_there_is_none(tmp_path):
    command = [sys.executable, "-m", "p2d_lib.app", "--run", "absent"]
    environment = {"P2D_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "./run_all.sh --run absent" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("network", ["adapter", "scout"])
def test_a_run_without_a_network_that_makes_or_reads_images_is_not_opened(app_home, tmp_path, monkeypatch, network):
    shutil.copytree(app_home / "data" / "runs" / "other", tmp_path / "data" / "runs" / "other")
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    shutil.rmtree(tmp_path / "data" / "runs" / "other" / network)
    with pytest.raises(NotStarted, match=f"{network} is missing: .*03_finetune"):
        open_run("other")


def test_the_commands_help_needs_nothing_but_python(tmp_path):
    code = (
        "import sys; sys.modules |= dict.fromkeys(['gradio', 'pandas', 'numpy', 'torch']); "
        "from p2d_lib.app.__main__ import main; main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "P2D_APP_PASSWORD" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [("x" * 601, "601 characters"), ("a\x00b", "U+0000"), ("a\u202eb", "U+202E"), (" \n ", "empty"), (7, "text")],
)
def test_a_line_that_cannot_be_is_refused_with_its_reason(text, reason):
    with pytest.raises(Refused, match=reason.replace("+", r"\+")):
        plain_line(text, "prompt", 600)


def test_a_line_that_is_pasted_over_several_lines_becomes_one():
    assert plain_line(" naïve\n\tlesion — 痣 ", "prompt", 600) == "naïve lesion — 痣"


def test_a_refusal_is_escaped_and_any_other_failure_tells_the_browser_nothing(caplog):
    def fails(kind):
        raise {"refused": Refused("no <b>such</b> class"), "broken": RuntimeError("/secret/place is missing")}[kind]

    with pytest.raises(gr.Error) as refused:
        guarded(fails)("refused")
    assert refused.value.message == "No &lt;b&gt;such&lt;/b&gt; class."
    with pytest.raises(gr.Error) as broken:
        guarded(fails)("broken")
    assert "secret" not in broken.value.message and "/secret/place" in caplog.text


def test_a_handler_that_yields_cannot_be_guarded():
    def yields():
        yield 1

    with pytest.raises(TypeError, match="yields"):
        guarded(yields)


def test_a_log_is_plain_json_lines(tmp_path):
    store.append(tmp_path / "log.jsonl", {"b": 1, "a": "ü"})
    assert json.loads((tmp_path / "log.jsonl").read_text(encoding="utf-8")) == {"b": 1, "a": "ü"}
