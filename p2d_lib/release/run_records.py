"""What the provenance of a run says of the artefacts that a release is made of."""

from p2d_lib.files import read_record, sha256
from p2d_lib.release.refusal import Refused
from p2d_lib.run import Run


def made_with(run: Run, artefact: str) -> dict:
    """The provenance of an artefact. Raises Refused where it has none, ArtefactError where it is not the run's."""
    path = run.path(artefact)
    record = read_record(path.with_name(f"{path.name}.provenance.json"))
    if "parameters" not in record:
        raise Refused(f"{path} has no provenance, so nobody can say what it was made of: run {run.name!r} again")
    return record


def audit_tables(run: Run, names: tuple[str, ...]) -> dict[str, tuple[bytes, str]]:
    """Tables of a run by name: the bytes of the CSV and its caption. Raises Refused where one is missing or changed."""
    contents = {}
    for name in names:
        path = run.tables / f"{name}.csv"
        record = read_record(run.folder / "tables" / f"{name}.csv.provenance.json")
        if not path.is_file() or record.get("sha256") != sha256(path):
            problem = "is not as the run wrote it" if path.is_file() else "is missing"
            raise Refused(f"{path} {problem}: run ./run_all.sh --run {run.name} --to 05_fidelity")
        contents[name] = path.read_bytes(), record["caption"]
    return contents
