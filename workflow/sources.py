"""Which code a notebook's results depend on: the modules of p2d_lib that it imports, and theirs, and so on."""

import ast
import json
from pathlib import Path

PARAMETERS = "parameters"  # no dependency: a parameter's value is one, and Snakemake sees it under `params:`


def sources(repository: Path, notebook: str) -> list[Path]:
    """The notebook's file, every module it reaches and the files that ship in their folders (weights, examples)."""
    path = repository / "notebooks" / f"{notebook}.ipynb"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    found, pending = set(), _imported(repository, code, path)
    while pending:
        module = pending.pop()
        if module not in found and PARAMETERS not in module.parts:
            found.add(module)
            pending |= _imported(repository, module.read_text(encoding="utf-8"), module)
    rooms = {module.parent for module in found} - {repository / "p2d_lib"}
    shipped = {file for room in rooms for file in room.rglob("*") if file.is_file() and _is_data(file)}
    shipped |= {file for module in found for file in module.parent.glob(f"{module.stem}_*.csv")}
    return [path, *sorted(found | shipped)]


def _is_data(file: Path) -> bool:
    return file.suffix != ".py" and "__pycache__" not in file.parts


def _imported(repository: Path, code: str, where: Path) -> set[Path]:
    names = set()
    for node in ast.walk(ast.parse(code, str(where))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    stems = [repository.joinpath(*name.split(".")) for name in names if name.split(".")[0] == "p2d_lib"]
    files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return {file for file in files if file.exists()}
