"""Runs the paper: eight notebooks, each again only when something it depends on has changed.

Snakemake holds the graph (workflow/Snakefile), papermill executes the notebooks (workflow/execute.py); this is what
`./run_all.sh` calls: it checks the parameters before anything runs, keeps two runs of one name apart, shows
progress, and clears up after Ctrl-C, kill -9 and failures, so that starting again just continues.
"""

import argparse
import difflib
import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("P2D_HOME") or REPOSITORY).resolve()  # as p2d_lib.run.home(), without its imports
RUNS = HOME / "data" / "runs"
FOLDERS = (  # what may be a hub id or a folder
    *(("02_describe", name) for name in ("captioner_model", "vlm_model", "vlm_adapter", "bert_model")),
    ("03_finetune", "base"),
    ("03_finetune", "baseline_text_encoder"),
    ("05_fidelity", "extractor"),
)
TABLES = (("02_describe", "edits_file"), ("04_sample", "memorisation_table"))
EXPECTED = {  # seconds a notebook on two CPU cores, until a run of the profile has been timed
    "smoke": (43, 93, 200, 70, 17, 63, 16, 12),
    "mini": (122, 260, 1500, 240, 60, 572, 25, 12),
}

sys.path.insert(0, str(REPOSITORY))


class Refused(Exception):
    """Something the user can put right, said in one sentence."""


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run_all.sh",
        description="Regenerates every table and figure of the paper. Run it again after a change or an "
        "interruption: only what is missing or outdated runs.",
        epilog="HAM10000: --profile mini --data DIR, or the variable P2D_HAM10000. GPU: used where there is one; "
        "P2D_DEVICE=cpu|cuda|cuda:1|mps chooses. README.md tells the rest.",
    )
    parser.add_argument(
        "--profile", default="smoke", help="smoke (phantom, minutes; default), mini (HAM10000) or paper (a GPU)"
    )
    parser.add_argument("--run", metavar="NAME", help="name of the run's folders (default: the profile's)")
    parser.add_argument("--data", default="", metavar="DIR", help="HAM10000, or another set, as its authors publish it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="P=VALUE", help="e.g. 06_classify.seeds=5; repeatable"
    )
    parser.add_argument("--from", dest="first", default="", metavar="NOTEBOOK", help="run it and all later ones anew")
    parser.add_argument("--to", dest="last", default="", metavar="NOTEBOOK", help="stop after it")
    parser.add_argument("--cores", type=int, default=_cores(), metavar="N", help="CPU cores (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run and why")
    return parser.parse_args(argv)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parameters(given: argparse.Namespace) -> dict[str, dict]:
    """{notebook: {parameter: value}}, validated, with the folder of its set resolved. Raises Refused."""
    from p2d_lib.parameters import ParameterError, profile

    overrides = list(given.set)
    if given.data:
        overrides.append(f"01_prep.data={json.dumps(given.data)}")
    try:
        values = profile(given.profile, given.run, tuple(overrides))
    except ParameterError as error:
        raise Refused(" ".join(str(error).split())) from None
    for notebook, name in FOLDERS:
        if "/" in values[notebook][name] and Path(values[notebook][name]).exists():  # kernels run elsewhere
            values[notebook][name] = str(Path(values[notebook][name]).resolve())
    for notebook, name in TABLES:
        if table := values[notebook][name]:
            values[notebook][name] = str(Path(table).expanduser().resolve())
            if not Path(values[notebook][name]).is_file():
                raise Refused(f"there is no file {table} ({notebook}.{name})")
    prep = values["01_prep"]
    source = prep["source"]
    if source == "phantom":
        if given.data:
            raise Refused(
                f"--data names a set of images, and profile {given.profile} draws the phantom: "
                "add --profile mini (or --set 01_prep.source=ham10000)"
            )
        return values
    if source.endswith((".yaml", ".yml")):
        from p2d_lib.prep import layouts, pixels

        prep["source"] = str(Path(source).expanduser().resolve())
        try:
            layouts.load(prep["source"])
        except pixels.DataError as error:
            raise Refused(str(error)) from None
    folder = prep["data"] or (os.environ.get("P2D_HAM10000", "") if source == "ham10000" else "")
    if folder:
        prep["data"] = str(Path(folder).expanduser().resolve())
    if given.dry_run:
        return values
    if not folder:
        raise Refused(
            f"source {source} is a set of images: give its folder with --data DIR"
            f"{' or P2D_HAM10000=DIR' if source == 'ham10000' else ''} (README.md says where to get it)"
        )
    if not Path(prep["data"]).is_dir():
        raise Refused(f"there is no folder {prep['data']} ({source}, from --data, 01_prep.data or P2D_HAM10000)")
    return values


def position(name: str, notebooks: list[str], option: str, default: int) -> int:
    if not name:
        return default
    if name not in notebooks:
        near = difflib.get_close_matches(name, notebooks, n=1, cutoff=0.3)
        raise Refused(f"{option} {name}: no such notebook" + (f": did you mean {near[0]!r}?" if near else ""))
    return notebooks.index(name)


def lock(path: Path):
    """The run's lock, held by an open file so that no crash leaves it behind. Raises Refused when another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.seek(0)
        holder = stream.read().strip() or "unknown"
        raise Refused(
            f"run {path.stem.lstrip('.')!r} is under way (process {holder}): wait for it, or give this one "
            "another name with --run"
        ) from None
    stream.truncate(0)
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream


def end_children(mark: str) -> None:
    """Kills every process that belongs to this run: its environment says P2D_RUN_MARK=<mark>.

    For the holder of the run's lock, to whom all these are children or what a killed driver has left, and for a
    notebook's process that has lost its driver. (Kernels start their own sessions: no process group has them all.)
    """
    import psutil

    while True:
        alive = [p for p in psutil.process_iter() if p.pid != os.getpid() and _mark(p) == mark]
        if not alive:
            return
        for process in alive:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(alive, timeout=5)


def _mark(process) -> str | None:
    import psutil

    try:
        return process.environ().get("P2D_RUN_MARK") if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError):  # another user's process, or just gone
        return None


def snakemake(folder: Path, config: Path, cores: int, targets: list[str], forced: list[str], *more: str) -> list[str]:
    command = [sys.executable, "-m", "snakemake", *more]
    command += ["--snakefile", str(REPOSITORY / "workflow" / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(config), "--cores", str(cores)]
    command += ["--workflow-profile", str(REPOSITORY / "workflow" / "profiles" / "local")]
    if forced:
        command += ["--forcerun", *forced]
    return [*command, "--", *(f"stages/{notebook}.json" for notebook in targets)]


def environment(mark: str) -> dict[str, str]:
    there = {
        "P2D_HOME": str(HOME),
        "P2D_DRIVER": str(os.getpid()),
        "P2D_RUN_MARK": mark,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    if os.environ.get("P2D_HAM10000"):
        there["P2D_HAM10000"] = str(Path(os.environ["P2D_HAM10000"]).expanduser().resolve())
    # diffusers and peft import the notebook variant of tqdm, which complains of missing widgets
    there["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:IProgress not found"]))
    if not sys.stderr.isatty():
        there["TQDM_MININTERVAL"] = "20"  # a log file needs no ten bars a second
    return {**os.environ, **there}


def incomplete(folder: Path, run: str) -> list[str]:
    """Notebooks whose tables or figures somebody has deleted since."""
    deleted = []
    for stage in sorted(folder.glob("stages/*.json")):
        made = json.loads(stage.read_text())
        files = [HOME / kind / run / name for kind in ("tables", "figures") for name in made[kind]]
        if not all(file.exists() for file in files):
            deleted.append(made["notebook"])
    return deleted


class Progress:
    """Says on the terminal what Snakemake's log says: which notebook begins and ends, and how long the rest takes."""

    def __init__(self, notebooks: list[str], seconds: dict[str, float]):
        self.notebooks, self.seconds = notebooks, seconds
        self.planned: list[str] = []
        self.current, self.begun = "", 0.0
        self.expected_done = self.done = 0.0

    def read(self, line: str) -> None:
        if planned := re.match(r"(\d\d_\w+) +\d+$", line):
            self.planned.append(planned[1])
        elif begins := re.match(r"(?:local)?rule (\d\d_\w+):", line):
            self._begin(begins[1])
        elif re.match(r"Finished jobid: ", line) and self.current:
            self._end()

    def _begin(self, notebook: str) -> None:
        self.current, self.begun = notebook, time.monotonic()
        left = ""
        if all(name in self.seconds for name in self.planned):
            speed = self.done / self.expected_done if self.expected_done > 20 else 1.0
            rest = self.planned[self.planned.index(notebook) :] if notebook in self.planned else [notebook]
            here, whole = (speed * sum(self.seconds[name] for name in names) for names in ([notebook], rest))
            left = f", about {duration(here)}; the whole run: about {duration(whole)} left"
        say(f"{self._label(notebook)}  {time.strftime('%H:%M:%S')}{left}")

    def _end(self) -> None:
        took = time.monotonic() - self.begun
        self.done += took
        self.expected_done += self.seconds.get(self.current, 0.0)
        say(f"{self._label(self.current)}  done in {duration(took)}")
        self.current = ""

    def _label(self, notebook: str) -> str:
        return f"[{self.notebooks.index(notebook) + 1}/{len(self.notebooks)}] {notebook:<12}"


def say(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """ "42 s", "3 min 05 s", "2 h 10 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def last_timings(profile: str, run: str, notebooks: list[str]) -> dict[str, float]:
    """Seconds a notebook takes: as measured in this run, else in the profile's own, else as expected on two cores."""
    known = dict(zip(notebooks, EXPECTED.get(profile, ()), strict=False))
    for path in filter(Path.exists, (RUNS / name / "timings.json" for name in (profile, run))):
        timings = json.loads(path.read_text())
        if timings["profile"] == profile:
            known.update(timings["seconds"])
    return known


def save_timings(folder: Path, profile: str) -> dict[str, float]:
    timings = folder / "timings.json"
    seconds = json.loads(timings.read_text())["seconds"] if timings.exists() else {}
    for stage in sorted(folder.glob("stages/*.json")):
        made = json.loads(stage.read_text())
        seconds[made["notebook"]] = made["seconds"]
    partial = folder / ".timings.json.partial"
    partial.write_text(json.dumps({"profile": profile, "seconds": seconds}, indent=1) + "\n")
    partial.replace(timings)
    return seconds


def dry_run(given: argparse.Namespace, values: dict, run: str, targets: list[str], forced: list[str]) -> int:
    """Says what would run and why; writes nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch, "parameters.json")
        config.write_text(json.dumps(values))
        folder = RUNS / run if (RUNS / run).exists() else Path(scratch)
        forced = sorted({*forced, *incomplete(folder, run)} & set(targets))
        command = snakemake(folder, config, given.cores, targets, forced, "--dry-run")
        told = subprocess.run(command, env=environment(""), capture_output=True, text=True)
    if told.returncode:
        raise Refused(f"Snakemake could not plan the run:\n{told.stderr.strip() or told.stdout.strip()}")
    reasons = dict(re.findall(r"^rule (\d\d_\w+):$.*?^ +reason: (.*?)$", told.stdout + told.stderr, re.M | re.S))
    for number, notebook in enumerate(values, 1):
        reason = reasons.get(notebook, "up to date") if notebook in targets else "after --to"
        say(f"[{number}/{len(values)}] {notebook:<12}  {'runs: ' if notebook in reasons else ''}{reason}")
    return 0


def report(folder: Path, profile: str) -> Path:
    """index.html and the executed notebooks as HTML; nothing is rendered, or imported, when nothing changed."""
    index = folder / "index.html"
    sources = [Path(__file__).with_name("report.py"), *folder.glob("notebooks/*.ipynb"), *folder.glob("stages/*")]
    if not index.exists() or any(path.stat().st_mtime > index.stat().st_mtime for path in sources):
        from report import write  # nbconvert takes seconds to import

        write(folder, HOME, REPOSITORY, profile)
    return index


def run_paper(given: argparse.Namespace, argv: list[str]) -> int:
    values = parameters(given)
    notebooks = list(values)
    run = values[notebooks[0]]["run"]
    first, last = (
        position(given.first, notebooks, "--from", len(notebooks)),
        position(given.last, notebooks, "--to", -1),
    )
    targets = notebooks[: last + 1] if given.last else notebooks
    forced = notebooks[first : len(targets)]
    if given.first and not forced:
        raise Refused(f"--from {given.first} lies behind --to {given.last}")
    if given.cores < 1:
        raise Refused(f"--cores {given.cores}: at least one core is needed")
    if given.dry_run:
        return dry_run(given, values, run, targets, forced)

    folder, mark = RUNS / run, str(RUNS / run)
    holder = lock(RUNS / f".{run}.lock")
    end_children(mark)  # of a driver that was killed
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.json").write_text(json.dumps(values, indent=1) + "\n")
    forced = sorted({*forced, *incomplete(folder, run)} & set(targets))
    progress = Progress(notebooks, last_timings(given.profile, run, notebooks))
    log = folder / "snakemake.log"
    started = time.time()
    process = subprocess.Popen(
        snakemake(folder, folder / "parameters.json", given.cores, targets, forced),
        env=environment(mark),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # the notebooks' bars
        stderr=subprocess.PIPE,  # Snakemake's own words
        text=True,
        start_new_session=True,  # Ctrl-C reaches only us: end_children ends the rest, kernels included
    )
    try:
        with log.open("w") as stream:
            for line in process.stderr:
                stream.write(line)
                stream.flush()
                progress.read(line.rstrip("\n"))
        code = process.wait()
        seconds = save_timings(folder, given.profile)
        index = report(folder, given.profile)
    except KeyboardInterrupt as interrupt:
        end_children(mark)
        where = f" in {progress.current}" if progress.current else ""
        say(f"\nStopped{where}. To continue: {shlex.join(['./run_all.sh', *argv])}")
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    finally:
        if process.poll() is None:
            end_children(mark)
        holder.close()
    if code:
        return failed(folder, progress.current, log, index, started)
    finished(run, targets, seconds, set(progress.planned), index)
    return 0


def failed(folder: Path, notebook: str, log: Path, index: Path, started: float) -> int:
    error = folder / "stages" / f"{notebook}.error"
    executed = folder / "notebooks" / f"{notebook}.ipynb"
    if notebook and error.exists():
        say(f"\n{notebook} failed: {error.read_text().strip()}")
        if executed.exists() and executed.stat().st_mtime >= started - 1:
            say(f"The notebook up to the failure: {_short(executed)} (as a page: {_short(index)})")
    else:
        words = [line.strip() for line in log.read_text().splitlines() if line.strip()]
        say(f"\n{notebook or 'The run'} failed: {words[-1] if words else 'Snakemake said nothing'}")
        say(f"Snakemake's log: {_short(log)}")
    return 1


def finished(run: str, targets: list[str], seconds: dict[str, float], ran: set[str], index: Path) -> None:
    say()
    for notebook in targets:
        kept = "" if notebook in ran else "  (unchanged: made earlier)"
        say(f"  {notebook:<12}  {duration(seconds[notebook]):>12}{kept}")
    say(f"  {'together':<12}  {duration(sum(seconds[notebook] for notebook in targets)):>12}\n")
    for kind in ("tables", "figures"):
        suffix = {"tables": "*.csv", "figures": "*.png"}[kind]
        say(f"{len(list((HOME / kind / run).glob(suffix))):>3} {kind:<8} {_short(HOME / kind / run)}")
    say(f"    page     {_short(index)}")


def _short(path: Path) -> str:
    """Relative to where the user stands, where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def main(argv: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks
            signal.signal(number, _interrupt)
    try:
        return run_paper(arguments(argv), argv)
    except Refused as refusal:
        say(f"prompt2derm: {refusal}")
        return 2
    except KeyboardInterrupt as interrupt:
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _interrupt(number: int, _frame) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
