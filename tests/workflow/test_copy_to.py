"""Claims about the copies of a finished run in another place."""

import json
import shutil

import copies
import pytest
from cli import Refused


def shown(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for kind in ("tables/smoke", "figures/smoke", "data/runs/smoke/notebooks", "data/runs/smoke/index.html")
        for path in sorted((folder / kind).rglob("*") if (folder / kind).is_dir() else [folder / kind])
        if path.is_file()
    }


def test_a_finished_run_is_copied_once_and_then_only_what_has_changed(clone, tmp_path):
    store = tmp_path / "a store"
    code, output = clone.run("--copy-to", f"file://{store}")
    assert code == 0 and clone.ran() == [], output
    assert shown(store) == shown(clone.folder) and len(shown(store)) > 20
    assert not (store / "data/runs/smoke/cases.parquet").exists()  # patients' data stay
    (clone.folder / "tables" / "smoke" / "t_08_fairness.csv").write_text("b\n")
    assert copies.copy_run(clone.run_folder, clone.folder, f"file://{store}") == 1
    assert (store / "tables" / "smoke" / "t_08_fairness.csv").read_text() == "b\n"
    before = shown(store)
    shutil.rmtree(store / "figures")  # by the record they are there
    assert copies.copy_run(clone.run_folder, clone.folder, f"file://{store}") > 0 and shown(store) == before
    assert set(json.loads((clone.run_folder / copies.RECORD).read_text())) == {f"file://{store}"}


def test_a_place_that_takes_no_file_is_named_and_the_run_is_finished(clone, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(Refused, match=r"--copy-to .*mine: .*Not a directory.*the run itself is finished"):
        copies.copy_run(clone.run_folder, clone.folder, str(tmp_path / "mine"))
    assert (tmp_path / "mine").read_text() == "mine"


def test_an_address_that_nothing_can_be_copied_to_is_refused_before_the_run(clone):
    with pytest.raises(Refused, match=r"--copy-to nowhere://bucket: .*s3:// needs the package s3fs"):
        copies.check("nowhere://bucket")
    code, output = clone.run("--copy-to", "nowhere://bucket", "--from", "01_prep")
    assert code == 2 and clone.ran() == [] and len(output.splitlines()) == 1
