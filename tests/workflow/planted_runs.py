"""Finished runs that no notebook has made: artefacts, tables and provenance as a run with these facts would leave them.

What a notebook makes depends on its parameters, on what it reads and, from 02 on, on device and threads, as in the
paper; so a change of one fact spreads through the graph as it would there.
"""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import reference as references
import verify
from PIL import Image

from p2d_lib import parameters as all_parameters
from p2d_lib.artefacts import ARTEFACTS, NOTEBOOKS, READS

EARLIER = "04_sample"  # obeys what a later notebook has left
PACKAGES = {"numpy": "2.4.6", "torch": "2.15.0"}
FACTS = {
    "device": "cpu", "threads": 2, "lock": "a" * 64, "commit": "abc1234", "data": "", "code": {}, "tables": {},
    "earlier": {},
}  # fmt: skip
FIGURES = {"04_sample": "f4_samples", "06_classify": "f6_effects"}
SOURCE = {"01_prep": {"source": "ham10000", "data": "/somebody/ham10000"}}


def make(home: Path, run: str = "smoke", parameters: Mapping[str, dict] | None = None, **facts: object) -> Path:
    """Writes a run into a home; returns its folder. facts: others than FACTS; parameters: others than smoke's.

    code: {notebook: version}. earlier: {artefact: digest}, what 04 obeyed of an earlier pass. tables: {name: table}, as
    the notebook of its number writes them, in the place of those that the facts lead to.
    """
    facts, folder = {**FACTS, **facts}, home / "data" / "runs" / run
    values = all_parameters.profile("smoke", run)
    for notebook in NOTEBOOKS:
        values[notebook] |= {**SOURCE.get(notebook, {}), **(parameters or {}).get(notebook, {})}
    digests: dict[str, str] = {}
    for notebook in NOTEBOOKS:
        state = _state(notebook, values[notebook], facts, digests)
        writer = _Writer(home, folder, notebook, values[notebook], facts, digests)
        for name, artefact in ARTEFACTS.items():
            if artefact.made_by == notebook:
                digests[name] = writer.artefact(artefact.path, f"{name} {state}")
        made = {**tables(notebook, state), **facts["tables"]}
        for name, table in made.items():
            if name.startswith(f"t{int(notebook[:2])}_"):
                writer.table(name, table)
        if notebook in FIGURES:
            writer.figure(FIGURES[notebook], state)
        writer.stage()
    return folder


def _state(notebook: str, values: dict, facts: dict, digests: dict[str, str]) -> str:
    """What the notebook's results depend on, as a digest."""
    counted = {name: value for name, value in values.items() if name not in ("run", "data")}
    basis = [counted, facts["code"].get(notebook, "1"), facts["lock"], [digests[name] for name in READS[notebook]]]
    basis += [facts["earlier"]] if notebook == EARLIER and facts["earlier"] else []
    basis += [facts["data"]] if notebook == "01_prep" else [facts["device"], facts["threads"]]
    return hashlib.sha256(json.dumps(basis, sort_keys=True, default=list).encode()).hexdigest()


def tables(notebook: str, state: str) -> dict[str, list[list[str]]]:
    """The tables of a notebook: exact counts, and numbers and words that vary with its state."""
    rng = np.random.default_rng(int(state[:12], 16))

    def interval(value: float, half: float, digits: int = 3) -> str:
        value += 0.2 * half * rng.normal()
        return f"{value:.{digits}f} [{value - half:.{digits}f}, {value + half:.{digits}f}]"

    if notebook == "01_prep":
        rows = [["nevus", "60", "benign"], ["melanoma", "12", "malignant"]]
        return {"t1_cohort": [["diagnosis", "images", "kind"], *rows]}
    if notebook == "04_sample":
        rows = [[name, "48", f"{0.5 * (1 + 0.03 * rng.normal()):.6g}", f"{rng.uniform():.6g}"] for name in "abcdefgh"]
        return {"t4_synthetic": [["images", "n", "alignment", "seconds an image"], *rows]}
    if notebook == "06_classify":
        rows = []
        for comparison in ("mixed − real", "mixed − replay", "replay − real"):
            for score in ("accuracy", "balanced accuracy", "macro-F1", "AUC"):
                verdict = "higher" if rng.uniform() < 0.2 else "no difference is shown"
                rows.append([comparison, score, interval(2.0, 4.0, 1), f"{rng.uniform():.6g}", verdict])
        return {"t6_paired": [["comparison", "score", "difference (points)", "p", "verdict"], *rows]}
    if notebook == "08_fairness":
        rows = [[group, "31", interval(0.6, 0.1)] for group in ("female", "male", "under 30", "30–44", "45–59")]
        return {"t8_groups": [["group", "lesions", "accuracy"], *rows]}
    return {}


def take_as_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets references be made of the runs of this home, and runs of it be compared."""
    for module in (references, verify):
        monkeypatch.setattr(module, "HOME", home)
        monkeypatch.setattr(module, "RUNS", home / "data" / "runs")


def judged(reference: Path, folder: Path) -> verify.Verdict:
    """The verdict on a run's folder beside a reference."""
    loaded, record = references.load(reference)
    return verify.judge(loaded, record, folder, folder.parents[2] / "tables" / folder.name, "the reference")


class _Writer:
    """Writes what one notebook leaves, with its provenance."""

    def __init__(self, home: Path, folder: Path, notebook: str, values: dict, facts: dict, inputs: dict[str, str]):
        self.home, self.folder, self.notebook, self.values, self.facts = home, folder, notebook, values, facts
        self.inputs = {name: inputs[name] for name in READS[notebook]}
        self.position, self.made, self.written, self.drawn = 0, {}, [], []

    def artefact(self, path: str, content: str) -> str:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        self.made[path] = self._provenance(target, target)
        return self.made[path]

    def table(self, name: str, rows: list[list[str]]) -> None:
        target = self.home / "tables" / self.folder.name / f"{name}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)
        self.made[f"tables/{target.name}"] = self._provenance(target, self.folder / "tables" / target.name)
        self.written.append(target.name)

    def figure(self, name: str, state: str) -> None:
        """A picture of which a tenth is noise that varies with the state."""
        target = self.home / "figures" / self.folder.name / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        fixed, noise = (np.random.default_rng(seed).random((48, 51)) for seed in (0, int(state[:12], 16)))
        Image.fromarray((255 * (0.9 * fixed + 0.1 * noise)).astype(np.uint8)).save(target)
        self.made[f"figures/{target.name}"] = self._provenance(target, self.folder / "figures" / target.name)
        self.drawn.append(target.name)

    def _provenance(self, target: Path, beside: Path) -> str:
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        facts = {name: self.facts[name] for name in ("commit", "lock", "device", "threads")}
        record = {
            "artefact": target.name,
            "caption": "A caption.",
            "sha256": digest,
            "notebook": self.notebook,
            **facts,
        }
        record |= {"parameters": self.values, "inputs": self.inputs, "packages": PACKAGES, "execution": "e"}
        record |= {"earlier": self.facts["earlier"] if self.notebook == EARLIER else {}}
        record |= {"position": self.position, "seconds": 2.0, "written": "2026-11-26T11:07:57+00:00"}
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.with_name(f"{beside.name}.provenance.json").write_text(json.dumps(record, default=list))
        self.position += 1
        return digest

    def stage(self) -> None:
        outside = {"/somebody/ham10000/HAM10000_metadata.csv": hashlib.sha256(self.facts["data"].encode()).hexdigest()}
        record = {
            "notebook": self.notebook,
            "seconds": 3.0,
            "tables": self.written,
            "figures": self.drawn,
            "parameters": self.values,
            "code": {f"notebooks/{self.notebook}.ipynb": self.facts["code"].get(self.notebook, "1")},
            "inputs": self.inputs,
            "outside": outside if self.notebook == "01_prep" else {},
            "made": self.made,
        }
        path = self.folder / "stages" / f"{self.notebook}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record, default=list))
