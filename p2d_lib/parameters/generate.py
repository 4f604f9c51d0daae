"""Writes params/smoke.yaml and the parameters cell of each notebook from the fields of the models."""

import json
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from p2d_lib.parameters.profiles import MODELS, PROFILES
from p2d_lib.parameters.types import Notebook

NOTEBOOKS = PROFILES.parent / "notebooks"
WIDTH = 120  # characters of a line, as ruff checks them
INDENT = "  "  # of the parameters of a notebook in YAML
HEADER = """\
# The whole paper in minutes on two CPU cores: the dermoscopic phantom, tiny models.
# Written by `python -m p2d_lib.parameters` from the fields of p2d_lib/parameters: change them there.
# Every parameter of every notebook is here; the other profiles hold what differs.
"""


def smoke() -> str:
    """The text of params/smoke.yaml."""
    parts = [HEADER + f"common:\n  seed: {Notebook.model_fields['seed'].default}"]
    for name, model in MODELS.items():
        lines = _lines(model, lambda key, value: f"{key}: {_yaml(value)}", Notebook.model_fields)
        parts.append("\n".join([f"{name}:", *(f"{INDENT}{line}" if line else "" for line in lines)]))
    return "\n\n".join(parts) + "\n"


def cell(notebook: str) -> str:
    """The source of a notebook's parameters cell."""
    return "\n".join(_lines(MODELS[notebook], lambda key, value: f"{key} = {_python(value)}"))


def outdated(write: bool = False) -> list[Path]:
    """The files that differ from what the fields say; write: they are written anew."""
    texts = {PROFILES / "smoke.yaml": smoke()}
    for name in MODELS:
        path = NOTEBOOKS / f"{name}.ipynb"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not JSON (line {error.lineno}: {error.msg}); an unfinished merge?") from None
        tagged = [part for part in content["cells"] if "parameters" in part["metadata"].get("tags", [])]
        if len(tagged) != 1:
            raise ValueError(f"{path}: {len(tagged)} cells have the tag `parameters`; expected one")
        tagged[0]["source"] = cell(name).splitlines(keepends=True)
        texts[path] = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    differing = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in differing if write else []:
        path.write_text(texts[path], encoding="utf-8")
    return differing


def _lines(model: type[Notebook], assign: Callable[[str, Any], str], without: Container[str] = ()) -> list[str]:
    """The lines of a model's parameters: headings, assignments and, behind or above these, the descriptions."""
    lines = []
    for name, field in model.model_fields.items():
        if name in without:
            continue
        if heading := model.HEADINGS.get(name):
            lines += [""] * bool(lines) + [f"# --- {heading} ---"]
        line = assign(name, field.default)
        options = _options(field.annotation)
        remark = "# " + field.description.removesuffix(".") + (f" ({' | '.join(options)})" if options else "")
        fits = len(INDENT) + len(line) + 2 + len(remark) <= WIDTH
        lines += [f"{line}  {remark}"] if fits else [remark, line]
    return lines


def _options(annotation: Any) -> tuple[str, ...]:
    """The words that a parameter, or an element of a list, may be; () where any value of its type may be given."""
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _yaml(value: Any) -> str:
    if value == "":
        return '""'
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _python(value: Any) -> str:
    """As ruff formats it: repr with double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_python, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_python(key)}: {_python(of_it)}' for key, of_it in value.items())}}}"
    return repr(value)
