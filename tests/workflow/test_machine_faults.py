"""What machines do to a run: disks that are full or may not be written to, little memory, clocks.

A run that met one of these ends with a sentence, and goes on with the same command when it is over.
P2D_FAULTS=1 ./run_tests.sh tests/workflow/test_machine_faults.py fills the disk at ten moments in place of one.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from advice import with_advice

from p2d_lib.artefacts import NOTEBOOKS

MANY = os.environ.get("P2D_FAULTS", "") == "1"


@contextmanager
def mounted(folder, *options: str):
    """A folder with a file system of its own; a skip where we may not mount one."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def moved(clone, home):
    for place in ("data", "tables", "figures"):
        shutil.move(clone.folder / place, home / place)


def sentence(output: str) -> str:
    assert "Traceback" not in output, output
    return output.strip().splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux" or os.getuid(), reason="only root of a Linux may mount a file system")
class TestDisks:
    @pytest.mark.parametrize("kilobytes", range(40, 400, 36) if MANY else [200])
    def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(self, clone, tmp_path, kilobytes):
        with mounted(tmp_path / "small", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs") as home:
            code, output = clone.run(P2D_HOME=str(home))
            assert code == 1 and "No space left on device" in output and "make room" in output, output
            assert "Traceback" not in output, output
            subprocess.run(["mount", "-o", "remount,size=20m", str(home)], check=True)
            code, output = clone.run(P2D_HOME=str(home))
            assert code == 0, output
            assert sorted((home / "ran.txt").read_text().split())[-1] == NOTEBOOKS[-1]

    def test_a_folder_that_may_only_be_read_is_named_before_anything_runs(self, clone, tmp_path):
        (tmp_path / "home").mkdir()
        moved(clone, tmp_path / "home")
        with mounted(tmp_path / "home", "--bind", str(tmp_path / "home")) as home:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(home)], check=True)
            code, output = clone.run("--from", "08_fairness", P2D_HOME=str(home))
        assert code == 2 and "cannot be written to" in sentence(output) and "P2D_HOME=DIR" in output

    @pytest.mark.skipif(not MANY, reason="takes 10 s: P2D_FAULTS=1")
    def test_a_full_folder_for_temporary_files_is_named_or_does_not_matter(self, clone, tmp_path):
        clone.with_kernels()
        with mounted(tmp_path / "temporary", "-t", "tmpfs", "-o", "size=4k", "tmpfs") as temporary:
            (temporary / "full").write_bytes(b"x" * 4096)
            code, output = clone.run("--from", "08_fairness", TMPDIR=str(temporary))
        assert code == 0 or "No space left on device" in output, output
        assert "Traceback" not in output

    def test_weights_that_a_full_disk_cut_short_are_said_to_be_so(self, tmp_path):
        import torch

        small = mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs")
        with small as home, pytest.raises(RuntimeError) as failure:
            torch.save(torch.zeros(2**19), home / "adapter.pt")
        said = with_advice(f"RuntimeError: {failure.value}")
        assert "as on a full disk: make room" in said and "P2D_HOME=DIR" in said, said


def test_a_file_that_may_not_be_written_or_is_cut_short_comes_with_what_to_do_and_another_failure_has_no_advice():
    for problem in (
        "PermissionError: [Errno 13] Permission denied: '/a/x.png'",
        "OSError: [Errno 30] Read-only file system",
    ):
        assert with_advice(problem).startswith(f"{problem}: make it yours to read and to write")
    cut_short = "RuntimeError: [enforce fail at inline_container.cc:671] . unexpected pos 17570560 vs 17570452"
    assert with_advice(cut_short).startswith(f"{cut_short}: a file of weights could not be written to its end")
    assert with_advice("ValueError: row 3 of planted.csv is 7") == "ValueError: row 3 of planted.csv is 7"


def test_dates_in_the_future_outdate_nothing(clone):
    tomorrow = time.time() + 86_400
    for path in clone.run_folder.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    assert clone.run()[0] == 0
    assert clone.ran() == []


LITTLE = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)); bytearray(2**34)"


def test_too_little_memory_is_a_sentence_that_says_what_to_do(clone):
    clone.edit("08_fairness", lambda cells: cells[2].update(source=LITTLE))
    code, output = clone.run()
    assert code == 1 and "Traceback" not in output
    said = next(line for line in output.splitlines() if "08_fairness failed" in line)
    assert said.startswith("08_fairness failed: MemoryError: more memory is needed than there is: end other pro"), said
