"""A process that is killed before any one of its writes leaves files whole: the campaign's own tool, on small work."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import kill_points
import one_process
import pandas as pd
import pytest

from p2d_lib import files
from p2d_lib.files import atomic
from p2d_lib.run import ArtefactError, Run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")


def _killed(home: Path, work: Callable[[], None], at: tuple[str, int] | None = None, log: Path | None = None) -> bool:
    """Does the work in a process of its own, which is killed at a write; whether it was."""
    if not (process := os.fork()):
        try:
            os.setsid()
            files._cleaned.clear()  # a process that has just begun has cleared no folder
            sys.addaudithook(one_process.Writes(home, at, log))
            work()
            os._exit(0)
        except BaseException:  # this copy of pytest must not go on
            traceback.print_exc()
            os._exit(70)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _moments(home: Path, work: Callable[[], None], log: Path) -> list[tuple[str, int]]:
    """Every write of the work, which is done once for it."""
    assert not _killed(home, work, log=log)
    counts = one_process.counted(log)
    return [(kind, n) for kind in counts for n in range(1, counts[kind] + 1)]


def _write(path: Path, text: str, folder: bool) -> None:
    with atomic(path) as partial:
        if folder:
            partial.mkdir()
            (partial / "a.txt").write_text(text)
            (partial / "b.txt").write_text(text)
        else:
            partial.write_text(text)


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_killed_before_any_of_its_writes_it_leaves_the_old_or_the_new_and_the_next_write_clears_up(tmp_path, folder):
    home, path = tmp_path / "home", tmp_path / "home" / "made"
    _write(path, "old", folder)
    times = _moments(home, lambda: _write(path, "new", folder), tmp_path / "log")
    assert len(times) >= 4 + 2 * folder
    seen = set()
    for at in times:
        _write(path, "old", folder)
        assert _killed(home, lambda: _write(path, "new", folder), at)
        seen.add(
            tuple(sorted(file.read_text() for file in (path.rglob("*") if path.is_dir() else [path]) if file.exists()))
        )
        assert not _killed(home, lambda: _write(path, "last", folder)), "another process goes on"
        assert [each.name for each in home.iterdir()] == ["made"]
    whole = {(text,) * (1 + folder) for text in ("old", "new")}
    assert seen == whole | ({()} if folder else set()), "a folder is absent while another takes its place"


def test_an_artefact_and_its_provenance_are_never_of_two_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("P2D_RUN_MARK", str(tmp_path / "home" / "data" / "runs" / "micro"))

    def write(reason: str) -> None:
        row = {"image_id": "a", "file": "a.jpg", "row": 2, "stage": "image", "reason": reason}
        Run("micro", "01_prep").write("quarantine", pd.DataFrame([row]))

    def read() -> str:
        try:
            return Run("micro", "02_describe").read("quarantine")["reason"].item()
        except ArtefactError as error:
            assert "is not what 01_prep wrote" in str(error)
            return "refused"

    write("old")
    seen = []
    for at in _moments(tmp_path / "home", lambda: write("new"), tmp_path / "log"):
        files._cleaned.clear()  # else what the kill before has left is cleared by the process that is killed next
        write("old")
        assert _killed(tmp_path / "home", lambda: write("new"), at)
        seen.append(read())
    assert list(dict.fromkeys(seen)) == ["old", "refused", "new"], "in the order of the writes"


@pytest.mark.parametrize(
    ("event", "path", "kind"),
    [
        ("os.rename", "/data/runs/micro/cases.parquet", "os.rename /data/runs/micro/cases.parquet"),
        ("open", "/data/.images.host.77.x_1.partial/images/ISIC_0000012.png", "open /data/(partial)/*.png"),
        ("os.mkdir", "/tables/micro/.t1_audit.csv.host.77.ab.partial", "os.mkdir /tables/micro/(partial of *.csv)"),
        ("os.rename", "/tables/micro/t1_audit.csv", "os.rename /tables/micro/*.csv"),
    ],
)
def test_writes_of_one_kind_have_one_name_whatever_their_number_and_process(event, path, kind):
    assert one_process.kind_of_write(event, path) == kind


def test_a_finished_home_with_a_folder_of_an_unfinished_write_is_noticed(tmp_path):
    for name in ("data/.cases.parquet.host.1.x.partial", "data/scratch/.a.host.1.x.partial"):
        (tmp_path / name).mkdir(parents=True)
    assert kill_points.leftovers(tmp_path) == ["data/.cases.parquet.host.1.x.partial"]
