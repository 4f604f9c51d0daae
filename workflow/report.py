"""The run as pages: every executed notebook as HTML, and an index of all figures, tables and findings."""

import csv
import html
import json
import os
import re
import time
from pathlib import Path

import mistune
import nbformat
from nbconvert import HTMLExporter

STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; }
h1 { margin-bottom: 0; } h2 { margin-top: 3rem; border-bottom: 1px solid #ddd; } a { color: #0072b2; }
.quiet, figcaption { color: #555; font-size: .9rem; } .bad { color: #b00020; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; max-height: 48rem; display: block; }
.table { overflow: auto; max-height: 32rem; margin: .5rem 0 2rem; }
table { border-collapse: collapse; font-size: .85rem; border-top: 2px solid; border-bottom: 2px solid; }
thead { border-bottom: 1px solid; }
th, td { text-align: left; padding: .15rem .7rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.findings { border-left: 3px solid #0072b2; padding-left: 1rem; } .findings:empty { display: none; }
nav a { margin-right: 1rem; white-space: nowrap; }
"""


def write(folder: Path, home: Path, repository: Path, profile: str) -> None:
    """Renders what changed in a run's folder (data/runs/<run>) and writes its index.html. Links are relative.

    home: the folder that holds tables/<run> and figures/<run>.
    """
    executed = sorted(folder.glob("notebooks/[0-9]*.ipynb"))
    sections = [_section(path, folder, home) for path in executed]
    links = "".join(f'<a href="#{path.stem}">{path.stem}</a>' for path in executed)
    page = (
        f"<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>prompt2derm: {folder.name}</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{STYLE}</style>\n"
        f"<h1>prompt2derm · run {html.escape(folder.name)}</h1><p class='quiet'>profile {html.escape(profile)} · "
        f"{time.strftime('%d %B %Y, %H:%M')} · <a href='parameters.json'>parameters</a> · not for clinical use</p>\n"
        f"<nav>{links}</nav>\n{''.join(sections)}</html>\n"
    )
    partial = folder / ".index.html.partial"
    partial.write_text(page, encoding="utf-8")
    partial.replace(folder / "index.html")


def _section(path: Path, folder: Path, home: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    rendered = path.with_suffix(".html")
    if not rendered.exists() or rendered.stat().st_mtime < path.stat().st_mtime:
        rendered.write_text(HTMLExporter(require_js_url="").from_notebook_node(notebook)[0], encoding="utf-8")
    title = re.search(
        r"^# (.+)", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"), re.M
    )
    parts = [f"<h2 id='{path.stem}'>{html.escape(title[1] if title else path.stem)}</h2>"]
    stage, error = folder / "stages" / f"{path.stem}.json", folder / "stages" / f"{path.stem}.error"
    made = json.loads(stage.read_text()) if stage.exists() else None
    where = f"<a href='notebooks/{path.stem}.html'>executed notebook</a> · <a href='notebooks/{path.name}'>ipynb</a>"
    parts.append(f"<p class='quiet'>{where}" + (f" · {made['seconds']:.0f} s" if made else "") + "</p>")
    if error.exists():
        parts.append(f"<p class='bad'>It failed: {html.escape(error.read_text().strip())}</p>")
    if made:
        parts.append(f"<div class='findings'>{_findings(notebook)}</div>")
        parts += [_figure(name, notebook, folder, home) for name in made["figures"] if name.endswith(".png")]
        parts += [_table(name, folder, home) for name in made["tables"] if name.endswith(".csv")]
    return "\n".join(parts) + "\n"


def _findings(notebook) -> str:
    """What the cells behind the heading "Findings" say."""
    starts = [i for i, cell in enumerate(notebook.cells) if re.match(r"#+ Findings", cell.source)]
    texts = [
        output.data["text/markdown"]
        for cell in notebook.cells[starts[-1] if starts else len(notebook.cells) :]
        for output in cell.get("outputs", ())
        if "text/markdown" in output.get("data", {})
    ]
    return mistune.html("\n\n".join(texts))


def _figure(name: str, notebook, folder: Path, home: Path) -> str:
    stem = name.removesuffix(".png")
    link = os.path.relpath(home / "figures" / folder.name / stem, folder)
    return (
        f"<figure><a href='{link}.pdf'><img src='{link}.png' alt='{stem}' loading='lazy'></a>"
        f"<figcaption>{_said_before(stem, notebook)} <a href='{link}.pdf'>{stem}.pdf</a></figcaption></figure>"
    )


def _said_before(name: str, notebook) -> str:
    """How to read a figure: the paragraph above the cell that saves it."""
    said = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            said = re.sub(r"^#.*\n?", "", cell.source, flags=re.M).strip().split("\n\n")[-1]
        elif re.search(rf"[\"']{re.escape(name)}[\"']", cell.source):
            return re.sub(r"</?p>", "", mistune.html(said)).strip()
    return ""


def _table(name: str, folder: Path, home: Path) -> str:
    path = home / "tables" / folder.name / name
    latex = path.with_suffix(".tex")
    caption = re.search(r"\\caption\{(.+?)\}(?=\\label|$)", latex.read_text(), re.M) if latex.exists() else None
    link = os.path.relpath(path, folder)
    with path.open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    lines = ["".join(f"<td>{html.escape(_number(value))}</td>" for value in row) for row in rows]
    return (
        f"<p class='quiet'>{html.escape(_plain(caption[1] if caption else path.stem))} "
        f"<a href='{link}'>csv</a> · <a href='{os.path.relpath(latex, folder)}'>tex</a></p><div class='table'><table>"
        f"<thead><tr>{''.join(f'<th>{html.escape(name)}</th>' for name in head)}</tr></thead>"
        f"<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table></div>"
    )


def _plain(latex: str) -> str:
    return re.sub(r"\\([%&_#$])", r"\1", latex).replace("--", "–").replace("``", "“").replace("''", "”")


def _number(value: str) -> str:
    """A number as read: three digits behind the point; "–" where there is none."""
    if value == "":
        return "–"
    if not re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", value):
        return value
    return f"{float(value):.3f}" if abs(float(value)) >= 0.0005 or float(value) == 0 else f"{float(value):.1e}"
