"""Claims about processes that share one plan, shown with real processes."""

import hashlib
import json
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

from p2d_lib.run import Run
from p2d_lib.sample import shards
from p2d_lib.vocabulary import FEATURES

N_IMAGES, N_SHARDS = 23, 5
WORKER = """
import sys, time
import pandas as pd
from p2d_lib.run import Run
from p2d_lib.sample import shards

i, n, planned = int(sys.argv[1]), int(sys.argv[2]), pd.read_pickle(sys.argv[3])
run = Run("shared", "04_sample", {"shard": [i, n]})
shards.write_plan(run, planned, (i, n))
paths = [run.scratch("images") / f"{name}.png" for name in planned["image_id"]]
for path in paths[i::n]:
    path.touch()
while not all(path.exists() for path in paths):  # so that all ask at the same moment who is the last
    time.sleep(0.01)
lock = shards.last_one(run, paths, paths[i::n], (i, n))
with (run.folder / "measured.txt").open("a") as stream:
    stream.write(f"{i}\\n")
if "hang" in sys.argv:
    print("measuring", flush=True)
    time.sleep(60)
time.sleep(0.5)  # while the others wait
run.discard("images")
lock.release()
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    return Run("shared", "04_sample", {"shard": [8, 9]})  # a place that no worker takes


@pytest.fixture
def planned():
    names = [f"adapter_mel_{k:05d}" for k in range(N_IMAGES)]
    table = pd.DataFrame({"image_id": names, "dx": "mel", "prompt": "melanoma", "prompted_by": "case"})
    table = table.assign(**dict.fromkeys(FEATURES, 0.5), seed=range(N_IMAGES), generator="adapter")
    return table.assign(red=np.nan)


def start(shard, n_shards, planned, tmp_path, *more):
    planned.to_pickle(tmp_path / "planned.pkl")
    command = [sys.executable, "-c", WORKER, str(shard), str(n_shards), str(tmp_path / "planned.pkl"), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_processes_that_end_at_once_one_measures_and_the_others_end_well(run, planned, tmp_path):
    processes = [start(i, N_SHARDS, planned, tmp_path) for i in range(N_SHARDS)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * N_SHARDS, outputs
    measured = (run.folder / "measured.txt").read_text().split()
    assert len(measured) == 1
    for i, (printed, _) in enumerate(outputs):
        assert ("Another process" in printed) == (str(i) != measured[0]), printed
    pd.testing.assert_frame_equal(run.read("plan"), planned, check_dtype=False)


def test_where_the_process_that_measures_is_killed_the_next_one_measures(run, planned, tmp_path):
    first = start(0, 1, planned, tmp_path, "hang")
    assert first.stdout.readline() == "measuring\n"
    first.kill()
    first.communicate()
    second = start(0, 1, planned, tmp_path)
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert (run.folder / "measured.txt").read_text() == "0\n0\n"


def files(run, names):
    for name in names:
        (run.scratch("images") / name).write_text(name)
    return [run.scratch("images") / name for name in "abcd"]


def last_one(run, paths, shard, **more):
    return shards.last_one(run, paths, paths[shard[0] :: shard[1]], shard, **more)


def test_a_process_before_the_last_says_what_is_missing(run, capsys):
    with pytest.raises(SystemExit) as ended:
        last_one(run, files(run, "ac"), (0, 2))
    assert ended.value.code == 0
    assert "Shard [0, 2] is sampled. 2 images of the other shards are missing" in capsys.readouterr().out
    with last_one(run, files(run, "bd"), (1, 2)) as lock:
        assert lock.is_locked


def test_a_process_that_comes_while_another_measures_does_not_wait_for_it(run, capsys):
    with last_one(run, files(run, "abcd"), (0, 2)), pytest.raises(SystemExit) as ended:
        last_one(run, files(run, "abcd"), (1, 2), wait=0.05)
    assert ended.value.code == 0
    assert "Another process measures the images" in capsys.readouterr().out


def test_the_plan_is_written_again_only_where_it_differs(run, planned):
    path = run.folder / "plan.parquet"
    shards.write_plan(run, planned, (3, 8))
    first = path.stat().st_mtime_ns
    shards.write_plan(run, planned, (4, 8))
    assert path.stat().st_mtime_ns == first
    shards.write_plan(run, planned.assign(prompt="nevus"), (4, 8))
    assert run.read("plan")["prompt"].unique().tolist() == ["nevus"]


def test_for_papermill_an_early_end_is_a_success_and_no_later_cell_runs(run, tmp_path):
    cells = [
        "from pathlib import Path\nfrom p2d_lib.run import Run\nfrom p2d_lib.sample import shards",
        "files = [Path('a.png'), Path('missing.png')]\nfiles[0].touch()\n"
        "shards.last_one(Run('shared', '04_sample', {'shard': [0, 2]}), files, files[:1], [0, 2])",
        "Path('later').touch()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", cwd=tmp_path, kernel_name="python3", progress_bar=False
    )
    executed = json.loads((tmp_path / "out.ipynb").read_text())
    printed = "".join(str(output) for output in executed["cells"][1]["outputs"])
    assert "Shard [0, 2] is sampled" in printed
    assert not (tmp_path / "later").exists()


def test_each_shard_leaves_a_manifest_of_the_same_list_and_a_damaged_image_is_removed_by_it(run):
    paths = files(run, "abcd")
    for shard in ((0, 2), (1, 2)):
        last_one(run, paths, shard).release()
    manifests = [json.loads(path.read_text()) for path in sorted(run.scratch("images").glob("shard-*-of-2.json"))]
    assert [manifest["shard"] for manifest in manifests] == [[0, 2], [1, 2]]
    assert manifests[0]["list"] == manifests[1]["list"]
    assert [sorted(manifest["images"]) for manifest in manifests] == [["a", "c"], ["b", "d"]]
    assert manifests[1]["images"]["d"] == hashlib.sha256(b"d").hexdigest()
    assert shards.remove_damaged(run.scratch("images")) == 0
    paths[3].write_text("cut")
    assert shards.remove_damaged(run.scratch("images")) == 1
    assert [path.name for path in paths if path.exists()] == ["a", "b", "c"]


def test_under_the_driver_no_shard_measures_not_even_the_last(run, monkeypatch, capsys):
    monkeypatch.setenv("P2D_RUN_MARK", str(run.folder))
    driven = Run("shared", "04_sample", {"shard": [1, 2]})
    with pytest.raises(SystemExit) as ended:
        last_one(driven, files(run, "abcd"), (1, 2))
    assert ended.value.code == 0
    assert "04_sample measures the images when all shards are" in capsys.readouterr().out
    assert (run.scratch("images") / "shard-1-of-2.json").exists()
    assert last_one(driven, files(run, ""), (0, 1)).is_locked  # the stage itself
