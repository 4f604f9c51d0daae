"""The run as pages: every executed notebook as HTML, and an index of all figures, tables and findings."""

import csv
import html
import os
import re
import time
from pathlib import Path

import mistune
import nbformat
from headline import first_screen, rounded
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from p2d_lib.files import atomic, read_record, sidecar

MARKDOWN = mistune.create_markdown(escape=True)  # findings quote names that strangers chose
SUFFIXES = {"tables": ".csv", "figures": ".png"}
STYLE = Path(__file__).with_name("page.css")


def write(folder: Path, home: Path, profile: str) -> None:
    """Renders what changed in a run's folder (data/runs/<run>) and writes its index.html. Links are relative.

    home: the folder that holds tables/<run> and figures/<run>.
    """
    executed = [path for path in sorted(folder.glob("notebooks/[0-9]*.ipynb")) if "cells" in read_record(path)]
    sections = [_section(path, folder, home) for path in executed]
    links = "".join(f'<a href="#{path.stem}">{path.stem}</a>' for path in executed)
    name = html.escape(folder.name)
    page = (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>prompt2derm: {name}</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{STYLE.read_text()}</style></head>\n<body><h1>Do dermoscopic images made from words help?</h1>"
        f"<p class='quiet'>prompt2derm · run {name} · profile {html.escape(profile)} · "
        f"{time.strftime('%d %B %Y, %H:%M')} · <a href='parameters.json'>parameters</a> · not for clinical use</p>\n"
        f"{first_screen(folder, home)}\n<nav>{links}</nav>\n{''.join(sections)}</body></html>\n"
    )
    with atomic(folder / "index.html") as partial:
        partial.write_text(page, encoding="utf-8")


def _section(path: Path, folder: Path, home: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    rendered = path.with_suffix(".html")
    if not rendered.exists() or rendered.stat().st_mtime < path.stat().st_mtime:
        exporter = HTMLExporter(require_js_url="", sanitize_html=True)
        exporter.register_preprocessor(CoalesceStreamsPreprocessor(enabled=True))  # a bar's last line is enough
        rendered.write_text(exporter.from_notebook_node(notebook)[0], encoding="utf-8")
    title = re.search(
        r"^# (.+)", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"), re.M
    )
    parts = [f"<h2 id='{path.stem}'>{html.escape(title[1] if title else path.stem)}</h2>"]
    stage, error = folder / "stages" / f"{path.stem}.json", folder / "stages" / f"{path.stem}.error"
    made = read_record(stage)
    where = f"<a href='notebooks/{path.stem}.html'>executed notebook</a> · <a href='notebooks/{path.name}'>ipynb</a>"
    parts.append(f"<p class='quiet'>{where}" + (f" · {made['seconds']:.0f} s" if made else "") + "</p>")
    if error.exists():
        parts.append(f"<p class='bad'>It failed: {html.escape(error.read_text().strip())}</p>")
    if made:
        parts.append(f"<div class='findings'>{_findings(notebook)}</div>")
        parts += [_object(kind, name, notebook, folder, home) for kind, name in _in_order(made, folder)]
    return "\n".join(parts) + "\n"


def _in_order(made: dict, folder: Path) -> list[tuple[str, str]]:
    """Tables and figures as (kind, name), in the order in which the notebook wrote them, which its provenance holds."""
    files = [(kind, Path(name)) for kind, suffix in SUFFIXES.items() for name in made[kind] if name.endswith(suffix)]
    files.sort(key=lambda file: _origin(folder, *file).get("position", 0))
    return [(kind, name.stem) for kind, name in files]


def _origin(folder: Path, kind: str, file: Path) -> dict:
    """The provenance of a table or figure; {} where somebody has deleted it."""
    return read_record(sidecar(folder / kind / file))


def _findings(notebook) -> str:
    """The Markdown that the cells below the heading "Findings" print."""
    starts = [i for i, cell in enumerate(notebook.cells) if re.match(r"#+ Findings", cell.source)]
    texts = [
        output.data["text/markdown"]
        for cell in notebook.cells[starts[-1] if starts else len(notebook.cells) :]
        for output in cell.get("outputs", ())
        if "text/markdown" in output.get("data", {})
    ]
    return MARKDOWN("\n\n".join(texts))


def _object(kind: str, name: str, notebook, folder: Path, home: Path) -> str:
    place = os.path.relpath(home / kind / folder.name / name, folder)
    file = Path(f"{name}{SUFFIXES[kind]}")
    origin = _origin(folder, kind, file)
    caption = origin.get("caption", "")
    made_of = f" · <a href='{kind}/{file}.provenance.json'>made of</a>" if origin else ""
    if kind == "figures":
        return (
            f"<figure id='{name}'><a href='{place}.pdf'><img src='{place}.png' alt='{name}' loading='lazy'></a>"
            f"<figcaption>{html.escape(caption or name)} <a href='{place}.pdf'>pdf</a>{made_of}</figcaption></figure>"
        )
    return (
        f"<div class='table' id='{name}'>{_shown(name, notebook) or _table(home / kind / folder.name / name, caption)}"
        f"</div><p class='quiet'><a href='{place}.csv'>csv</a> · <a href='{place}.tex'>tex</a>{made_of}</p>"
    )


def _shown(name: str, notebook) -> str:
    """The table as the notebook shows it, whose cells tables.save has escaped; "" where it does not."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if f'<table id="T_{name}">' in (shown := output.get("data", {}).get("text/html", "")):
                return shown
    return ""


def _table(stem: Path, caption: str) -> str:
    with stem.with_name(f"{stem.name}.csv").open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    lines = ["".join(f"<td>{html.escape(rounded(value) or '–')}</td>" for value in row) for row in rows]
    return (
        f"<table><caption>{html.escape(caption or stem.name)}</caption>"
        f"<thead><tr>{''.join(f'<th>{html.escape(name)}</th>' for name in head)}</tr></thead>"
        f"<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )
