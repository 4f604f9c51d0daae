"""Which code a notebook's results depend on."""

import json
from pathlib import Path

import pytest
import sources

from p2d_lib.files import file_sha256


@pytest.fixture
def repository(tmp_path):
    """A library of three modules and a notebook, 05_look, that imports `first`, which imports `second`."""
    for name, code in (
        ("room/first", "from p2d_lib.room import second"),
        ("room/second", ""),
        ("other/third", ""),
        ("parameters/look", ""),
    ):
        module = tmp_path / "p2d_lib" / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(code)
    (tmp_path / "p2d_lib" / "room" / "weights.bin").write_text("w")
    write(tmp_path, "from p2d_lib import parameters\nfrom p2d_lib.room import first")
    return tmp_path


def write(repository: Path, *code: str, prose: str = "", outputs: tuple = (), remark: str = "") -> None:
    cells = [
        {"cell_type": "markdown", "source": [prose], "metadata": {}},
        {"cell_type": "code", "source": [f"seed = 0  # {remark}"], "metadata": {"tags": ["parameters"]}},
        *({"cell_type": "code", "source": source.splitlines(True), "metadata": {}} for source in code),
    ]
    for cell in cells[1:]:
        cell |= {"outputs": list(outputs), "execution_count": len(outputs) or None}
    (repository / "notebooks").mkdir(exist_ok=True)
    (repository / "notebooks" / "05_look.ipynb").write_text(json.dumps({"cells": cells, "metadata": {"x": prose}}))


def digests(repository: Path) -> dict[str, str]:
    sources._imported_by.cache_clear()
    return sources.digests(repository, "05_look", file_sha256)


def test_modules_are_followed_through_imports_with_what_ships_beside_them_and_no_others(repository):
    assert set(digests(repository)) == {
        "notebooks/05_look.ipynb", "p2d_lib/room/first.py", "p2d_lib/room/second.py", "p2d_lib/room/weights.bin",
    }  # fmt: skip


def test_a_clone_in_a_folder_called_parameters_is_followed_alike(tmp_path, repository):
    moved = tmp_path.parent / f"{tmp_path.name}-clones" / "parameters" / "clone"
    moved.parent.mkdir(parents=True)
    assert set(digests(repository.rename(moved))) > {"p2d_lib/room/first.py", "p2d_lib/room/second.py"}


def test_outputs_prose_metadata_and_remarks_of_parameters_do_not_change_a_notebook_but_its_code_does(repository):
    code = "from p2d_lib.room import first"
    write(repository, code)
    before = digests(repository)
    write(repository, code, prose="A sentence.", outputs=({"output_type": "stream", "text": "x"},), remark="of noise")
    assert digests(repository) == before
    write(repository, code + "\nx = 1")
    changed = {name for name, digest in digests(repository).items() if before[name] != digest}
    assert changed == {"notebooks/05_look.ipynb"}


@pytest.mark.parametrize(
    "cell",
    [
        "%time from p2d_lib.other import third",
        "%%time\nfrom p2d_lib.other import third",
        "!ls\nfrom p2d_lib.other import third",
        "files = !ls\nfrom p2d_lib.other import third\nthird?",
        "%%bash\nls | wc\n",
    ],
)
def test_lines_of_ipythons_own_are_no_syntax_errors_and_imports_in_them_count(repository, cell):
    write(repository, "from p2d_lib.room import first", cell)
    assert ("p2d_lib/other/third.py" in digests(repository)) == ("third" in cell)


def test_a_syntax_error_in_a_cell_names_notebook_cell_and_line(repository):
    write(repository, "import json", "x = 1\ny = = 2")
    with pytest.raises(
        sources.SourceError, match=r"^notebooks/05_look\.ipynb, cell 4, line 2: invalid syntax: y = = 2$"
    ):
        digests(repository)


def test_a_syntax_error_in_a_module_names_it_and_the_line(repository):
    (repository / "p2d_lib" / "room" / "second.py").write_text("\n\ndef f(:\n")
    with pytest.raises(sources.SourceError, match=r"^p2d_lib/room/second\.py, line 3: .*: def f\(:$"):
        digests(repository)


@pytest.mark.parametrize(
    ("code", "valid"),
    [
        (b"x = 'caf\xe9'\n", False),
        (b"# \x00\n", False),
        (b"# coding: latin-1\n# caf\xe9\n", True),
        (b"\xef\xbb\xbfimport json\n", True),
    ],
)
def test_a_module_in_another_encoding_is_read_as_python_reads_it_or_named(repository, code, valid):
    (repository / "p2d_lib" / "room" / "second.py").write_bytes(code)
    if valid:
        assert "p2d_lib/room/second.py" in digests(repository)
    else:
        with pytest.raises(sources.SourceError, match=r"^p2d_lib/room/second\.py, "):
            digests(repository)


@pytest.mark.parametrize("content", ["<<<<<<< HEAD", "[]", '{"cells": [1]}'])
def test_a_broken_notebook_file_is_named(repository, content):
    (repository / "notebooks" / "05_look.ipynb").write_text(content)
    with pytest.raises(sources.SourceError, match=r"notebooks/05_look\.ipynb is no notebook"):
        digests(repository)
