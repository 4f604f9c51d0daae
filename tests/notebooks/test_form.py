"""The committed notebooks: clean, complete and alike."""

import ast
import json
import re
from pathlib import Path

import pytest

from p2d_lib.artefacts import NOTEBOOKS

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


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
