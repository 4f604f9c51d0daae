import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2d_lib import images
from p2d_lib.files import sha256
from p2d_lib.locks import RunBusy, lock_run
from p2d_lib.run import ArtefactError, OtherParameters, Run, home
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES

DERIVED = 3200775002331599469  # pinned: every image of every run hangs on this


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    return Run("demo", "04_sample", {"seed": 3})


def synthetic(n=2):
    return pd.DataFrame(
        {
            "image_id": [f"SYN_{i}" for i in range(n)], "path": [f"synthetic/{i}.png" for i in range(n)], "sha256": "0",
            "dx": "mel", "prompt": "a melanoma", "prompted_by": "x", "seed": [2**62 + i for i in range(n)],
            "generator": "adapter", "guidance": 2.0, "steps": 15, "alignment": 0.1, "nearest_case": "x",
            "nearest_distance": 1.5, "nearest_ratio": 0.8, "accepted": True, "reason": "",
            **dict.fromkeys(FEATURES, 0.5),
        }
    )  # fmt: skip


def test_a_derived_seed_is_the_same_on_every_machine_for_ever():
    assert derive(0, "sample", 7) == DERIVED


def test_derived_seeds_do_not_collide_and_fill_their_range():
    seeds = {derive(seed, stage, i) for seed in range(5) for stage in ("sample", "scout") for i in range(10_000)}
    assert len(seeds) == 100_000
    assert 0 <= min(seeds) < 2**63 * 1e-3 and 2**63 * 0.999 < max(seeds) < 2**63


def test_places_that_look_alike_get_different_seeds():
    assert len({derive(1, "a", 1), derive(1, "a", "1"), derive(1, "a1"), derive(11, "a"), derive(1, 1, "a")}) == 5


def test_a_missing_artefact_names_the_notebook_to_run(run):
    with pytest.raises(ArtefactError, match=r"cases\.parquet is missing: run notebooks/01_prep\.ipynb with run='demo'"):
        run.path("cases")


def test_a_broken_table_names_itself_and_the_notebook_to_run_again(run):
    run.write("synthetic", synthetic())
    path = run.path("synthetic")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        ArtefactError, match=r"synthetic\.parquet is not a readable table .* notebooks/04_sample\.ipynb"
    ):
        run.read("synthetic")


def test_what_was_written_is_what_is_read(run):
    written = run.write("synthetic", synthetic())
    pd.testing.assert_frame_equal(written, run.read("synthetic"))
    assert written["seed"].tolist() == [2**62, 2**62 + 1]  # no float in between


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("dx", ["mel", "wart"], "column 'dx', row 1: 'wart' fails isin"),
        ("alignment", [0.1, 1.5], "column 'alignment', row 1: 1.5 fails less_than_or_equal_to(1)"),
        ("alignment", [0.1, np.nan], "column 'alignment', row 1: nan fails not_nullable (1 failure in all)"),
        ("image_id", ["a", "a"], "column 'image_id', row 0: 'a' fails field_uniqueness (2 failures in all)"),
        ("prompt", [None, "x"], "column 'prompt', row 0: nan fails not_nullable"),
        ("steps", [15, 1.5], "column 'steps', row 1: 1.5 is no int64 (it would become 1)"),
        ("steps", ["15", "15"], "column 'steps', row 0: '15' is no int64"),
        ("accepted", ["no", "yes"], "column 'accepted', row 0: 'no' is no bool (it would become True)"),
        ("accepted", [True, np.nan], "column 'accepted', row 1: nan is no bool"),
        ("path", [1, 2], "column 'path', row 0: 1 is no str"),
        ("mood", "good", "column 'mood' is not one that it has"),
    ],
)
def test_a_value_that_does_not_belong_is_named_and_nothing_is_written(run, column, values, sentence):
    with pytest.raises(ArtefactError) as error:
        run.write("synthetic", synthetic().assign(**{column: values}))
    assert str(error.value).startswith("synthetic: ") and sentence in str(error.value)
    assert not run.folder.exists()


def test_a_missing_column_is_named(run):
    with pytest.raises(ArtefactError, match="synthetic: column 'dx' is missing"):
        run.write("synthetic", synthetic().drop(columns="dx"))


def test_provenance_says_from_what_with_what_and_how(run, monkeypatch):
    monkeypatch.setenv("P2D_DEVICE", "cpu")
    adapter = run.folder / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "weights").write_text("w")
    run.path("adapter")
    run.write("synthetic", synthetic())
    record = json.loads((run.folder / "synthetic.parquet.provenance.json").read_text())
    assert record["sha256"] == sha256(run.path("synthetic"))
    assert record["inputs"] == {"adapter": sha256(adapter)}
    assert record["notebook"] == "04_sample" and record["parameters"] == {"seed": 3} and record["device"] == "cpu"
    assert record["packages"]["numpy"] == np.__version__ and record["seconds"] >= 0
    assert record["commit"] != "" and record["written"].endswith("+00:00")
    assert record["lock"] == sha256(Path(__file__).parents[1] / "requirements.lock")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_provenance_says_with_how_many_threads_since_results_hang_on_it(run, monkeypatch, threads):
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # else its own number counts, which tests do not change
    monkeypatch.setenv("P2D_THREADS", threads)
    run.write("synthetic", synthetic())
    assert _provenance(run.path("synthetic"))["threads"] == int(threads)


def test_what_an_artefact_was_made_with_is_read_where_something_says_it(run):
    run.write("synthetic", synthetic())
    assert run.made_with("synthetic")["parameters"] == {"seed": 3}
    (run.folder / "synthetic.parquet.provenance.json").unlink()
    with pytest.raises(ArtefactError, match=r"synthetic\.parquet has no provenance, .*/04_sample\.ipynb .* again"):
        Run("demo", "05_fidelity").made_with("synthetic")


def test_provenance_gives_the_order_in_which_one_execution_wrote(run):
    run.write("synthetic", synthetic())
    with run.writing("synthetic_images") as folder:
        folder.mkdir()
    first, second = (_provenance(run.path(name)) for name in ("synthetic", "synthetic_images"))
    assert (first["position"], second["position"]) == (0, 1) and first["execution"] == second["execution"]
    assert Run("demo", "04_sample", {"seed": 3}).execution != first["execution"]


def _provenance(path) -> dict:
    return json.loads(path.with_name(f"{path.name}.provenance.json").read_text())


@pytest.fixture
def declared(run):
    """A run that ./run_all.sh made with seed 3 in 04 and 05, and synthetic.parquet in it."""
    run.write("synthetic", synthetic())
    parameters = {name: {"run": "demo", "seed": 3, "shard": [0, 1]} for name in ("04_sample", "05_fidelity")}
    (run.folder / "parameters.json").write_text(json.dumps(parameters))
    return run


def test_a_notebook_with_other_parameters_than_its_run_is_refused_with_what_to_do(declared):
    with pytest.raises(OtherParameters) as refusal:
        Run("demo", "05_fidelity", {"run": "demo", "seed": 4, "shard": [0, 1]})
    for words in ("run 'demo' was made with 05_fidelity.seed = 3", "parameters.json", "this notebook has 4",
                  "./run_all.sh --run NAME --set 05_fidelity.seed=4 --to 05_fidelity"):  # fmt: skip
        assert words in str(refusal.value)


def test_one_of_many_processes_and_a_copied_run_have_the_same_parameters(declared):
    Run("demo", "04_sample", {"run": "copied", "seed": 3, "shard": (2, 8)})


def test_the_drivers_own_notebooks_are_not_refused(declared, monkeypatch):
    monkeypatch.setenv("P2D_RUN_MARK", str(declared.folder))
    Run("demo", "05_fidelity", {"seed": 4})
    with pytest.raises(OtherParameters):
        monkeypatch.setenv("P2D_RUN_MARK", str(declared.folder.with_name("another")))
        Run("demo", "05_fidelity", {"seed": 4})


def test_an_artefact_that_was_changed_since_it_was_made_is_not_read(declared):
    path = declared.folder / "synthetic.parquet"
    pd.read_parquet(path).assign(accepted=False).to_parquet(path)
    with pytest.raises(ArtefactError, match=r"is not what 04_sample wrote: .* run notebooks/04_sample\.ipynb .* again"):
        Run("demo", "05_fidelity").read("synthetic")


def test_an_artefact_made_with_other_parameters_than_the_runs_is_not_read(declared):
    (declared.folder / "parameters.json").write_text(json.dumps({"04_sample": {"seed": 5}}))
    with pytest.raises(ArtefactError, match=r"was made with 04_sample\.seed = 3, and the run now has 5"):
        Run("demo", "05_fidelity").read("synthetic")


def test_an_artefact_made_from_another_input_than_the_runs_is_not_read(run):
    adapter = Run("demo", "03_finetune")
    for weights in ("old", "new"):
        with adapter.writing("adapter") as folder:
            folder.mkdir()
            (folder / "weights").write_text(weights)
        if weights == "old":
            run.path("adapter")
            run.write("synthetic", synthetic())
    with pytest.raises(ArtefactError, match=r"synthetic\.parquet was made from another adapter than the run's"):
        Run("demo", "05_fidelity").read("synthetic")


ALONE = """
import sys
from p2d_lib.locks import RunBusy
from p2d_lib.run import Run
try:
    run = Run("demo", sys.argv[1], {"shard": [int(sys.argv[2]), 8]})
    print("runs", flush=True)
    sys.stdin.readline()
except RunBusy as busy:
    print(busy, flush=True)
"""


def _alone(notebook: str, shard: int = 0) -> tuple[subprocess.Popen, str]:
    """A process that runs a notebook by hand, and what it says first."""
    command = [sys.executable, "-c", ALONE, notebook, str(shard)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline()


def test_notebooks_and_parts_of_one_are_open_side_by_side_but_no_place_is_taken_twice(run):
    held = [_alone("05_fidelity"), _alone("06_classify"), _alone("04_sample", 2), _alone("04_sample", 3)]
    assert {words for _, words in held} == {"runs\n"}
    again, words = _alone("06_classify")
    assert words.startswith(f"06_classify of run 'demo' is under way (process {held[1][0].pid})")
    for process in (again, *(process for process, _ in held)):
        process.communicate("end\n")
    again, words = _alone("06_classify")
    again.communicate("end\n")
    assert words == "runs\n"


def test_the_driver_waits_for_no_notebook_and_no_notebook_starts_under_a_driver(run):
    held, _ = _alone("06_classify")
    with pytest.raises(RunBusy, match=f"run 'demo' is under way .process {held.pid}"):
        lock_run(run.folder.parent, "demo")
    held.communicate("end\n")
    driver = lock_run(run.folder.parent, "demo")
    process, words = _alone("05_fidelity")
    process.communicate("end\n")
    assert words.startswith(f"run 'demo' is under way (process {os.getpid()})")
    driver.release()


def test_images_of_a_table_come_in_its_order(run):
    folder = run.folder / "synthetic"
    folder.mkdir(parents=True)
    for i in range(3):
        images.save(folder / f"{i}.png", np.full((8, 8, 3), 10 * i, np.uint8))
    table = synthetic(3).iloc[::-1]
    shown = run.images(table)
    assert shown.shape == (3, 8, 8, 3) and shown[:, 0, 0, 0].tolist() == [20, 10, 0]
    sizes = []

    def grey(pixels):
        sizes.append(len(pixels))
        return pixels[:, 0, 0, 0]

    assert run.in_parts(table, grey, size=2).tolist() == [20, 10, 0] and sizes == [2, 1]
    parts = [(len(pixels), rows["image_id"].tolist()) for pixels, rows in run.parts(table, size=2)]
    assert parts == [(2, ["SYN_2", "SYN_1"]), (1, ["SYN_0"])]


def test_unfinished_work_survives_and_lies_apart_by_notebook(run):
    (run.scratch("images") / "part").write_text("x")
    assert (Run("demo", "04_sample").scratch("images") / "part").read_text() == "x"
    assert not list(Run("demo", "03_finetune").scratch("images").iterdir())


def test_home_is_the_repository_unless_p2d_home_names_another(monkeypatch):
    monkeypatch.delenv("P2D_HOME", raising=False)
    assert (home() / "pyproject.toml").exists()
    monkeypatch.setenv("P2D_HOME", os.sep + "elsewhere")
    assert str(home()) == os.sep + "elsewhere"


def test_the_note_speaks_of_the_phantom_only_where_all_cases_are_its_own(run):
    cases = run.folder / "cases.parquet"
    cases.parent.mkdir(parents=True)
    for datasets, note in ((["phantom", "phantom"], "phantom data"), (["vidir_modern", "rosendahl"], "")):
        pd.DataFrame({"dataset": datasets}).to_parquet(cases)
        assert run.note == note
