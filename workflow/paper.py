"""One start of ./run_all.sh: which stages run, what the terminal shows of them, and the summary at the end."""

import argparse
import json
import os
import re
import shlex
import signal
import time
from pathlib import Path

import cluster
import copies
import plan as planning
import request
import shards
import weights_check
from cli import LOCAL, Refused
from places import HOME, RUNS
from processes import advice_on_cores, busy_cores, end_children, start_snakemake
from progress import Progress, duration, label, last_timings, save_timings, say
from stages import KINDS, Stages

from p2d_lib.files import atomic, file_sha256, remove
from p2d_lib.locks import RunBusy, lock_run


def run_paper(options: argparse.Namespace, argv: list[str]) -> int:
    profile = cluster.profile(options.executor)
    if options.copy_to:
        copies.check(options.copy_to)
    parameters = request.parameters(options)
    targets, forced = request.stages(options)
    run = next(iter(parameters.values()))["run"]
    stages = Stages(RUNS / run, parameters)
    if options.dry_run:
        plan = planning.make(stages, targets, forced)
        weights = weights_check.listed(parameters)
        for notebook in parameters:
            status = plan.status(notebook) if notebook in targets else "after --to"
            say(f"{label(notebook, list(parameters))}  {status}")
            for name, value in weights.get(notebook, ()):
                say(f"{' ' * 24}{name}: {value}")
        return 1 if plan.broken else 0
    lock = _lock(run)
    try:
        _end_jobs(stages.folder, profile)  # of a driver that was killed
        return _run_stages(options, argv, stages, targets, forced)
    finally:
        lock.release()


def _lock(run: str):
    """The run's lock. Raises Refused where somebody else has it or nothing can be written."""
    try:
        return lock_run(RUNS, run)
    except RunBusy as busy:
        raise Refused(f"{busy} (--run)") from None
    except OSError as error:
        raise Refused(
            f"{RUNS} cannot be written to ({error.strerror}): work in a clone that is yours, or name a folder for "
            "all that is made: P2D_HOME=DIR ./run_all.sh"
        ) from None


def _run_stages(
    options: argparse.Namespace, argv: list[str], stages: Stages, targets: list[str], forced: list[str]
) -> int:
    folder, notebooks = stages.folder, list(stages.parameters)
    plan, profile = planning.make(stages, targets, forced), cluster.profile(options.executor)
    _prepare(options, stages, plan, targets, forced)
    if any(stages.record(notebook) for notebook in targets):
        for notebook in (*plan.runs, *plan.broken, *plan.blocked):
            say(f"{label(notebook, notebooks)}  {plan.status(notebook)}")
    if plan.scheduled and options.executor == LOCAL and (advice := advice_on_cores(options.cores, busy_cores())):
        say(advice)
    timings = last_timings(RUNS, options.profile, folder.name, notebooks)
    progress = Progress(folder, notebooks, list(plan.scheduled), timings)
    try:
        code = _snakemake(folder, options.cores, profile, progress) if plan.scheduled else 0
        seconds = save_timings(folder, options.profile)
        index = _page(folder, options.profile)
    except KeyboardInterrupt as interrupt:
        _end_jobs(folder, profile)
        progress.update()
        where = f" in {progress.current}" if progress.current else ""
        say(f"\nStopped{where}. To continue: {shlex.join(['./run_all.sh', *argv])}")
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    if code or plan.broken:
        return _failed(folder, plan, progress, index)
    ran = {notebook for notebook, event in progress.events.items() if event == "done"}
    _finished(stages, targets, seconds, ran, index)
    if options.copy_to:
        say(f"{copies.copy_run(folder, HOME, options.copy_to):>3} files    copied to {options.copy_to}")
    return 0


def _end_jobs(folder: Path, profile: Path) -> None:
    """Ends what still works on the run, here and in the cluster's queue."""
    end_children(mark=str(folder))
    if cluster.executor(profile) == cluster.SLURM:
        cluster.cancel_jobs(folder)


def _prepare(
    options: argparse.Namespace, stages: Stages, plan: planning.Plan, targets: list[str], forced: list[str]
) -> None:
    """Writes what stage.py and Snakemake read, and clears what earlier starts have left for them."""
    folder = stages.folder
    content_of_plan = {
        "stages": plan.scheduled,
        "forced": forced,
        "cores": options.cores,
        "shards": {shards.NOTEBOOK: _shards_to_run(options, stages, plan)},
        "processes": options.processes,
    }
    for name, content in (("parameters.json", stages.parameters), ("plan.json", content_of_plan)):
        with atomic(folder / name) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n")
    stages.digests.save()
    remove(folder / "scheduled")
    remove(folder / "events.jsonl")
    (folder / "stages").mkdir(exist_ok=True)
    for notebook in targets:
        error = folder / "stages" / f"{notebook}.error"
        if notebook in plan.broken:
            error.write_text(f"{plan.broken[notebook]}\n")
        else:
            error.unlink(missing_ok=True)


def _shards_to_run(options: argparse.Namespace, stages: Stages, plan: planning.Plan) -> list[str]:
    """The shards of 04 whose images are not there yet; all, where what 04 reads is made again first."""
    if shards.NOTEBOOK not in plan.scheduled:
        return []
    remade = plan.scheduled[shards.NOTEBOOK]
    return [name for name in shards.names(options.shards) if remade or not shards.is_done(stages, name)]


def _snakemake(folder: Path, cores: int, profile: Path, progress: Progress) -> int:
    """Runs the scheduled stages; returns Snakemake's exit code."""
    with (folder / "snakemake.log").open("w") as log:
        process = start_snakemake(folder, cores, profile, log)
        try:
            while process.poll() is None:
                progress.update()
                time.sleep(0.1)
            progress.update()
            return process.returncode
        finally:
            if process.poll() is None:
                _end_jobs(folder, profile)


def _page(folder: Path, profile: str) -> Path:
    """index.html and the executed notebooks as HTML; nothing is rendered, or imported, when nothing changed."""
    index, rendered = folder / "index.html", folder / ".index.json"
    sources = [
        *sorted(Path(__file__).parent.glob("page.*")),
        Path(__file__).with_name("headline.py"),
        *sorted(folder.glob("stages/*")),
        *sorted(folder.glob("notebooks/*.ipynb")),
    ]
    digests = {path.name: file_sha256(path) for path in sources}
    shown = json.dumps({"run": folder.name, "profile": profile, **digests})
    if not index.exists() or not rendered.exists() or rendered.read_text() != shown:
        from page import write  # nbconvert takes seconds to import

        write(folder, HOME, profile)
        rendered.write_text(shown)
    return index


def _failed(folder: Path, plan: planning.Plan, progress: Progress, index: Path) -> int:
    """Says which stages failed and why, and which therefore did not run."""
    stopped = [name for name, event in progress.events.items() if event in ("failed", "begun")]
    for notebook in (*plan.broken, *stopped):
        error, executed = folder / "stages" / f"{notebook}.error", folder / "notebooks" / f"{notebook}.ipynb"
        problem = f"see Snakemake's log, {_short(folder / 'snakemake.log')}"
        if error.exists():
            problem = error.read_text().strip()
        say(f"\n{notebook} failed: {problem}")
        if notebook in stopped and executed.exists():
            say(f"The notebook up to the failure: {_short(executed)} (as a page: {_short(index)})")
    waiting = [*plan.blocked, *(name for name in plan.scheduled if name not in progress.events)]
    if waiting and (stopped or plan.broken):
        say(f"Not run, since they need it: {', '.join(sorted(waiting))}")
    if not (stopped or plan.broken):
        log = (folder / "snakemake.log").read_text()
        words = [line.strip() for line in log.splitlines() if line.strip()]
        refused = re.search(r"The error message was '(.+?)'", log)  # of sbatch
        say(f"\nThe run failed: {refused[1] if refused else words[-1] if words else 'Snakemake said nothing'}")
        say(f"Snakemake's log: {_short(folder / 'snakemake.log')}")
    return 1


def _finished(stages: Stages, targets: list[str], seconds: dict[str, float], ran: set[str], index: Path) -> None:
    say()
    for notebook in targets:
        note = "" if notebook in ran else "  (unchanged: made earlier)"
        say(f"  {notebook:<12}  {duration(seconds[notebook]):>12}{note}")
    say(f"  {'together':<12}  {duration(sum(seconds[notebook] for notebook in targets)):>12}\n")
    records = [record for notebook in stages.parameters if (record := stages.record(notebook))]
    for kind in KINDS:
        names = {Path(name).stem for record in records for name in record[kind]}
        say(f"{len(names):>3} {kind:<8} {_short(HOME / kind / stages.folder.name)}")
    say(f"    page     {_short(index)}")


def _short(path: Path) -> str:
    """Relative to the working folder, where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
