"""Tables and figures of finished runs, one or two runs beside each other."""

from html import escape
from pathlib import Path

from p2d_lib.app.pictures import picture
from p2d_lib.app.safety import Refused
from p2d_lib.files import read_record, sidecar
from p2d_lib.home import home
from p2d_lib.report import tables

SUFFIXES = {"tables": ".csv", "figures": ".png"}
SIDE = 1600  # px, of a figure


def runs() -> list[str]:
    """Names of the runs that have a table or figure."""
    with_results = {path.parent.name for kind in SUFFIXES for path in (home() / kind).glob(f"*/*{SUFFIXES[kind]}")}
    return sorted(with_results - {"reference"})


def names(run: str) -> list[str]:
    """Names of a run's figures and tables: f4_grid, t4_copies, ...; by notebook, figures first."""
    results = [path.stem for kind, suffix in SUFFIXES.items() for path in (home() / kind / run).glob(f"*{suffix}")]
    return sorted(results, key=lambda name: (name[1:2], name[:1], name))


def side_by_side(name: str, shown: list[str]) -> str:
    """A table or figure of one run, or of two, as HTML. Raises Refused for a run or a name that is not there."""
    known = runs()
    for run in shown:
        if run not in known:
            raise Refused(f"there is no run {str(run)[:40]!r} with tables or figures")
    parts = [f'<section class="p2d-side"><h3>Run {escape(run)}</h3>{_of_run(run, name)}</section>' for run in shown]
    return f'<div class="p2d-sides">{"".join(parts)}</div>'


def _of_run(run: str, name: str) -> str:
    if name not in names(run):
        return f'<p class="p2d-note">This run has no {escape(str(name)[:40])}.</p>'
    kind = "tables" if (home() / "tables" / run / f"{name}.csv").exists() else "figures"
    file = home() / kind / run / f"{name}{SUFFIXES[kind]}"
    caption = _caption(run, kind, file) or name
    if kind == "tables":
        frame = tables.of_csv(file, caption)
        return f'<div class="p2d-table" tabindex="0" role="region" aria-label="Table {escape(name)}">{frame}</div>'
    return (
        f'<figure class="p2d-figure"><img src="{picture(file, SIDE)}" alt="{escape(name)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _caption(run: str, kind: str, file: Path) -> str:
    """What the provenance of a table or figure says of it; "" where there is none."""
    record = read_record(sidecar(home() / "data" / "runs" / run / kind / file.name))
    return str(record.get("caption", ""))
