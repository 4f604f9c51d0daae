"""A run's synthetic set, checked and written as one folder: it is there as a whole or not at all."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from p2d_lib.files import atomic, file_sha256, read_record, sidecar
from p2d_lib.release import CREATOR, admission, cards, croissant, overlap, pictures, recipe
from p2d_lib.release.facts import Facts
from p2d_lib.release.licences import PHANTOM, Origin, origin
from p2d_lib.release.refusal import Refused
from p2d_lib.release.signing import Sign
from p2d_lib.run import Run

AUDIT_TABLES = ("t4_copies", "t4_obedience", "t5_detector", "t5_memorised", "t5_disclosure")
SUMS = "SHA256SUMS"


def publish(
    run: Run,
    to: Path,
    *,
    licence: str = "",
    test_sets: Sequence[str] = (),
    leave_out: bool = False,
    sign: Sign | None = None,
    creator: str = CREATOR,
    url: str = "",
    rows_a_tar: int = 1000,
) -> Facts:
    """Writes the release of a run into the folder `to`, and returns what its cards say.

    licence: of the real images, where the run's layout names none. test_sets: raw sets ("layout=folder") that no image
    may overlap, beside those of the run. leave_out: see `admission.admitted`; sign: see `pictures.write`. Raises
    Refused, ArtefactError or prep.pixels.DataError where something speaks against the release: then nothing is written.
    """
    if to.exists():
        raise Refused(f"{to} is there already: a release does not change; name another folder")
    source = origin(run, licence)
    verdict, tests = admission.passed_audit(run)
    captioned = _audit_tables(run)
    cases = run.read("cases")
    size = run.images(cases.head(1)).shape[1]
    named = [overlap.named(entry, size) for entry in test_sets]
    overlap.refuse_shared_cases(cases, named)
    sets = [*overlap.of_run(run, cases), *named]
    table, refused = admission.admitted(run, sets, leave_out)
    with atomic(to) as folder:
        folder.mkdir()
        metadata = pictures.write(run, table, folder, source.licence.url, sign)
        _write_grids(run, table, cases, folder, source)
        facts = Facts(
            run=run.name, creator=creator, origin=source, metadata=metadata, refused=refused, verdict=verdict,
            real_sets=[real.name for real in sets], recipe=recipe.write(run, folder, size),
            captions={name: caption for name, (_, caption) in captioned.items()},
            training=run.made_with("adapter")["parameters"], published=datetime.now(UTC).date().isoformat(),
            url=url, signed=sign is not None,
        )  # fmt: skip
        _write_audit(folder / "audit", {name: csv for name, (csv, _) in captioned.items()}, refused, verdict, tests)
        _write_descriptions(folder, facts, rows_a_tar)
    return facts


def _audit_tables(run: Run) -> dict[str, tuple[bytes, str]]:
    """AUDIT_TABLES by name: the bytes of the CSV and its caption. Raises Refused where one is missing or changed."""
    contents = {}
    for name in AUDIT_TABLES:
        path = run.tables / f"{name}.csv"
        record = read_record(sidecar(run.folder / "tables" / path.name))
        if not path.is_file() or record.get("sha256") != file_sha256(path):
            problem = "is not as the run wrote it" if path.is_file() else "is missing"
            raise Refused(f"{path} {problem}: run ./run_all.sh --run {run.name} --to 05_fidelity")
        contents[name] = path.read_bytes(), record["caption"]
    return contents


def _write_grids(run: Run, table: pd.DataFrame, cases: pd.DataFrame, folder: Path, source: Origin) -> None:
    """Pictures for the card: of the set and, where the generator was trained on phantoms, of these."""
    url, train = source.licence.url, cases[cases["split"] == "train"].sort_values("dx", kind="stable")
    pictures.write_grid(run, table, folder / cards.GRID, pictures.TRAINED, url)
    if source.source == PHANTOM:
        pictures.write_grid(run, train, folder / cards.PHANTOM_GRID, pictures.ALGORITHM, url)


def _write_audit(
    folder: Path, tables: dict[str, bytes], refused: pd.DataFrame, verdict: str, tests: pd.DataFrame
) -> None:
    folder.mkdir()
    for name, csv in tables.items():
        (folder / f"{name}.csv").write_bytes(csv)
    refused.to_csv(folder / "refused.csv", index=False)
    record = {"verdict": verdict, "tests": json.loads(tests.to_json(orient="records"))}
    (folder / "verdict.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write_descriptions(folder: Path, facts: Facts, rows_a_tar: int) -> None:
    """The tars, the cards, Croissant's description, and the digests of all files."""
    from p2d_lib.sample.pack import pack  # which loads torch: a refusal comes without it

    tars = pack(facts.metadata, folder / pictures.TRAIN, folder / "webdataset", rows_a_tar)
    last = f"{len(tars) - 1:06d}"
    name = f"webdataset/{{000000..{last}}}.tar" if len(tars) > 1 else f"webdataset/{last}.tar"
    texts = {
        cards.README: cards.dataset_card(facts, name),
        f"adapter/{cards.README}": cards.adapter_card(facts),
        cards.CITATION: cards.citation(facts),
    }
    for path, text in texts.items():
        (folder / path).write_text(text, encoding="utf-8")
    croissant.write(folder, facts)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")
