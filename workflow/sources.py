"""Which code a notebook's results depend on: the modules of p2d_lib that it imports, and theirs, and so on."""

import ast
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

PARAMETERS = "parameters"  # no dependency: what counts is a parameter's value, and the plan compares that


class SourceError(Exception):
    """Code that is missing or that Python cannot parse: names notebook and cell, or module, and the line."""


def digests(repository: Path, notebook: str, digest: Callable[[Path], str]) -> dict[str, str]:
    """{path: digest} of what a notebook's results depend on, paths relative to the repository.

    That is the code of the notebook's cells (not their outputs, its prose or the parameters cell, whose values the
    driver sets), every module it reaches, and the files that ship in the modules' folders (weights, examples).
    digest: of one file. Raises SourceError.
    """
    path = repository / "notebooks" / f"{notebook}.ipynb"
    cells = _cells(path)
    reached, pending = set(), set()
    for number, source in cells:
        pending |= _imported(repository, _parsed_cell(source, path, number))
    while pending:
        module = pending.pop()
        if module not in reached and PARAMETERS not in module.relative_to(repository).parts:
            reached.add(module)
            pending |= _imported_by(repository, module)
    folders = {module.parent for module in reached} - {repository / "p2d_lib"}
    shipped = {file for folder in folders for file in folder.rglob("*") if file.is_file() and _is_data(file)}
    shipped |= {file for module in reached for file in module.parent.glob(f"{module.stem}_*.csv")}
    code = hashlib.sha256(json.dumps([source for _, source in cells]).encode()).hexdigest()
    files = {str(file.relative_to(repository)): digest(file) for file in sorted(reached | shipped)}
    return {str(path.relative_to(repository)): code, **files}


def _cells(path: Path) -> list[tuple[int, str]]:
    """(number from 1 among all cells, source) of a notebook's code cells, without the parameters cell."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            (number, "".join(cell["source"]))
            for number, cell in enumerate(cells, 1)
            if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", ())
        ]
    except FileNotFoundError:
        raise SourceError(f"{_short(path)} is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{_short(path)} is no notebook ({error}): take it anew from git") from None


def _parsed_cell(source: str, path: Path, number: int) -> ast.Module:
    """A cell's code; lines of IPython's own (%time, !ls, df?) become the calls that IPython makes of them."""
    try:
        return ast.parse(source)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager  # takes a while to import

    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError as error:
        raise SourceError(f"{_short(path)}, cell {number}, {_syntax(error)}") from None


def _syntax(error: SyntaxError) -> str:
    return f"line {error.lineno}: {error.msg}: {(error.text or '').strip()}"


@cache
def _imported_by(repository: Path, module: Path) -> frozenset[Path]:
    try:
        return frozenset(_imported(repository, ast.parse(module.read_bytes())))
    except SyntaxError as error:
        raise SourceError(f"{module.relative_to(repository)}, {_syntax(error)}") from None


def _imported(repository: Path, code: ast.AST) -> set[Path]:
    names = set()
    for node in _nodes(code):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    stems = [repository.joinpath(*name.split(".")) for name in names if name.split(".")[0] == "p2d_lib"]
    files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return {file for file in files if file.exists()}


def _nodes(code: ast.AST) -> Iterator[ast.AST]:
    """All nodes, also of the code that is handed to a magic as text: %time f(), %%time."""
    for node in ast.walk(code):
        yield node
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("run_line_magic", "run_cell_magic"):
            for argument in node.args:
                try:
                    yield from ast.walk(ast.parse(argument.value))
                except (SyntaxError, AttributeError):  # not Python, as in %%bash
                    continue


def _is_data(file: Path) -> bool:
    return file.suffix != ".py" and "__pycache__" not in file.parts and not file.name.startswith(".")


def _short(path: Path) -> str:
    return f"notebooks/{path.name}"
