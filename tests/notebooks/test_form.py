"""The committed notebooks: clean, complete and alike."""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from p2d_lib.artefacts import NOTEBOOKS

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "notebooks"
FILTER = ["-m", "nbstripout", "--keep-id", "--extra-keys", "metadata.papermill cell.metadata.papermill"]


@pytest.fixture(params=NOTEBOOKS)
def notebook(request) -> tuple[str, dict]:
    return request.param, json.loads((FOLDER / f"{request.param}.ipynb").read_text(encoding="utf-8"))


def _sources(content: dict, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def test_the_folder_holds_the_eight_notebooks_and_nothing_else():
    assert sorted(path.name for path in FOLDER.iterdir() if not path.name.startswith(".")) == [
        f"{name}.ipynb" for name in NOTEBOOKS
    ]


def test_no_outputs_no_counts_no_traces_of_an_execution(notebook):
    _, content = notebook
    assert "papermill" not in content["metadata"]
    for cell in content["cells"]:
        assert not cell.get("outputs"), cell["id"]
        assert cell.get("execution_count") is None, cell["id"]
        assert not {"papermill", "execution"} & set(cell["metadata"]), cell["id"]


def test_the_git_filter_changes_no_committed_notebook_and_cleans_an_executed_one(tmp_path):
    committed = sorted(FOLDER.glob("*.ipynb"))
    verified = subprocess.run([sys.executable, *FILTER, "--verify", *committed], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr

    content = json.loads(committed[0].read_text(encoding="utf-8"))
    content["metadata"]["papermill"] = {"duration": 1.5}
    for cell in content["cells"]:
        cell["metadata"]["papermill"] = {"status": "completed"}
        if cell["cell_type"] == "code":
            cell |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}]}
    executed = tmp_path / "executed.ipynb"
    executed.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    subprocess.run([sys.executable, *FILTER, executed], check=True)
    assert executed.read_bytes() == committed[0].read_bytes()


def test_the_git_filter_that_the_handbook_sets_up_is_the_one_that_is_tested():
    assert "*.ipynb filter=nbstripout" in (REPOSITORY / ".gitattributes").read_text().splitlines()
    howto = (REPOSITORY / "docs" / "HOWTO.md").read_text(encoding="utf-8")
    set_up = re.search(r"git config filter\.nbstripout\.clean '(.+)'", howto).group(1)
    assert shlex.split(set_up) == [".venv/bin/python", *FILTER]


def test_unfinished_work_is_discarded_in_the_last_code_cell_alone(notebook):
    """A notebook that is killed before begins anew: what an earlier cell had thrown away would be sampled again."""
    *before, _ = _sources(notebook[1], "code")
    assert not [source for source in before if re.search(r"\.(discard|finish)\(", source)]


def test_the_parameters_cell_holds_plain_assignments_alone(notebook):
    _, content = notebook
    tagged = [cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    body = ast.parse("".join(tagged[0]["source"])).body
    assert all(isinstance(line, ast.Assign) for line in body), "papermill reads nothing else"


def test_it_opens_with_its_question_in_and_out_and_ends_with_findings(notebook):
    name, content = notebook
    first = content["cells"][0]
    assert first["cell_type"] == "markdown"
    opening = "".join(first["source"])
    assert re.match(rf"# {name[:2]} · \w+.*\?", opening), "title: number, name and question"
    assert "**In:**" in opening and "**Out:**" in opening
    headings = re.findall(r"^## (.+)", "\n".join(_sources(content, "markdown")), re.M)
    assert headings[-1] == "Findings"
    assert content["cells"][-1]["cell_type"] == "code", "findings are computed"
    assert "Markdown(" in _sources(content, "code")[-1]


def test_no_function_is_over_ten_lines_and_the_kernel_is_ours(notebook):
    _, content = notebook
    assert content["metadata"]["kernelspec"]["name"] == "prompt2derm"
    for node in ast.walk(ast.parse("\n".join(_sources(content, "code")))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 10, node.name


def test_every_table_and_figure_has_a_caption(notebook):
    """The page of a run shows it, and without one the bare name of the file."""
    _, content = notebook
    saves = [
        call
        for source in _sources(content, "code")
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("figures.save", "tables.save")
    ]
    assert saves
    for call in saves:
        assert len(call.args) >= 4, ast.unparse(call)
