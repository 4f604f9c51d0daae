"""The pages of docs/ and the READMEs name what is there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PAGES += [REPOSITORY / kind / "README.md" for kind in ("data", "tables", "figures")]
PAGES += [*sorted((REPOSITORY / "benchmarks").glob("*.md")), *(REPOSITORY / "p2d_lib" / "models" / "tiny").glob("*.md")]
PLACES = "p2d_lib|tests|workflow|params|notebooks|docs|benchmarks"
NAMED = re.compile(rf"(?<![\w/])((?:{PLACES})/[\w./-]*\w)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_file_and_folder_that_a_page_names_exists(page):
    named = set(NAMED.findall(page.read_text(encoding="utf-8")))
    missing = [name for name in named if not (REPOSITORY / name).exists()]
    assert not missing, f"{page.name} names {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_within_the_repository_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)", linked.read_text(encoding="utf-8"), re.M)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}"


def test_the_glossary_explains_each_word_once_and_in_order():
    glossary = (REPOSITORY / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| \*\*(.+?)\*\*", glossary, re.M)
    assert len(words) > 50 and words == sorted(words, key=str.lower)
    single = [word for entry in words for word in re.sub(r" \(.+?\)", "", entry.lower()).split(", ")]
    assert len(single) == len(set(single))


def test_every_notebook_and_artefact_has_its_place_in_the_handbook_of_data():
    from p2d_lib.artefacts import ARTEFACTS

    page = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    for artefact in ARTEFACTS.values():
        (line,) = [row for row in page.splitlines() if f"`{artefact.path}`" in row or f"`{artefact.path}/`" in row]
        assert f"`{artefact.made_by}`" in line, artefact.path


def test_the_design_names_every_room_and_every_module_of_the_ground_floor():
    design = (REPOSITORY / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    library = REPOSITORY / "p2d_lib"
    parts = [path.name for path in library.glob("[a-z]*.py")] + [
        f"{path.parent.name}/" for path in library.glob("*/__init__.py")
    ]
    assert not [name for name in parts if name not in design]


def test_every_instrument_has_a_positive_and_a_negative_control_that_are_tests():
    page = (REPOSITORY / "docs" / "CONTROLS.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if ".py | " in line]
    for instruments, file, *controls in rows:
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        assert all(f"def test_{control}(" in text for control in controls), instruments
    named = {name for row in rows for name in re.findall(r"\w+", row[0])}
    modules = {path.stem for path in (REPOSITORY / "p2d_lib" / "instruments").glob("[a-z]*.py")}
    assert modules <= named, modules - named
