"""Notebooks run in this process, cell by cell."""

import ast
import json
from pathlib import Path

import matplotlib.pyplot as plt

from p2d_lib.parameters import profile

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def findings(notebook: str, run: str, **parameters) -> str:
    """Runs a notebook's code cells with its smoke parameters and those given; the text that its last cell shows."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    variables = profile("smoke")[notebook] | {"run": run, **parameters}
    for cell in cells:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", ()):
            code = ast.parse("".join(cell["source"]))
            last = code.body.pop() if cell is cells[-1] else None
            exec(compile(code, f"{notebook}:{cell['id']}", "exec"), variables)
    plt.close("all")
    return eval(compile(ast.Expression(last.value), notebook, "eval"), variables).data
