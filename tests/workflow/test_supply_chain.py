"""No file that somebody else made is run as code: weights, arrays, tables and settings are read as data alone."""

import ast
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
UNSAFE = {  # functions whose input can hold code, and the argument that makes them safe
    "torch.load": ("weights_only", True),
    "torch.hub.load": None,
    "pickle.load": None,
    "pickle.loads": None,
    "pickle.Unpickler": None,
    "pd.read_pickle": None,
    "joblib.load": None,
    "dill.load": None,
    "marshal.loads": None,
    "yaml.load": None,
    "yaml.unsafe_load": None,
    "yaml.full_load": None,
}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.BaseLoader"}
UNSAFE_ARGUMENTS = {
    ("allow_pickle", True),
    ("weights_only", False),
    ("trust_remote_code", True),
    ("safe_serialization", False),
}


def _unsafe_calls(source: str) -> list[str]:
    """The calls of a module that would run what a file holds."""
    found, nodes = [], list(ast.walk(ast.parse(source)))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    loaders = {node.name for node in classes if SAFE_LOADERS & set(map(ast.unparse, node.bases))}
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = {(k.arg, k.value.value) for k in call.keywords if isinstance(k.value, ast.Constant)}
        safe = UNSAFE.get(name, ()) in given or loaders & set(map(ast.unparse, call.args))
        if (name in UNSAFE and not safe) or given & UNSAFE_ARGUMENTS:
            found.append(f"line {call.lineno}: {ast.unparse(call)}")
    return found


@pytest.mark.parametrize(
    "planted",
    [
        "torch.load(path, map_location=device)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "state = pickle.load(file)",
        "yaml.load(text, Loader=yaml.Loader)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_a_planted_call_that_would_run_a_files_code_is_found(planted):
    assert len(_unsafe_calls(f"def f():\n    {planted}\n")) == 1


def test_what_reads_data_alone_is_not_taken_for_one():
    safe = "torch.load(path, weights_only=True); np.load(path); json.loads(text); yaml.safe_load(text)"
    assert _unsafe_calls(safe) == []


@pytest.mark.parametrize("folder", ["p2d_lib", "workflow", "benchmarks", "notebooks"])
def test_no_call_runs_what_a_file_holds(folder):
    found = {}
    for path in (REPOSITORY / folder).rglob("*"):
        if path.suffix == ".py":
            found[str(path.relative_to(REPOSITORY))] = _unsafe_calls(path.read_text())
        elif path.suffix == ".ipynb":
            cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
            found[str(path.relative_to(REPOSITORY))] = _unsafe_calls(
                "\n".join("".join(cell["source"]) for cell in cells)
            )
    assert found and not {name: calls for name, calls in found.items() if calls}


def test_weights_that_ship_are_safetensors():
    suffixes = {path.suffix for path in (REPOSITORY / "p2d_lib" / "models" / "tiny").rglob("*") if path.is_file()}
    assert ".safetensors" in suffixes and not suffixes & {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
