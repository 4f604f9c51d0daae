"""pyproject.toml, the lock files and env.yml say the same."""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
LOCKS = {name: (REPOSITORY / f"requirements{name}.lock").read_text() for name in ("", "-test", "-setup")}
PINS = {
    name: [Requirement(line.rstrip(" \\")) for line in lock.splitlines() if re.match(r"\w", line)]
    for name, lock in LOCKS.items()
}
OPTIONAL = {"c2pa": "c2pa-python"}  # module: its package, which p2d_lib imports where an option asks for it
PYTHONS = ("3.11.0", "3.12.0", "3.13.0")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _name(requirement: Requirement) -> str:
    return _canonical(requirement.name)


def _pinned(requirement: Requirement, python: str, platform: str, pins: list[Requirement]) -> set[str]:
    here = {"python_full_version": python, "python_version": python[:4], "sys_platform": platform, "os_name": "posix"}
    pins = [pin for pin in pins if _name(pin) == _name(requirement)]
    return {str(pin.specifier).removeprefix("==") for pin in pins if not pin.marker or pin.marker.evaluate(here)}


@pytest.mark.parametrize(
    ("requirements", "pins"),
    [
        (PROJECT["dependencies"], PINS[""]),
        (PROJECT["optional-dependencies"]["test"], PINS[""] + PINS["-test"]),
        (["uv"], PINS["-setup"]),
    ],
    ids=["run", "test", "setup"],
)
def test_every_dependency_has_one_pin_within_its_range_on_every_python_and_system(requirements, pins):
    for requirement in map(Requirement, requirements):
        for python in PYTHONS:
            for platform in ("linux", "darwin"):
                pinned = _pinned(requirement, python, platform, pins)
                assert len(pinned) == 1, f"{requirement} has pins {pinned or 'nowhere'} on {python}, {platform}"
                assert requirement.specifier.contains(*pinned), f"{requirement}, but the lock pins {pinned}"


def test_the_tests_packages_are_not_installed_for_a_run_and_no_package_has_two_places():
    names = {lock: {_name(pin) for pin in pins} for lock, pins in PINS.items()}
    assert not {"pytest", "ruff", "import-linter", "hypothesis", "datasets"} & names[""]
    assert not names[""] & names["-test"]


def test_every_pin_is_exact_and_hashed_and_names_no_index():
    for name, lock in LOCKS.items():
        entries = re.split(r"\n(?=\w)", lock)
        assert len(entries) == len(PINS[name]) > 0
        for entry, pin in zip(entries, PINS[name], strict=True):
            assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), f"{pin} is no exact pin"
            assert "--hash=sha256:" in entry, f"{pin} has no hash"
        assert "index-url" not in lock and "http" not in re.sub(r"#.*|httpx?\S*==\S*|http\S*core\S*", "", lock)


def test_conda_users_get_the_same_pins_on_the_same_pythons():
    environment = yaml.safe_load((REPOSITORY / "env.yml").read_text())
    python = next(entry for entry in environment["dependencies"] if str(entry).startswith("python"))
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    assert pip == ["-r requirements.lock"]


def test_set_up_takes_the_pythons_that_the_project_requires():
    setup = (REPOSITORY / "workflow" / "setup.sh").read_text()
    low, high = re.search(r"\((\d, \d+)\) <= sys.version_info\[:2\] < \((\d, \d+)\)", setup).groups()
    required = f">={low.replace(', ', '.')},<{high.replace(', ', '.')}"
    assert SpecifierSet(required) == SpecifierSet(PROJECT["requires-python"])


def _imported(paths) -> set[str]:
    """The top-level modules that Python files and notebooks import."""
    names = set()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
            text = "\n".join("".join(cell["source"]) for cell in cells)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("folders", "declared"),
    [
        (("p2d_lib", "workflow", "notebooks"), [*PROJECT["dependencies"], *OPTIONAL.values()]),
        (("tests", "benchmarks"), PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]),
    ],
    ids=["run", "test"],
)
def test_every_package_that_is_imported_is_declared(folders, declared):
    paths = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    scripts = {
        path.stem for folder in ("workflow", "tests", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")
    }
    packages = importlib.metadata.packages_distributions()
    known = {_name(Requirement(requirement)) for requirement in declared}
    imported = _imported(path for path in paths if path.suffix in (".py", ".ipynb"))
    foreign = imported - scripts - {"p2d_lib", "workflow"} - set(sys.stdlib_module_names)
    distributions = {
        module: {_canonical(name) for name in packages.get(module, [OPTIONAL.get(module, module)])}
        for module in foreign
    }
    assert not {module: names for module, names in distributions.items() if not names & known}
