"""The profiles (params/*.yaml): files of parameters for all notebooks, checked before anything runs.

`extends: smoke` takes another profile's values for all parameters that a file does not have. Unknown names, wrong types
and impossible values are refused with their place and the nearest valid name.
"""

import ast
import re
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from p2d_lib import yaml_text
from p2d_lib.parameters import together
from p2d_lib.parameters.classify import Classify
from p2d_lib.parameters.describe import Describe
from p2d_lib.parameters.fairness import Fairness
from p2d_lib.parameters.fidelity import Fidelity
from p2d_lib.parameters.finetune import Finetune
from p2d_lib.parameters.prep import Prep
from p2d_lib.parameters.readers import Readers
from p2d_lib.parameters.sample import Sample
from p2d_lib.parameters.types import Notebook, Weights
from p2d_lib.suggest import did_you_mean

PROFILES = Path(__file__).resolve().parents[2] / "params"
MODELS = {
    "01_prep": Prep,
    "02_describe": Describe,
    "03_finetune": Finetune,
    "04_sample": Sample,
    "05_fidelity": Fidelity,
    "06_classify": Classify,
    "07_readers": Readers,
    "08_fairness": Fairness,
}

COPIED_BLANKS = re.compile(r"(?m)^[ \u00a0]+|(?<=:)\u00a0+")  # those of web pages, which do not break lines
LONGEST_SHOWN = 200  # letters of a wrong value in a message

Value = tuple[Any, str]  # a value and where it comes from: a profile's file or an option of the command line


class ParameterError(Exception):
    """Unknown parameters, or values that they cannot take; a line each.

    valid: the checked parameters of the notebooks whose own are all right.
    """

    def __init__(self, message: str, valid: dict[str, dict] | None = None):
        super().__init__(message)
        self.valid = valid or {}


def profile(name: str, run: str | None = None, overrides: tuple[str, ...] = ()) -> dict[str, dict]:
    """The checked parameters of all notebooks: {notebook: {name: value}}.

    name: a file of params/. run: the run's name; default: the profile's. overrides: "06_classify.seeds=5", each value
    in YAML. Raises ParameterError, which names all that is wrong.
    """
    values, problems = _load(name), []
    for override in overrides:
        try:
            notebook, parameter, value = _override(override)
        except ParameterError as error:
            problems.append(str(error))
        else:
            values.setdefault(notebook, {})[parameter] = value, f"--set {override}"
    common = {"run": (name, f"params/{name}.yaml"), **values.pop("common", {})}
    if run is not None:
        common["run"] = run, f"--run {run!r}"
    try:
        _check("01_prep", {"run": common["run"]}, f"params/{name}.yaml")
    except ParameterError as error:  # once, and not for each notebook
        problems.append(f"{error}{'; --run NAME gives the run of this file a name' if run is None else ''}")
        common["run"] = "smoke", ""  # a name that is right, whatever the file is called
    checked = {}
    for notebook in MODELS:
        try:
            own = {**common, **values.get(notebook, {})}
            checked[notebook] = _check(notebook, own, f"params/{name}.yaml").model_dump()
        except ParameterError as error:
            known = {problem.replace(other, notebook) for problem in problems for other in MODELS}
            problems += [problem for problem in str(error).split("\n") if problem not in known]  # --seed: once

    def given(notebook: str, parameter: str) -> str:
        place = values.get(notebook, {}).get(parameter, (None, f"params/{name}.yaml"))[1]
        return f"{place}: {notebook}.{parameter}: {checked[notebook][parameter]!r}"

    problems += together.problems(checked, given)
    if problems:
        raise ParameterError("\n".join(dict.fromkeys(problems)), checked)
    return checked


def naming_weights() -> dict[tuple[str, str], Weights]:
    """The parameters that name weights: (notebook, parameter) -> how."""
    marked = {}
    for notebook, model in MODELS.items():
        for name, field in model.model_fields.items():
            of_items = [mark for item in get_args(field.annotation) for mark in getattr(item, "__metadata__", ())]
            for mark in (*field.metadata, *of_items):
                if isinstance(mark, Weights):
                    marked[notebook, name] = mark
    return marked


def _override(override: str) -> tuple[str, str, Any]:
    key, equals, value = override.partition("=")
    notebook, dot, parameter = key.partition(".")
    if not (equals and dot):
        raise ParameterError(f"--set {override}: write it as NOTEBOOK.PARAMETER=VALUE, e.g. 06_classify.seeds=5")
    if notebook not in MODELS:
        raise ParameterError(f"--set {override}: no notebook {notebook!r}{did_you_mean(notebook, MODELS)}")
    return notebook, parameter, _parse(value, f"--set {override}")


def _parse(text: str, place: str) -> Any:
    try:
        return yaml_text.load(text)
    except yaml_text.YamlError as error:
        raise ParameterError(f"{place}: a value that YAML cannot read: {error}") from None


def _load(name: str, extended_by: tuple[str, ...] = ()) -> dict[str, dict[str, Value]]:
    """A profile's values with those that it inherits. extended_by: the profiles that lead to it."""
    if name in extended_by:
        raise ParameterError(
            f"params/{name}.yaml: extends itself ({' -> '.join((*extended_by, name))}); cut the circle"
        )
    known = sorted(file.stem for file in PROFILES.glob("*.yaml"))
    if name not in known:
        raise ParameterError(f"no profile {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    place = f"params/{name}.yaml"
    content = _sections(PROFILES / f"{name}.yaml", place)
    parent = content.pop("extends", "")
    if not isinstance(parent, str):
        raise ParameterError(f"{place}: extends: {parent!r} is no profile; name one, or take the line out")
    if unknown := set(content) - {*MODELS, "common"}:
        raise ParameterError(f"{place}: no notebook {min(unknown)!r}{did_you_mean(min(unknown), MODELS)}")
    values = {
        notebook: {key: (value, place) for key, value in section.items()} for notebook, section in content.items()
    }
    inherited = _load(parent, (*extended_by, name)) if parent else {}
    return {key: {**inherited.get(key, {}), **values.get(key, {})} for key in {**inherited, **values}}


def _sections(path: Path, place: str) -> dict[str, Any]:
    """What a profile's file holds: a section for each notebook, and "extends"."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = _parse(COPIED_BLANKS.sub(lambda blanks: " " * len(blanks[0]), text), place)
    except UnicodeDecodeError:
        raise ParameterError(f"{place}: is no UTF-8 text; save it as UTF-8, or take it anew from git") from None
    if not isinstance(content, dict):
        held = "is empty" if content is None else f"holds {type(content).__name__} in place of sections"
        raise ParameterError(f"{place}: {held}; write NOTEBOOK: and its parameters below, or take it anew from git")
    for notebook, section in content.items():
        if notebook != "extends" and not (isinstance(section, dict) and all(isinstance(name, str) for name in section)):
            raise ParameterError(
                f"{place}: {notebook}: holds {section!r} in place of parameters; write each as NAME: VALUE below it"
            )
    return {str(notebook): section for notebook, section in content.items()}


def check(notebook: str, values: dict, place: str = "parameters") -> Notebook:
    """The parameters of one notebook as its model; a missing one has its default.

    place: where the values come from, for the message. Raises ParameterError naming the parameter and what is wrong.
    """
    return _check(notebook, {name: (value, place) for name, value in values.items()}, place)


def _check(notebook: str, values: dict[str, Value], place: str) -> Notebook:
    model = MODELS[notebook]
    try:
        return model.model_validate({name: value for name, (value, _) in values.items()})
    except ValidationError as error:
        problems = [_problem(notebook, model, values, place, first) for first in error.errors()]
        raise ParameterError("\n".join(dict.fromkeys(problems))) from None


def _problem(notebook: str, model: type[Notebook], values: dict[str, Value], place: str, error: dict) -> str:
    """What pydantic found, in a sentence that names the place of the value and the parameter."""
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # about several parameters together; the message starts with one of them
        name = message.partition(":")[0]
        return f"{values.get(name, (None, place))[1]}: {notebook}.{message}"
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        problem = f"there is no such parameter{did_you_mean(name, model.model_fields)}"
    else:
        problem = f"{repr(error['input'])[:LONGEST_SHOWN]}: {message[0].lower()}{message[1:]}{_quotes(error)}"
    return f"{values[name][1]}: {notebook}.{name}: {problem}"


def _quotes(error: dict) -> str:
    """Advice where YAML has made a number or a truth value of a word."""
    is_text = error["type"] in ("string_type", "literal_error")
    return "; write words in quotes" if is_text and isinstance(error["input"], bool | int | float) else ""


def of_notebook(notebook: str, namespace: dict) -> Notebook:
    """The parameters that a notebook's `parameters` cell and papermill have set.

    namespace: the notebook's globals(). A name that papermill injected and that is no parameter is refused (papermill
    itself only warns).
    """
    injected = [cell for cell in namespace.get("In", []) if cell.startswith("# Parameters\n")]
    names = {node.id for cell in injected for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)}
    names |= set(MODELS[notebook].model_fields)
    return check(
        notebook, {name: namespace[name] for name in names if name in namespace}, f"notebooks/{notebook}.ipynb"
    )
