"""The paper at a micro size: all eight notebooks through the driver that ./run_all.sh calls."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS, READS

REPOSITORY = Path(__file__).resolve().parents[2]
MICRO = (
    "01_prep.n_images=420", "01_prep.tail=0.2",
    "02_describe.clip_steps=4", "02_describe.captioner_steps=[8, 8]", "02_describe.captions_per_image=2",
    "02_describe.other_clip_steps=4",
    "03_finetune.lora_steps=3", "03_finetune.baseline_steps=3",
    "03_finetune.scout_steps=120", "03_finetune.alignment_steps=4",
    "04_sample.per_class=8", "04_sample.others_per_class=4", "04_sample.num_inference_steps=6",
    "04_sample.sweep_guidance=[1.0, 5.0]", "04_sample.sweep_steps=[4]", "04_sample.sweep_per_class=1",
    "04_sample.random_per_class=2", "04_sample.compositions=2", "04_sample.composition_seeds=1",
    "04_sample.counterfactual_pairs=1",
    "06_classify.seeds=2", "06_classify.steps=4", "06_classify.external_images=40",
    "06_classify.guidance_sweep=[1.0, 5.0]", "06_classify.guidance_per_class=1", "06_classify.guidance_steps=4",
    "06_classify.prompts_per_class=2",
    "06_classify.recipe_steps=2", "06_classify.study_steps=4", "06_classify.study_evaluate_every=2",
    "07_readers.n_images=14",
    "07_readers.vlm_base_steps=2", "07_readers.vlm_base_epochs=0.05", "07_readers.vlm_epochs=0.05",
    "08_fairness.min_n=3",
)  # fmt: skip


class Paper:
    """A run of the paper in its own home."""

    def __init__(self, home: Path):
        self.home, self.folder = home, home / "data" / "runs" / "micro"

    def run(self, *more: str) -> str:
        settings = [word for setting in MICRO for word in ("--set", setting)]
        driver = [sys.executable, str(REPOSITORY / "workflow" / "drive.py"), "--run", "micro", *settings, *more]
        environment = {**os.environ, "P2D_HOME": str(self.home)}
        done = subprocess.run(driver, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr[-1000:]
        assert "unknown parameter" not in done.stdout + done.stderr  # of papermill, which cannot read all remarks
        return done.stderr

    def by_hand(self, notebook: str, **parameters: object) -> subprocess.CompletedProcess:
        """A notebook run as README shows it, with the parameters of the run except for these."""
        parameters = {**json.loads((self.folder / "parameters.json").read_text())[notebook], **parameters}
        values = self.home / "by_hand.json"  # which YAML is, too
        values.write_text(json.dumps(parameters))
        executed = self.home / "by_hand.ipynb"
        source = REPOSITORY / "notebooks" / f"{notebook}.ipynb"
        command = [sys.executable, "-m", "papermill", str(source), str(executed)]
        command += ["--cwd", str(source.parent), "-f", str(values), "-k", "python3", "--no-progress-bar"]
        environment = {**os.environ, "P2D_HOME": str(self.home), "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def made(self, notebook: str) -> dict:
        return json.loads((self.folder / "stages" / f"{notebook}.json").read_text())

    def times(self) -> dict[str, int]:
        return {name: (self.folder / "stages" / f"{name}.json").stat().st_mtime_ns for name in NOTEBOOKS}

    def contents(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for kind in ("tables", "figures")
            for path in (self.home / kind).rglob("*.*")
        }


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Paper:
    paper = Paper(tmp_path_factory.mktemp("paper"))
    paper.run()
    return paper


def test_every_artefact_is_there_with_its_provenance(paper):
    for artefact in ARTEFACTS.values():
        path = paper.folder / artefact.path
        assert path.exists(), artefact.path
        origin = json.loads(path.with_name(f"{path.name}.provenance.json").read_text())
        assert origin["notebook"] == artefact.made_by


def test_the_adapters_of_two_equal_runs_are_equal_files_wherever_they_lie(paper):
    settings = json.loads((paper.folder / "vlm_adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "tiny"
    assert settings["target_modules"] == sorted(settings["target_modules"])
    assert {path.suffix for path in (paper.folder / "vlm_adapter").iterdir()} == {".json", ".safetensors"}


def test_what_each_notebook_reads_is_what_the_graph_of_artefacts_says(paper):
    read = {notebook: set() for notebook in NOTEBOOKS}
    for sidecar in paper.folder.rglob("*.provenance.json"):
        origin = json.loads(sidecar.read_text())
        read[origin["notebook"]] |= set(origin["inputs"])
    assert read == {notebook: set(artefacts) for notebook, artefacts in READS.items()}


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_leaves_tables_and_figures_shows_each_figure_once_and_speaks_of_what_it_found(paper, notebook):
    made = paper.made(notebook)
    tables, figures = {Path(name).stem for name in made["tables"]}, {Path(name).stem for name in made["figures"]}
    number = int(notebook[:2])
    assert tables and all(name.startswith(f"t{number}_") for name in tables)
    assert figures and all(name.startswith(f"f{number}_") for name in figures)
    for names, kind, suffixes in ((tables, "tables", ("csv", "tex")), (figures, "figures", ("pdf", "png"))):
        for name in names:
            for suffix in suffixes:
                assert (paper.home / kind / "micro" / f"{name}.{suffix}").stat().st_size > 0
    for name in tables:
        assert "hantom data" in (paper.home / "tables" / "micro" / f"{name}.tex").read_text(), (
            f"{name} hides its source"
        )
    executed = json.loads((paper.folder / "notebooks" / f"{notebook}.ipynb").read_text())
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == len(figures)
    findings = "".join("".join(output["data"].get("text/markdown", "")) for output in executed["cells"][-1]["outputs"])
    assert len(findings.split()) > 10
    assert not re.search(r"\bnan\b", findings, re.I), findings


def test_the_page_of_the_run_shows_every_table_and_figure(paper):
    page = (paper.folder / "index.html").read_text()
    for notebook in NOTEBOOKS:
        made = paper.made(notebook)
        for kind in ("tables", "figures"):
            for name in made[kind]:
                assert f"../../../{kind}/micro/{name}" in page
        assert (paper.folder / "notebooks" / f"{notebook}.html").exists()


def test_a_notebook_run_by_hand_with_other_parameters_is_refused_and_with_the_runs_it_changes_nothing(paper):
    before, contents = paper.times(), paper.contents()
    refused = paper.by_hand("08_fairness", seed=3)
    assert refused.returncode != 0
    assert (
        "run 'micro' was made with 08_fairness.seed = 0" in refused.stderr and "this notebook has 3" in refused.stderr
    )
    assert paper.contents() == contents
    made = paper.by_hand("08_fairness")
    assert made.returncode == 0, made.stderr[-1000:]
    assert paper.contents() == contents
    paper.run()
    assert paper.times() == before


def test_again_nothing_runs_a_parameter_reruns_what_depends_on_it_and_set_back_it_gives_the_same_bytes(paper):
    before, contents = paper.times(), paper.contents()
    assert "unchanged" in paper.run()
    assert paper.times() == before
    paper.run("--set", "08_fairness.seed=1")
    after = paper.times()
    assert [name for name in NOTEBOOKS if after[name] != before[name]] == ["08_fairness"]
    assert paper.contents() != contents
    paper.run()
    assert paper.contents() == contents
