"""./run_all.sh --verify: what agrees, what does not, and where two runs part."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import cli
import planted_runs
import pytest
import reference as references
import verify
import verify_origin
import verify_tables
from planted_runs import judged

from p2d_lib.artefacts import NOTEBOOKS
from p2d_lib.locks import lock_run

REPOSITORY = Path(__file__).resolve().parents[2]
AUDITED = {"memorisation": "d" * 64}
RERUNS = {"on-1": 1, "on-3": 3, "on-4": 4}  # threads


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home with a run, `smoke`, and its reruns on other numbers of threads."""
    home = tmp_path_factory.mktemp("home")
    planted_runs.make(home)
    for name, threads in RERUNS.items():
        planted_runs.make(home, name, threads=threads)
    return home


@pytest.fixture
def at_home(home, monkeypatch) -> Path:
    planted_runs.take_as_home(home, monkeypatch)
    return home


@pytest.fixture
def reference(at_home, tmp_path) -> Path:
    return references.write(tmp_path / "reference", "smoke", list(RERUNS))


def _rows(home: Path, name: str) -> list[list[str]]:
    """A table of the run, its head first, to be changed."""
    table = verify_tables.Table.read(home / "tables" / "smoke" / f"{name}.csv")
    return [list(each) for each in (table.columns, *table.rows)]


def test_the_run_itself_agrees_in_every_bit_and_times_do_not_count(reference, home):
    verdict = judged(reference, home / "data/runs/smoke")
    assert verdict.agrees and not verdict.diverging and not verdict.differs
    assert verdict.counts == {"same bits": 6 + 24 + 60 + 15, "a time, not compared": 8}
    assert verdict.line().startswith("agrees with the reference: 113 cells of 4 tables (105 same bits")


def test_a_run_on_another_number_of_threads_agrees_and_the_threads_are_named(reference, tmp_path):
    verdict = judged(reference, planted_runs.make(tmp_path, threads=8))
    assert verdict.agrees, verdict.line()
    assert verdict.counts["inside the interval"] > 10 and verdict.counts["inside the spread of reruns"] > 5
    assert "First to differ: descriptions.parquet of 02_describe (threads: 8, was 2)" in verdict.line()


def test_an_honest_rerun_is_called_changed_about_as_rarely_as_the_level_says(reference):
    loaded, _ = references.load(reference)
    alarms = 0
    for k in range(150):
        run = dict(loaded.tables)
        for notebook in ("04_sample", "06_classify", "08_fairness"):
            state = f"{k:04}{notebook[:2]}abcdef"
            run |= {name: _as_table(rows) for name, rows in planted_runs.tables(notebook, state).items()}
        alarms += any(cell.nearness == "outside" for cell in verify_tables.compare(loaded, run))
    assert alarms <= 150 * 0.04


def _as_table(rows: list[list[str]]) -> verify_tables.Table:
    return verify_tables.Table(tuple(rows[0]), tuple(map(tuple, rows[1:])))


@pytest.mark.parametrize(
    ("parameters", "facts", "first", "culprit"),
    [
        ({notebook: {"seed": 3} for notebook in NOTEBOOKS}, {}, "images of 01_prep", "parameter seed: 3, was 0"),
        ({"04_sample": {"guidance_scale": 3.0}}, {}, "plan.parquet of 04_sample",
         "parameter guidance_scale: 3.0, was 5.0"),
        ({}, {"threads": 8}, "descriptions.parquet of 02_describe", "threads: 8, was 2"),
        ({}, {"lock": "b" * 64}, "images of 01_prep",
         "requirements.lock: digest bbbbbbbbbbbbbbbb, was aaaaaaaaaaaaaaaa"),
        ({}, {"device": "cuda"}, "descriptions.parquet of 02_describe", "device: cuda, was cpu"),
        ({}, {"data": "other"}, "images of 01_prep", "data HAM10000_metadata.csv: "),
        ({}, {"commit": "abc1234-dirty", "code": {"05_fidelity": "2"}}, "memorisation.parquet of 05_fidelity",
         "code: commit abc1234-dirty, was abc1234"),
        ({}, {"commit": "fff9999", "code": {"03_finetune": "2"}}, "base of 03_finetune",
         "code: commit fff9999, was abc1234"),
        ({}, {"earlier": AUDITED}, "plan.parquet of 04_sample",
         "from an earlier pass over the run: memorisation.parquet (dddddddddddddddd), was nothing"),
    ],
    ids=["seed", "guidance", "threads", "lock", "device", "data", "dirty commit", "other commit", "second pass"],
)  # fmt: skip
def test_the_first_that_differs_and_what_differs_there_are_named(
    reference, tmp_path, parameters, facts, first, culprit
):
    verdict = judged(reference, planted_runs.make(tmp_path, parameters=parameters, **facts))
    assert f"First to differ: {first} ({culprit}" in verdict.line()
    assert len(verdict.differs_there) == 1


def test_a_commit_that_changes_nothing_is_named_and_the_run_agrees(reference, tmp_path):
    verdict = judged(reference, planted_runs.make(tmp_path, commit="fff9999-dirty"))
    assert verdict.agrees and "but commit fff9999-dirty, was abc1234" in verdict.line()


def test_a_difference_that_nothing_recorded_explains_is_said_to_be_one(reference, tmp_path):
    folder = planted_runs.make(tmp_path, data="")
    sidecar = folder / "images.provenance.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "sha256": "c" * 64}))
    assert (
        "First to differ: images of 01_prep (nothing that is recorded differs there" in judged(reference, folder).line()
    )


def test_a_table_edited_by_hand_is_named_also_where_the_value_stays_inside_its_interval(reference, tmp_path):
    folder = planted_runs.make(tmp_path)
    path = tmp_path / "tables/smoke/t8_groups.csv"
    text = path.read_text()
    value = text.splitlines()[1].split('"')[1].split(" ")[0]
    path.write_text(text.replace(f'"{value} ', f'"{float(value) + 0.02:.3f} '))
    verdict = judged(reference, folder)
    assert not verdict.agrees and not verdict.outside
    assert "t8_groups.csv was changed by hand since it was made" in verdict.line()
    assert "First to differ: t8_groups.csv of 08_fairness (changed by hand)" in verdict.line()


@pytest.mark.parametrize(
    ("change", "row", "why"),
    [
        (lambda rows: rows.pop(3), "under 30", "the row is missing"),
        (lambda rows: rows[2].__setitem__(0, "men"), "male", "a label of the row has changed"),
        (lambda rows: rows.append(["60–74", "31", "0.6 [0.5, 0.7]"]), "60–74", "the row is new"),
        (lambda rows: rows[1].__setitem__(1, "32"), "female", "no rerun has changed this column"),
        (lambda rows: rows[1].__setitem__(2, "0.980 [0.880, 1.000]"), "female", "the reruns allow"),
        (lambda rows: rows[1].__setitem__(2, "n too small"), "female", "no table of the reference has"),
        (lambda rows: [row.pop() for row in rows], "", "the column is missing"),
    ],
    ids=["row missing", "label", "row new", "count", "value", "words", "column"],
)  # fmt: skip
def test_what_has_changed_in_a_table_is_named(reference, home, tmp_path, change, row, why):
    rows = _rows(home, "t8_groups")
    change(rows)
    verdict = judged(reference, planted_runs.make(tmp_path, tables={"t8_groups": rows}))
    assert not verdict.agrees and not verdict.edited
    outside = [(cell.table, cell.row) for cell in verdict.outside if cell.why.startswith(why)]
    assert outside == [("t8_groups", row)] and len(verdict.outside) == 1
    assert "1 of " in verdict.line() and "outside, in t8_groups. First to differ: t8_groups.csv" in verdict.line()


def test_a_missing_table_is_outside_and_a_new_one_is_only_mentioned(reference, tmp_path):
    folder = planted_runs.make(tmp_path, tables={"t6_new": [["a"], ["1"]]})
    (tmp_path / "tables/smoke/t4_synthetic.csv").unlink()
    verdict = judged(reference, folder)
    assert [(cell.table, cell.why) for cell in verdict.outside] == [("t4_synthetic", "the table is missing")]
    assert verdict.new_tables == ["t6_new"] and "the reference does not have: t6_new" in verify.markdown(verdict)


@pytest.mark.parametrize(
    ("new", "agrees"), [("higher", True), ("no difference is shown", True), ("lower", False), ("hihger", False)]
)
def test_a_verdict_may_be_another_where_reruns_disagree_and_never_one_that_no_rerun_knows(
    reference, home, tmp_path, new, agrees
):
    rows = _rows(home, "t6_paired")
    rows[1][4] = new
    assert judged(reference, planted_runs.make(tmp_path, tables={"t6_paired": rows})).agrees == agrees


def test_a_number_that_a_rerun_has_no_value_for_is_not_bounded_and_said_to_be_loose():
    def table(*texts: str) -> dict[str, verify_tables.Table]:
        rows = [["feature", "effect"], *([f"feature {k}", text] for k, text in enumerate(texts))]
        return {"t4_effects": _as_table(rows)}

    first, again, run = table("0.5", "0.25", "0.75"), table("n too small", "0.25", "0.75"), table("0.9", "0.25", "0.75")
    reference = verify_tables.Reference(first, {"again": again}, {"again": True})
    (cell,) = [each for each in verify_tables.compare(reference, run) if each.nearness != "same bits"]
    assert (cell.nearness, cell.loose, cell.row) == ("inside the spread of reruns", True, "feature 0")
    (cell,) = [each for each in verify_tables.compare(reference, table("0.5", "0.9", "0.75")) if each.why]
    assert (cell.nearness, cell.row) == ("outside", "feature 1")


def test_without_reruns_a_number_without_interval_must_be_the_same(at_home, tmp_path):
    alone = references.write(tmp_path / "alone", "smoke", [])
    verdict = judged(alone, planted_runs.make(tmp_path, threads=8))
    assert {cell.column for cell in verdict.outside} >= {"alignment", "p"}
    assert "accuracy" not in {cell.column for cell in verdict.outside}
    assert "the spread is not known" in verify.markdown(verdict)


def test_the_seconds_of_a_table_do_not_change_its_digest(tmp_path):
    import pandas as pd

    folder, digests = planted_runs.make(tmp_path), []
    for seconds, text in ((0.1, "a"), (0.2, "a"), (0.2, "b")):
        pd.DataFrame({"image_id": ["x"], "text": [text], "seconds": [seconds]}).to_parquet(
            folder / "descriptions.parquet"
        )
        digests.append(verify_origin.origin(folder)["artefacts"]["descriptions"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/data/ham10000", "ham10000"), ("/data/ham10000/", "ham10000"), ("isic2019=/data/isic", "isic2019=isic"),
        ("clip:/models/my clip", "clip:my clip"), ("~/x/y.csv", "y.csv"), (r"C:\data\ham", "ham"),
        ("microsoft/llava-med", "microsoft/llava-med"), ("phantom=atlas", "phantom=atlas"), ("", ""), (3, 3),
        ([["/a/b"], {"c": "/d/e"}], [["b"], {"c": "e"}]),
    ],
)  # fmt: skip
def test_a_reference_keeps_no_folder_of_a_machine(value, expected):
    assert verify_origin.portable(value) == expected


def test_the_reference_holds_no_path_and_of_a_rerun_only_what_came_out_otherwise(reference):
    text = (reference / "origin.json").read_text()
    assert "/somebody" not in text and "ham10000" in text
    assert {path.name for path in (reference / "reruns/on-1").iterdir()} == {
        "t4_synthetic.csv", "t6_paired.csv", "t8_groups.csv"
    }  # fmt: skip
    assert json.loads(text)["reruns"]["on-1"]["differs"] == ["threads: 1, was 2"]


@pytest.mark.parametrize("folder", sorted(references.FOLDER.iterdir()), ids=lambda folder: folder.name)
def test_a_committed_reference_is_whole_small_and_of_tables_alone(folder):
    loaded, record = references.load(folder)
    assert set(loaded.tables) == set(record["tables"]) and set(record["notebooks"]) == set(NOTEBOOKS)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".csv", ".json"}
    assert sum(path.stat().st_size for path in files) < 500_000
    assert not [value for value in _texts(record) if value.startswith(("/", "~")) or ":\\" in value]


def _texts(value: object) -> list[str]:
    if isinstance(value, dict | list):
        return [text for each in (value.values() if isinstance(value, dict) else value) for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def test_a_run_that_is_no_rerun_is_refused(at_home, tmp_path):
    planted_runs.make(at_home, "other", parameters={"06_classify": {"steps": 9}})
    with pytest.raises(references.Refused, match="run other is no rerun of smoke: parameter steps: 9, was 170"):
        references.write(tmp_path / "reference", "smoke", ["other"])
    planted_runs.make(at_home, "half")
    (at_home / "data/runs/half/stages/08_fairness.json").unlink()
    with pytest.raises(references.Refused, match=r"run half is not finished \(08_fairness has not been made"):
        references.write(tmp_path / "reference", "smoke", ["half"])
    edited = planted_runs.make(at_home, "edited")
    (edited.parents[2] / "tables/edited/t1_cohort.csv").write_text("diagnosis,images\n")
    with pytest.raises(references.Refused, match="t1_cohort of run edited was changed since"):
        references.write(tmp_path / "reference", "edited", [])


def test_a_run_whose_04_obeyed_an_audit_of_05_is_no_reference_and_no_rerun_of_one(at_home, tmp_path):
    planted_runs.make(at_home, "second-pass", earlier=AUDITED)
    words = r"04_sample of run second-pass obeyed memorisation.parquet \(dddddddddddddddd\), which an earlier pass .*: "
    words += "delete this file in .*/second-pass, then ./run_all.sh --run second-pass --from 04_sample"
    with pytest.raises(references.Refused, match=words):
        references.write(tmp_path / "reference", "second-pass", [])
    with pytest.raises(references.Refused, match=words):
        references.write(tmp_path / "reference", "smoke", ["second-pass"])
    assert not (tmp_path / "reference").exists()


def test_one_command_makes_the_rerun_and_then_the_reference(at_home, tmp_path, monkeypatch):
    def run_paper(options: argparse.Namespace, argv: list[str]) -> int:
        planted_runs.make(at_home, options.run, threads=options.cores)
        return 0

    monkeypatch.setattr("paper.run_paper", run_paper)
    monkeypatch.setattr(references, "_outdated", lambda options, run: dict.fromkeys(NOTEBOOKS, ""))
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    options = argparse.Namespace(profile="smoke", run=None, cores=2, make_reference=["on-3"], rerun_on=[1])
    assert references.make(options, []) == 0
    record = json.loads((tmp_path / "smoke" / "origin.json").read_text())
    assert {name: each["differs"] for name, each in record["reruns"].items()} == {
        "on-3": ["threads: 3, was 2"],
        "smoke-on-1": ["threads: 1, was 2"],
    }
    monkeypatch.setattr("paper.run_paper", lambda options, argv: 130)  # stopped: the reference stays as it was
    assert references.make(argparse.Namespace(**{**vars(options), "rerun_on": [4]}), []) == 130
    assert json.loads((tmp_path / "smoke" / "origin.json").read_text()) == record


@pytest.mark.parametrize("changed", [None, *NOTEBOOKS])
def test_a_rerun_begun_anew_does_not_obey_its_own_audit_of_before_and_one_that_goes_on_keeps_it(
    at_home, monkeypatch, changed
):
    audit = planted_runs.make(at_home, "again") / "memorisation.parquet"
    why = {notebook: "it has changed" if notebook == changed else "" for notebook in NOTEBOOKS}
    monkeypatch.setattr(references, "_outdated", lambda options, run: why)
    references._forget_audit(_options("again"), "again")
    assert audit.exists() == (changed is None or changed > "04_sample")


def test_reruns_of_a_run_that_would_come_out_otherwise_today_are_not_begun(at_home, monkeypatch):
    def run_paper(options: argparse.Namespace, argv: list[str]) -> int:
        raise AssertionError("half an hour of work whose result is refused")

    monkeypatch.setattr("paper.run_paper", run_paper)
    options = {"profile": "smoke", "run": None, "cores": 2, "make_reference": [], "rerun_on": [1], "data": ""}
    options |= {"seed": 3, "set": [], "dry_run": False}
    words = r"smoke would come out otherwise today \(parameter data is .*give the options that it was made with"
    with pytest.raises(references.Refused, match=words):
        references.make(argparse.Namespace(**options), [])


def test_a_rerun_with_another_seed_widens_numbers_and_leaves_counts_exact(at_home, tmp_path):
    other = _rows(at_home, "t8_groups")
    other[1][1] = "32"
    seed = {"06_classify": {"seed": 1}}
    planted_runs.make(at_home, "seed", parameters=seed, tables={"t8_groups": other})
    made = references.write(tmp_path / "reference", "smoke", ["on-1", "seed"])
    assert json.loads((made / "origin.json").read_text())["reruns"]["seed"]["same_parameters"] is False
    assert judged(made, at_home / "data/runs/smoke").agrees
    verdict = judged(made, planted_runs.make(tmp_path, tables={"t8_groups": other}))
    assert [(cell.column, cell.run) for cell in verdict.outside] == [("lesions", "32")]


def test_a_word_that_no_rerun_has_changed_is_exact_also_where_another_row_has_it(reference, home, tmp_path):
    rows = _rows(home, "t1_cohort")
    rows[2][2] = "benign"
    verdict = judged(reference, planted_runs.make(tmp_path, tables={"t1_cohort": rows}))
    assert [(cell.row, cell.why) for cell in verdict.outside] == [
        ("melanoma", "the words have changed, which no rerun has done")
    ]


def test_a_reference_that_was_edited_is_refused(reference):
    path = reference / "t6_paired.csv"
    path.write_text(path.read_text().replace("AUC", "auc"))
    with pytest.raises(references.Refused, match="is not what the reference was made with"):
        references.load(reference)


def test_an_origin_that_is_damaged_and_an_edited_rerun_are_refused(reference):
    path = next((reference / "reruns" / "on-3").glob("*.csv"))
    text = path.read_text()
    path.write_text(text.replace(",", ",0", 1))
    with pytest.raises(references.Refused, match=f"{path} is not what the reference was made with"):
        references.load(reference)
    path.write_text(text)
    references.load(reference)
    for damaged in ("", '{"tables": 3}', '{"tables": {}}'):
        (reference / "origin.json").write_text(damaged)
        with pytest.raises(references.Refused, match=r"origin.json does not say what the reference was made from"):
            references.load(reference)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,\xff\n", "t1_x.csv is no table"),
        (b"a,b\n1,2\n1,2,3\n", "t1_x.csv, row 2: 3 cells"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_its_row(tmp_path, content, words):
    (tmp_path / "t1_x.csv").write_bytes(content)
    with pytest.raises(references.Refused, match=words):
        verify_tables.read_folder(tmp_path)


@pytest.mark.parametrize(
    ("profile", "reruns", "words"),
    [
        ("{mine}", [], "no such profile"),
        ("smok", [], "did you mean 'smoke'"),
        ("smoke", ["smoke"], "a run is no rerun of itself"),
        ("smoke", ["../smoke"], "write a name of letters"),
    ],
)
def test_a_reference_is_made_nowhere_else_and_of_other_runs_alone(
    at_home, tmp_path, monkeypatch, profile, reruns, words
):
    monkeypatch.setattr(references, "FOLDER", tmp_path / "reference")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    options = {"profile": profile.format(mine=tmp_path / "mine"), "run": "smoke", "make_reference": reruns}
    with pytest.raises(references.Refused, match=words):
        references.make(argparse.Namespace(**options, rerun_on=[]), [])
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine" and not (tmp_path / "reference").exists()


def test_a_run_that_is_being_made_is_not_compared(at_home):
    lock = lock_run(at_home / "data" / "runs", "on-4")
    try:
        command = [sys.executable, str(REPOSITORY / "workflow" / "drive.py"), "--verify", "--run", "on-4"]
        done = subprocess.run(command, env={**os.environ, "P2D_HOME": str(at_home)}, capture_output=True, text=True)
    finally:
        lock.release()
    assert done.returncode == 2 and "run 'on-4' is under way" in done.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--crate", ""], "--crate is followed by nothing"),
        (["--verify", "--against", ""], "--against is followed by nothing"),
        (["--copy-to", ""], "--copy-to is followed by nothing"),
        (["--verify", "--crate", "x"], "--verify and --crate do not go together"),
        (["--make-reference", "--dry-run"], "--make-reference and --dry-run do not go together"),
        (["--rerun-on", "2"], "add --make-reference"),
        (["--make-reference", "--rerun-on", "2", "--rerun-on", "0"], "--rerun-on 0: at least one core is needed"),
        (["--verify", "--set", "06_classify.sedes=5"], "--verify takes the finished run as it is: leave out --set$"),
        (["--against", "tables/smoke", "--seed", "0"], "--verify takes the finished run as it is: leave out --seed$"),
        (["--crate", "x", "--data", "y", "--to", "03_finetune"], "--crate takes .*: leave out --to, --data$"),
        (["--make-reference", "other", "--shards", "2"], "--make-reference takes .*: leave out --shards$"),
        (["--make-reference", "--processes", "2"], "leave out --processes$"),
        (["--make-reference", "--rerun-on", "2", "--from", "04_sample"], "makes whole reruns: leave out --from$"),
        (["--verify", "--copy-to", "x"], "leave out --copy-to$"),
    ],
)
def test_options_that_would_be_ignored_start_nothing(argv, words):
    with pytest.raises(references.Refused, match=words):
        cli.arguments(argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["--profile", "smoke", "--verify", "--cores", "2"],
        ["--run", "lora4", "--verify", "--against", "tables/smoke"],
        [
            "--profile",
            "mini",
            "--make-reference",
            "--rerun-on",
            "1",
            "--data",
            "x",
            "--seed",
            "3",
            "--set",
            "01_prep.a=1",
        ],
        ["--run", "mine", "--crate", "x"],
        ["--dry-run", "--from", "04_sample", "--set", "06_classify.seeds=5"],
    ],
)
def test_options_that_are_obeyed_go_together(argv):
    assert cli.arguments(argv)


def _drive(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    driver = [sys.executable, str(REPOSITORY / "workflow" / "drive.py"), *arguments]
    return subprocess.run(driver, env={**os.environ, "P2D_HOME": str(home)}, capture_output=True, text=True)


def test_the_command_says_one_line_leaves_both_files_and_exits_as_the_verdict_is(reference, tmp_path):
    other = {"04_sample": {"guidance_scale": 3.0}}
    planted_runs.make(tmp_path, parameters=other, tables={"t8_groups": [["group", "lesions"]]})
    done = _drive(tmp_path, "--verify", "--against", str(reference))
    assert done.returncode == 1, done.stderr
    assert "does not agree with" in done.stderr and "parameter guidance_scale: 3.0, was 5.0" in done.stderr
    record = json.loads((tmp_path / "tables/smoke/verify.json").read_text())
    assert not record["agrees"] and record["verdict"] in (tmp_path / "tables/smoke/verify.md").read_text()
    assert record["diverging"] == ["plan.parquet", "04_sample"]
    planted_runs.make(tmp_path)
    done = _drive(tmp_path, "--verify", "--against", str(reference))
    assert done.returncode == 0 and done.stderr.startswith("agrees with "), done.stderr


def _options(run: str = "", against: str = "") -> argparse.Namespace:
    return argparse.Namespace(profile="smoke", run=run, against=against)


def test_a_run_that_is_not_finished_or_has_no_reference_is_refused_in_a_sentence(at_home, tmp_path):
    with pytest.raises(references.Refused, match=r"run nowhere is not finished \(01_prep, "):
        verify.verify(_options(run="nowhere"))
    with pytest.raises(references.Refused, match=f"there is no reference {tmp_path}/nothing"):
        verify.verify(_options(against=str(tmp_path / "nothing")))


def test_two_runs_are_compared_by_their_folders_of_tables(at_home, capsys):
    assert verify.verify(_options(run="on-1", against=str(at_home / "tables" / "smoke"))) == 1
    assert "threads: 1, was 2" in capsys.readouterr().err
