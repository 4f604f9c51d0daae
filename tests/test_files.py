"""Writes that are whole or not there, whoever else writes, and digests of contents."""

import os
import signal
import subprocess
import sys
import time

import pytest

from p2d_lib.files import atomic, sha256


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(path) as partial:
        partial.write_text("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_a_folder_leaves_the_old_folder_whole(tmp_path):
    path = tmp_path / "adapter"
    path.mkdir()
    (path / "weights").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(path) as partial:
        partial.mkdir()
        (partial / "weights").write_text("half")
        1 / 0  # noqa: B018
    assert (path / "weights").read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_new_folder_replaces_the_old_one_with_nothing_left_of_it(tmp_path):
    for names in (("a", "b"), ("b", "c")):
        with atomic(tmp_path / "folder") as partial:
            partial.mkdir()
            for name in names:
                (partial / name).write_text(name)
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == ["b", "c"]


KILLED = """
import sys, time
from pathlib import Path
from p2d_lib.files import atomic
with atomic(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "a zombie, as in a container whose init reaps none"])
def test_a_kill_while_writing_leaves_the_old_file_and_the_next_write_succeeds_and_clears_up(tmp_path, reaped):
    path = tmp_path / "table.csv"
    path.write_text("old")
    writer = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "writing\n"
    writer.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, writer.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
    assert path.read_text() == "old"
    with atomic(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
    writer.communicate()


def test_a_folders_digest_follows_names_and_contents(tmp_path):
    def digest(**files):
        folder = tmp_path / str(time.monotonic_ns())
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return sha256(folder)

    assert digest(a="1", b="2") == digest(b="2", a="1")
    assert len({digest(a="1", b="2"), digest(a="2", b="1"), digest(a="1"), digest(a="12")}) == 4


WRITER = """
import sys, time
from pathlib import Path
from p2d_lib.files import atomic
target, mark, folder = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "folder"
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    with atomic(target) as partial:
        if folder:
            partial.mkdir()
        for name in ("a", "b") if folder else ("",):
            with (partial / name).open("w") as stream:
                for _ in range(20):
                    stream.write(mark * 1000)
                    stream.flush()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_processes_that_write_one_path_at_once_each_leave_it_whole(tmp_path, kind):
    target = tmp_path / "table.csv"
    arguments = [[sys.executable, "-c", WRITER, str(target), mark, kind] for mark in "xyz"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen(each, **pipes) for each in arguments]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        if kind == "file" and target.exists():
            assert _whole(target.read_text())
    errors = [writer.communicate()[1] for writer in writers]
    assert errors == ["", "", ""]
    files = [target] if kind == "file" else [target / "a", target / "b"]
    contents = {file.read_text() for file in files}
    assert len(contents) == 1 and _whole(contents.pop())
    assert list(tmp_path.iterdir()) == [target]


def _whole(text: str) -> bool:
    """20,000 letters of one writer."""
    return len(text) == 20_000 and len(set(text)) == 1


def test_a_write_leaves_alone_what_another_living_process_is_writing(tmp_path):
    path = tmp_path / "table.csv"
    writer = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "writing\n"
    with atomic(path) as partial:
        partial.write_text("new")
    (unfinished,) = tmp_path.glob(".*.partial")
    assert (unfinished / "table.csv").read_text() == "half"
    writer.kill()
    writer.communicate()


def test_the_folder_that_holds_a_new_name_is_flushed_to_disk(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (flushed.append(os.fstat(descriptor).st_ino), fsync(descriptor))
    )
    with atomic(tmp_path / "table.csv") as partial:
        partial.write_text("new")
        written = partial.stat().st_ino
    assert flushed == [written, tmp_path.stat().st_ino]


def test_temporary_files_of_a_dead_process_do_not_count_in_a_folders_digest(tmp_path):
    (tmp_path / "a").write_text("1")
    before = sha256(tmp_path)
    leftover = tmp_path / ".b.elsewhere.1.x.partial"
    leftover.mkdir()
    (leftover / "b").write_text("half")
    (tmp_path / ".DS_Store").write_text("x")
    assert sha256(tmp_path) == before
