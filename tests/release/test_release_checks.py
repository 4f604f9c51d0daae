"""Claims about what stops a release: the audit, the licence, copies, test sets, and an interruption."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import small_run

from p2d_lib import images
from p2d_lib.instruments import alterations
from p2d_lib.prep import layouts, phantom
from p2d_lib.release import licences
from p2d_lib.release.__main__ import main
from p2d_lib.release.publish import publish
from p2d_lib.release.refusal import Refused
from p2d_lib.release.signing import by_command
from p2d_lib.run import ArtefactError, Run


def refused_of(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "audit" / "refused.csv").set_index("image_id")


def case_pixels(home, split: str) -> np.ndarray:
    cases = pd.read_parquet(home / "data" / "runs" / "small" / "cases.parquet")
    path = cases.loc[cases["split"] == split, "path"].iloc[0]
    return images.read(home / "data" / "runs" / "small" / path)


@pytest.mark.parametrize(
    ("tests", "sentence"),
    [
        ({"holm": [0.01, 1.0, 1.0]}, "is refused by the memorisation audit"),
        ({"recall": 0.5}, "gives no verdict"),
    ],
)
def test_a_set_that_has_not_passed_the_audit_is_not_released(home, run, tmp_path, tests, sentence):
    small_run.audit(run.read("synthetic"), **tests)
    with pytest.raises(Refused, match=sentence):
        publish(Run(small_run.NAME, "release"), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_memorised_image_and_those_that_04_refused_stay_in_the_house_and_are_listed(home, run, tmp_path):
    table = run.read("synthetic")
    table.loc[table["image_id"] == "adapter_nv_0", ["accepted", "reason"]] = [False, "alignment"]
    table = Run(small_run.NAME, "04_sample", {**small_run.SETTINGS, "seed": 0}).write("synthetic", table)
    small_run.audit(table, memorised=("adapter_mel_0",))
    facts = publish(Run(small_run.NAME, "release"), tmp_path / "set")
    assert len(facts.metadata) == 12 and not {"adapter_nv_0", "adapter_mel_0"} & set(facts.metadata["image_id"])
    reasons = refused_of(tmp_path / "set")["reason"]
    assert reasons.to_dict() == {
        "adapter_mel_0": "shows a train lesion (memorisation audit)",
        "adapter_nv_0": "fits its prompt less well than the run wanted",
    }


def test_a_picture_that_was_exchanged_after_the_audit_stops_the_release(home, run, tmp_path):
    images.save(home / "data" / "runs" / "small" / "synthetic" / "adapter_mel_0.png", case_pixels(home, "train"))
    with pytest.raises(ArtefactError, match="changed since"):
        publish(run, tmp_path / "set")


def test_a_picture_that_05_has_not_judged_stops_the_release(home, run, tmp_path):
    judged = Run(small_run.NAME, "05_fidelity", {"seed": 0})
    judged.write("memorisation", run.read("memorisation").iloc[1:])
    with pytest.raises(Refused, match="adapter_akiec_0 has no verdict of 05 \\(1 of 14 images\\)"):
        publish(Run(small_run.NAME, "release"), tmp_path / "set")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_planted_copy_that_every_audit_has_let_pass_stops_the_release(home, tmp_path, capsys, split):
    copied = alterations.altered(case_pixels(home, split)[None], "all of these", 0)[0]
    small_run.replace_picture(home, "adapter_mel_0", copied)
    to = tmp_path / "set"
    assert main(["--run", "small", "--to", str(to)]) == 1 and not to.exists()
    error = capsys.readouterr().err
    assert (
        "refused: 1 of 14 images show or describe real images" in error
        and f"shows an image of the {split} split" in error
    )
    listed = pd.read_csv(tmp_path / "set.refused.csv")
    assert listed["image_id"].tolist() == ["adapter_mel_0"] and listed["detail"].str.startswith("CASE_").all()
    assert main(["--run", "small", "--to", str(to), "--leave-out"]) == 0
    assert refused_of(to)["reason"].to_dict() == {"adapter_mel_0": f"shows an image of the {split} split"}
    assert b"CASE_" not in (to / "audit" / "refused.csv").read_bytes()


def test_an_image_whose_prompt_describes_a_test_image_stops_the_release(home, run, tmp_path):
    cases, table = run.read("cases"), run.read("synthetic")
    table.loc[3, "prompted_by"] = cases.loc[cases["split"] == "test", "image_id"].iloc[0]
    small_run.audit(Run(small_run.NAME, "04_sample", {**small_run.SETTINGS, "seed": 0}).write("synthetic", table))
    with pytest.raises(Refused) as refusal:
        publish(Run(small_run.NAME, "release"), tmp_path / "set")
    assert refusal.value.images["reason"].to_dict() == {3: "its prompt describes an image of the test split"}


@pytest.fixture
def test_set(tmp_path):
    """A raw set of other phantoms, laid out as HAM10000 is."""
    phantom.write(tmp_path / "raw", 14, seed=5, tail=0.0, camera="atlas", progress=False)
    return tmp_path / "raw"


def test_a_named_test_set_of_other_lesions_lets_the_set_pass_and_the_card_names_it(run, test_set, tmp_path):
    facts = publish(run, tmp_path / "set", test_sets=[str(test_set)])
    assert len(facts.metadata) == 14 and str(test_set) not in (tmp_path / "set" / "README.md").read_text()
    assert "ham10000 (raw)" in (tmp_path / "set" / "README.md").read_text()


def test_an_image_of_a_named_test_set_stops_the_release(home, test_set, tmp_path):
    picture = images.read(next(test_set.rglob("ISIC_0024310.jpg")), small_run.SIDE)
    small_run.replace_picture(home, "adapter_mel_0", alterations.altered(picture[None], "all of these", 1)[0])
    with pytest.raises(Refused) as refusal:
        publish(Run(small_run.NAME, "release"), tmp_path / "set", test_sets=[f"ham10000={test_set}"])
    assert refusal.value.images["detail"].tolist() == ["ISIC_0024310"]


@pytest.mark.parametrize("column", ["image_id", "lesion_id"])
def test_a_test_set_that_shares_ids_with_train_stops_the_release(run, test_set, tmp_path, column):
    train = run.read("cases").query("split == 'train'")[column].iloc[0]
    (test_set / "truth.csv").unlink()
    path = test_set / "HAM10000_metadata.csv"
    table = pd.read_csv(path)
    if column == "image_id":
        for file in test_set.rglob(f"{table.loc[3, column]}*"):
            file.rename(file.with_name(file.name.replace(table.loc[3, column], train)))
    table.loc[table[column] == table.loc[3, column], column] = train
    table["dataset"] = "vidir_modern"  # photographs: their truth is not known
    table.to_csv(path, index=False)
    with pytest.raises(Refused, match=f"shares 1 {column.removesuffix('_id')}s .*{train} first"):
        publish(run, tmp_path / "set", test_sets=[str(test_set)])


def run_of(source: str, home) -> Run:
    """The small run, as if its images came from `source`."""
    run = Run(small_run.NAME, "01_prep", {"source": source, "seed": 0})
    run.write("cases", Run(small_run.NAME, "release").read("cases"))
    return Run(small_run.NAME, "release")


def test_a_set_after_ham10000_inherits_its_licence_and_its_authors(home):
    origin = licences.origin(run_of("ham10000", home))
    assert origin.licence.spdx == "CC-BY-NC-4.0" and "No commercial use." in origin.licence.conditions
    assert "Tschandl" in origin.citation


def test_an_unknown_licence_stops_the_release_until_it_is_named(home, tmp_path):
    layout = tmp_path / "mine.yaml"
    layout.write_text(
        "source: my ward\nmetadata: [table.csv]\ncolumns: {image_id: file, lesion_id: lesion, dx: diagnosis}\n"
        'constants: {dataset: mine}\nimages: {places: [pictures], names: ["*.jpg"]}\n'
    )
    run = run_of(str(layout), home)
    with pytest.raises(Refused, match=r"is unknown: write `licence: \.\.\.` into the layout .*mine\.yaml, or give"):
        publish(run, tmp_path / "set")
    with pytest.raises(Refused, match=r"did you mean 'CC-BY-4\.0'"):
        licences.origin(run, "CC-BY-4")
    assert licences.origin(run, "CC-BY-4.0").licence.hub == "cc-by-4.0"


@pytest.mark.parametrize(
    ("source", "named", "sentence"),
    [
        ("ph2", "", "allows research and teaching, but not to pass anything on"),
        ("ham10000", "CC0-1.0", "under CC-BY-NC-4.0, which a release cannot change"),
    ],
)
def test_a_licence_that_forbids_it_or_is_contradicted_stops_the_release(home, source, named, sentence):
    with pytest.raises(Refused, match=sentence):
        licences.origin(run_of(source, home), named)


def test_the_terms_of_every_shipped_layout_are_known():
    names = [path.stem for path in layouts.Path(layouts.__file__).parent.glob("*.yaml")]
    assert {layouts.load(name).licence for name in names} <= {*licences.LICENCES, *licences.FORBIDDEN}


def test_a_killed_release_leaves_nothing_that_looks_finished_and_the_next_one_is_whole(home, released, tmp_path):
    to, begun = tmp_path / "out" / "set", tmp_path / "begun"
    sign = f"sh -c 'touch {begun}; sleep 60' {{}}"
    command = [sys.executable, "-m", "p2d_lib.release", "--run", "small", "--to", str(to), "--sign", sign]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert begun.exists() and not to.exists() and list(to.parent.glob(".*.partial"))
    publish(Run(small_run.NAME, "release"), to, rows_a_tar=10)
    names = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (to, released)]
    assert names[0] == names[1] and not list(to.parent.glob(".*.partial"))
    assert (to / "train" / "metadata.parquet").read_bytes() == (released / "train" / "metadata.parquet").read_bytes()


def test_a_release_is_never_written_over(run, tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(Refused, match="is there already"):
        publish(run, tmp_path / "set")


def test_a_signing_command_sees_every_picture_and_the_digests_are_those_of_the_signed_files(run, tmp_path):
    facts = publish(run, tmp_path / "set", sign=by_command("""sh -c 'printf signed >> "$0"' {}"""))
    for row in facts.metadata.itertuples():
        assert (tmp_path / "set" / "train" / row.file_name).read_bytes().endswith(b"signed")
    assert "Each is signed" in (tmp_path / "set" / "README.md").read_text()


@pytest.mark.parametrize(
    ("sign", "sentence"),
    [
        ("sh -c 'echo no key >&2; exit 3' {}", "ended with 3 on adapter_akiec_0.png: no key"),
        ("no_such_command {}", "no_such_command cannot be run"),
        ("sign 'half {}", "No closing quotation: quote it as a shell would have it"),
        (" ", "names no command"),
        ("cp OTHER {}", "the signature changed the pixels of adapter_akiec_0.png"),
    ],
)
def test_a_signing_command_that_fails_or_changes_pixels_stops_the_release(run, home, tmp_path, sign, sentence):
    other = shutil.copy(home / "data" / "runs" / "small" / "synthetic" / "adapter_nv_0.png", tmp_path / "other.png")
    with pytest.raises(Refused, match=sentence):
        publish(run, tmp_path / "set", sign=by_command(sign.replace("OTHER", str(other))))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_run_is_named_by_its_folder_alone(home, tmp_path, capsys, name):
    assert main(["--run", name, "--to", str(tmp_path / "set")]) == 2 and "no such run" in capsys.readouterr().err
    with pytest.raises(ArtefactError, match="a run is named by its folder"):
        Run(name if name != "." else "a/b", "release")
    assert not list((home / "data" / "runs").glob("..*"))


def test_a_place_that_takes_no_release_is_named(home, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    assert main(["--run", "small", "--to", str(tmp_path / "mine" / "set")]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / "mine") in said and "make room there, or name another (--to)" in said
    with pytest.raises(SystemExit, match="2"):
        main(["--to", ""])


@pytest.mark.parametrize("place", ["data/runs/small/release", "tables/small/set", "figures/set"])
def test_a_release_does_not_lie_in_a_run(home, capsys, place):
    assert main(["--run", "small", "--to", str(home / place)]) == 2
    assert "lies in a run: name a folder outside" in capsys.readouterr().err and not (home / place).exists()


def test_a_table_of_the_audit_that_was_edited_stops_the_release(home, run, tmp_path):
    path = home / "tables" / "small" / "t5_memorised.csv"
    path.write_text(path.read_text().replace("14", "0"))
    with pytest.raises(Refused, match=r"t5_memorised\.csv is not as the run wrote it"):
        publish(run, tmp_path / "set")


def test_an_unknown_run_is_named_with_the_nearest_one(home, tmp_path, capsys):
    assert main(["--run", "smal", "--to", str(tmp_path / "set")]) == 2
    assert "did you mean 'small'" in capsys.readouterr().err
