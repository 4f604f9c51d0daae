"""A finished run leaves as an RO-Crate that other programs read, and takes no path or secret along."""

import argparse
import json
from pathlib import Path

import planted_runs
import pytest
import run_crate
import sources
from rocrate.rocrate import ROCrate

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS, READS
from p2d_lib.files import file_sha256

REPOSITORY = Path(__file__).resolve().parents[2]
FIGURES = ("f1_counts.png", "f6_arms.pdf")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home with a run of phantom data, `smoke`, and one of HAM10000, `mini`, of the present code."""
    home = tmp_path_factory.mktemp("home")
    code = {notebook: sources.digests(REPOSITORY, notebook, file_sha256) for notebook in NOTEBOOKS}
    for run, source in (("smoke", {"source": "phantom", "data": ""}), ("mini", planted_runs.SOURCE["01_prep"])):
        folder = planted_runs.make(home, run, parameters={"01_prep": source})
        for notebook in NOTEBOOKS:
            stage = folder / "stages" / f"{notebook}.json"
            stage.write_text(json.dumps({**json.loads(stage.read_text()), "code": code[notebook]}))
        for name in FIGURES:
            _figure(home, folder, name)
    return home


def _figure(home: Path, folder: Path, name: str) -> None:
    notebook = next(each for each in NOTEBOOKS if each.startswith(f"0{name[1]}"))
    (home / "figures" / folder.name).mkdir(parents=True, exist_ok=True)
    (home / "figures" / folder.name / name).write_bytes(b"\x89pixels")
    (folder / "figures").mkdir(exist_ok=True)
    record = json.loads((folder / "cases.parquet.provenance.json").read_text())
    record |= {"artefact": name, "notebook": notebook, "position": 50, "caption": "Arms of the run."}
    record["sha256"] = file_sha256(home / "figures" / folder.name / name)
    (folder / "figures" / f"{name}.provenance.json").write_text(json.dumps(record))


def _export(home: Path, target: Path, monkeypatch, run: str = "smoke") -> Path:
    monkeypatch.setattr(run_crate, "HOME", home)
    monkeypatch.setattr(run_crate, "RUNS", home / "data" / "runs")
    run_crate.export(argparse.Namespace(run=run, profile="smoke", crate=str(target)))
    return target


@pytest.fixture(scope="module")
def crate(home, tmp_path_factory) -> ROCrate:
    """The crate of the smoke run, as the library reads it back."""
    with pytest.MonkeyPatch.context() as patch:
        return ROCrate(_export(home, tmp_path_factory.mktemp("crate") / "crate", patch))


@pytest.mark.parametrize("place", ["data/runs/smoke/crate", "tables/smoke/crate", "figures"])
def test_a_crate_does_not_lie_in_a_run(home, monkeypatch, place):
    monkeypatch.setenv("P2D_HOME", str(home))
    for target in (home / place / "new", home / place / ".." / place.rpartition("/")[2] / "new"):
        with pytest.raises(run_crate.Refused, match="lies in a run: name a folder outside"):
            _export(home, target, monkeypatch)
    assert not (home / place / "new").exists()


def _types(entity) -> list[str]:
    return entity.type if isinstance(entity.type, list) else [entity.type]


def _list(value) -> list:
    return value if isinstance(value, list) else [value]


def test_the_crate_says_which_profiles_it_conforms_to_and_what_it_is(crate):
    root = crate.root_dataset
    profiles = {entity.id for entity in root["conformsTo"]}
    assert {f"https://w3id.org/ro/wfrun/{name}/0.5" for name in ("process", "workflow", "provenance")} <= profiles
    assert {entity.id if hasattr(entity, "id") else entity for entity in crate.metadata["conformsTo"]} == {
        "https://w3id.org/ro/crate/1.1",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
    }
    assert all(root.get(name) for name in ("name", "description", "datePublished", "license"))


def test_the_main_entity_is_the_workflow_with_a_step_for_each_of_its_tools(crate):
    workflow = crate.mainEntity
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} == set(_types(workflow))
    tools = workflow["hasPart"]
    assert [tool.id for tool in tools] == [f"notebooks/{name}.ipynb" for name in NOTEBOOKS]
    assert [step["workExample"].id for step in workflow["step"]] == [tool.id for tool in tools]
    assert all(_types(step) == ["HowToStep"] for step in workflow["step"])


def test_each_notebook_has_an_action_with_tool_inputs_parameters_results_and_times(crate):
    actions = {entity.id: entity for entity in crate.get_entities() if "CreateAction" in _types(entity)}
    assert set(actions) == {"#run", *(f"#run-{name}" for name in NOTEBOOKS)}
    assert {entity.id for entity in crate.root_dataset["mentions"]} == set(actions)
    for notebook in NOTEBOOKS:
        action = actions[f"#run-{notebook}"]
        assert action["instrument"].id == f"notebooks/{notebook}.ipynb"
        objects = {entity.id for entity in _list(action["object"])}
        assert {f"#artefact-{name}" for name in READS[notebook]} <= objects
        assert f"#parameter-{notebook}.seed" in objects
        made = {f"#artefact-{name}" for name, each in ARTEFACTS.items() if each.made_by == notebook}
        assert made <= {entity.id for entity in _list(action.get("result", []))}
        assert action["startTime"] < action["endTime"]
    assert actions["#run"]["instrument"].id == crate.mainEntity.id
    assert "tables/t6_paired.csv" in {entity.id for entity in actions["#run"]["result"]}


def test_the_engine_has_organised_a_step_for_each_action(crate):
    (organised,) = (entity for entity in crate.get_entities() if "OrganizeAction" in _types(entity))
    assert organised["result"].id == "#run" and organised["instrument"]["name"] == "Snakemake"
    controls = organised["object"]
    assert [control["object"].id for control in controls] == [f"#run-{name}" for name in NOTEBOOKS]
    assert [control["instrument"].id for control in controls] == [f"#step-{name}" for name in NOTEBOOKS]


def test_every_file_of_the_crate_is_there_and_every_file_that_is_there_is_described(crate):
    folder = Path(crate.source)
    described = {entity.id for entity in crate.data_entities if "File" in _types(entity)}
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert described == present - {"ro-crate-metadata.json"}
    assert {"figures/f1_counts.png", "tables/t1_cohort.csv", "requirements.lock", "params/smoke.yaml"} <= described
    table = crate.get("tables/t1_cohort.csv")
    assert table["identifier"] == f"sha256:{file_sha256(folder / 'tables/t1_cohort.csv')}"


def test_every_reference_within_the_crate_leads_to_an_entity(crate):
    graph = json.loads((Path(crate.source) / "ro-crate-metadata.json").read_text())["@graph"]
    known = {entity["@id"] for entity in graph}
    linked = {
        each["@id"] for entity in graph for value in entity.values() for each in _list(value) if isinstance(each, dict)
    }
    assert len(linked & known) > 100
    assert all(identifier.startswith("https://") for identifier in linked - known)


def test_of_real_images_no_figure_and_no_folder_enters_the_crate(home, tmp_path, monkeypatch):
    target = _export(home, tmp_path / "crate", monkeypatch, run="mini")
    text = (target / "ro-crate-metadata.json").read_text()
    assert not (target / "figures").exists() and "#figure-f6_arms.pdf" in text
    assert "/somebody" not in text and str(home) not in text
    assert "CC-BY-NC-4.0" in text


@pytest.mark.parametrize(
    ("planted", "words"),
    [("hf_planted_key_123", "the value of HF_TOKEN"), ("/somebody/ham10000", "a path of this machine")],
)
def test_a_planted_secret_or_path_stops_the_export(home, tmp_path, monkeypatch, planted, words):
    monkeypatch.setenv("HF_TOKEN", "hf_planted_key_123")
    sidecar = home / "data/runs/mini/tables/t1_cohort.csv.provenance.json"
    before = sidecar.read_text()
    sidecar.write_text(before.replace("A caption.", f"Read with {planted} in hand."))
    with pytest.raises(run_crate.Refused, match=f"ro-crate-metadata.json would hold {words}: no crate was written"):
        _export(home, tmp_path / "crate", monkeypatch, run="mini")
    sidecar.write_text(before)
    assert not (tmp_path / "crate").exists()


def test_unfinished_runs_changed_code_and_full_folders_are_refused(home, tmp_path, monkeypatch):
    with pytest.raises(run_crate.Refused, match="run nowhere is not finished"):
        _export(home, tmp_path / "crate", monkeypatch, run="nowhere")
    planted_runs.make(home, "changed")
    with pytest.raises(run_crate.Refused, match="the code of 01_prep is another than run changed was made with"):
        _export(home, tmp_path / "crate", monkeypatch, run="changed")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(run_crate.Refused, match="is not empty"):
        _export(home, tmp_path / "full", monkeypatch)
    for target, words in (("full/mine.txt", "is a file"), ("full/mine.txt/crate", "cannot be written: ")):
        with pytest.raises(run_crate.Refused, match=f"{target} {words}.*another folder"):
            _export(home, tmp_path / target, monkeypatch)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_a_table_that_was_edited_does_not_enter_a_crate_under_its_old_digest(home, tmp_path, monkeypatch):
    table = home / "tables/mini/t1_cohort.csv"
    before = table.read_text()
    table.write_text(before.replace("60", "61"))
    with pytest.raises(run_crate.Refused, match=r"t1_cohort.csv was changed since 01_prep made it"):
        _export(home, tmp_path / "crate", monkeypatch, run="mini")
    table.write_text(before)


@pytest.mark.parametrize(
    ("source", "licence"),
    [("phantom", "Apache-2.0"), ("pad_ufes_20", "CC-BY-4.0"), ("ph2", ""), ("mine.yaml", "")],
)
def test_the_results_have_the_licence_of_the_images_or_none_where_spdx_or_the_project_knows_none(source, licence):
    assert run_crate._licence(source) == licence
