"""./run_all.sh --verify: whether a run agrees with the reference of its profile, and if not, where the two part."""

import argparse
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import finished
import reference as references
from places import HOME, RUNS
from progress import say
from verify_cells import CLASSES, OUTSIDE, SAME, SPREAD
from verify_figures import Figure
from verify_figures import compare as compare_figures
from verify_origin import changed, edited_figures, edited_tables, first_diverging, origin, other_commit
from verify_tables import LEVEL, Compared, Reference, compare, read_folder

from p2d_lib.artefacts import NOTEBOOKS
from p2d_lib.files import atomic

SHOWN = 3  # tables and causes that the line names
UNRECORDED = "nothing that is recorded differs there; another processor may be the cause"
UNRECORDED_DATA = "nothing that is recorded differs there; other raw images or another processor may be the cause"


@dataclass(frozen=True)
class Verdict:
    """Cells and figures that are compared, the names of tables (.csv) and figures (.png) that were edited by hand, and
    the first artefact or table that differs, with reasons."""

    against: str
    cells: list[Compared]
    new_tables: list[str]
    edited: list[str]
    diverging: tuple[str, str] | None  # name, notebook
    differs_there: list[str]
    differs: list[str]  # in any notebook
    commit: str
    reruns: dict[str, list[str]]  # of the reference: what each differs in
    figures: list[Figure]

    @property
    def agrees(self) -> bool:
        return not self.outside and not self.edited and not self.missing_figures

    @property
    def missing_figures(self) -> list[str]:
        return [figure.name for figure in self.figures if figure.difference is None]

    @property
    def outside(self) -> list[Compared]:
        return [cell for cell in self.cells if cell.nearness == OUTSIDE]

    @property
    def counts(self) -> dict[str, int]:
        counts = Counter(cell.nearness for cell in self.cells)
        return {kind: counts[kind] for kind in CLASSES if counts[kind]}

    def line(self) -> str:
        """The verdict in one line."""
        tables = len({cell.table for cell in self.cells})
        if self.agrees:
            counts = ", ".join(f"{n} {kind}" for kind, n in self.counts.items())
            words = f"agrees with {self.against}: {len(self.cells)} cells of {tables} tables ({counts})"
        else:
            names = list(dict.fromkeys(cell.table for cell in self.outside))
            shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
            words = f"does not agree with {self.against}"
            if names:
                words += f": {len(self.outside)} of {len(self.cells)} cells outside, in {shown}"
            words += "".join(f"; {name} was changed by hand since it was made" for name in self.edited)
            words += "".join(f"; figure {name} is missing" for name in self.missing_figures)
        return ". ".join(filter(None, [words, self.reason(), self._figures_in_words()])) + "."

    def _figures_in_words(self) -> str:
        """How many figures have the same pixels, and which differ though their data are the same; "" for none."""
        if not self.figures:
            return ""
        same, odd = sum(each.same for each in self.figures), [each.name for each in self.figures if each.unexplained]
        words = f"{same} of {len(self.figures)} figures have the same pixels"
        return words + (f"; without a difference in the data: {', '.join(odd)}" if odd else "")

    def reason(self) -> str:
        """Where the runs part, in a sentence; "" where nothing differs."""
        if not self.diverging:
            return f"Nothing differs for it, but {self.commit}" if self.commit and not self.edited else ""
        name, notebook = self.diverging
        if name in self.edited:
            return f"First to differ: {name} of {notebook} (changed by hand)"
        there = [*self.differs_there, *([self.commit] if self.commit and not self._names_commit else [])]
        more = [f"and {len(there) - SHOWN} more"] if len(there) > SHOWN else []
        unknown = UNRECORDED_DATA if notebook == NOTEBOOKS[0] else UNRECORDED
        return f"First to differ: {name} of {notebook} ({'; '.join([*there[:SHOWN], *more]) or unknown})"

    @property
    def _names_commit(self) -> bool:
        return any("commit" in words for words in self.differs_there)


def verify(options: argparse.Namespace) -> int:
    """Compares what is there, runs nothing; writes verify.md and verify.json beside the tables. Returns 0 where the
    run agrees, 1 where it does not. Raises Refused where there is nothing to compare."""
    run = options.run or options.profile
    folder, tables = RUNS / run, HOME / "tables" / run
    finished.check_profile(options.profile)
    finished.check_run(RUNS, run)
    against = Path(options.against).resolve() if options.against else references.FOLDER / options.profile
    reference, record = references.load(against)
    verdict = judge(reference, record, folder, tables, os.path.relpath(against, references.REPOSITORY))
    for name, text in (("verify.md", markdown(verdict)), ("verify.json", as_json(verdict))):
        with atomic(tables / name) as partial:
            partial.write_text(text, encoding="utf-8")
    say(f"{verdict.line()}\n  {os.path.relpath(tables / 'verify.md')}")
    return 0 if verdict.agrees else 1


def judge(reference: Reference, record: dict, folder: Path, tables: Path, against: str) -> Verdict:
    """record: the reference's origin, {} where it is not known. folder, tables: the run's."""
    read, here = read_folder(tables), origin(folder)
    cells = compare(reference, read)
    other = {cell.table for cell in cells if cell.nearness not in (SAME, CLASSES[-1])}
    diverging = first_diverging(record, here, other) if record and here else None
    differs = [words for name in NOTEBOOKS for words in changed(record, here, name)] if record and here else []
    figures = tables.parents[1] / "figures" / tables.name
    return Verdict(
        against,
        cells,
        sorted(set(read) - set(reference.tables)),
        [
            *(f"{name}.csv" for name in edited_tables(folder, tables)),
            *(f"{name}.png" for name in edited_figures(folder, figures)),
        ],
        diverging,
        changed(record, here, diverging[1]) if diverging else [],
        list(dict.fromkeys(differs)),
        other_commit(record, here) if record and here else "",
        {name: each["differs"] for name, each in record.get("reruns", {}).items()},
        compare_figures(record, figures, diverging[1] if diverging else ""),
    )


def as_json(verdict: Verdict) -> str:
    """Everything of the verdict; cells that are the same are only counted."""
    tables = {name: Counter() for name in dict.fromkeys(cell.table for cell in verdict.cells)}
    for cell in verdict.cells:
        tables[cell.table][cell.nearness] += 1
    content = {"agrees": verdict.agrees, "verdict": verdict.line(), "level": LEVEL, **asdict(verdict)}
    content["cells"] = [asdict(cell) for cell in verdict.cells if cell.nearness != SAME]
    return json.dumps({**content, "counts": verdict.counts, "tables": tables}, indent=1, ensure_ascii=False) + "\n"


def markdown(verdict: Verdict) -> str:
    """The verdict as a page: what is outside, where the runs part, and how many cells of each table are how near."""
    lines = [f"# {'Agrees' if verdict.agrees else 'Does not agree'}", "", verdict.line(), ""]
    if verdict.outside:
        lines += ["## Outside", "", *_table(["table", "row", "column", "reference", "this run", "why"], [
            [cell.table, cell.row, cell.column, cell.reference, cell.run, cell.why] for cell in verdict.outside
        ])]  # fmt: skip
    if verdict.differs:
        lines += ["## What differs between the runs", "", *(f"- {words}" for words in verdict.differs), ""]
    if others := [figure for figure in verdict.figures if not figure.same]:
        lines += ["## Figures that differ", "", *(f"- {figure.name} {figure.words}" for figure in others), ""]
    if verdict.new_tables:
        lines += [f"Tables that the reference does not have: {', '.join(verdict.new_tables)}.", ""]
    kinds, names = list(verdict.counts), list(dict.fromkeys(cell.table for cell in verdict.cells))
    counts = Counter((cell.table, cell.nearness) for cell in verdict.cells)
    rows = [[name, *(str(counts[name, kind] or "") for kind in kinds)] for name in names]
    lines += ["## Cells", "", *_table(["table", *kinds], rows), *_tolerances(verdict)]
    return "\n".join(lines) + "\n"


def _tolerances(verdict: Verdict) -> list[str]:
    reruns = [f"- rerun {name}: {'; '.join(differs) or 'nothing differs'}" for name, differs in verdict.reruns.items()]
    spread = (
        "A number of a column that a rerun has changed may also lie where one more run may, by the spread of the "
        f"reruns: in {LEVEL:.0%} of honest reruns any of these cells at all is called outside. A column that no rerun "
        "of the same parameters has changed is exact."
        if reruns
        else "The reference has no reruns, so the spread is not known and all else must be the same."
    )
    spread_alone = [cell for cell in verdict.cells if cell.nearness == SPREAD]
    loose = sum(cell.loose for cell in spread_alone)
    bounded = (
        f"Of the {len(spread_alone)} cells that only this spread allows, {loose} may move by more than their size "
    )
    bounded += "or the width of their interval: more reruns would bound them."
    return [
        "## Tolerances",
        "",
        "A value may differ by one unit of its last printed digit, or lie in the interval that the reference prints "
        f"for it. {spread}",
        "",
        *([bounded, ""] if loose else []),
        *reruns,
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(text.replace("|", r"\|") for text in line) + " |" for line in lines), ""]
