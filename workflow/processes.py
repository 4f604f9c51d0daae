"""The processes of a run: how Snakemake is started, and how all of them end with their driver."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import psutil
from cli import LOCAL
from cluster import SLURM, executor, job_name
from places import HOME, REPOSITORY

BUSY = 0.7  # cores; what waiting for a busy core costs: benchmarks/busy_machine.py
FOREIGN = ("SNAKEMAKE_", "JUPYTER_", "PYTHONSAFEPATH", "PYTHONHOME", "MPLBACKEND")  # variables for other work
SPINS = "2000"  # looks of a waiting OpenMP thread before it sleeps: fewer than by default, no dearer when quiet


def start_snakemake(folder: Path, cores: int, profile: Path, log: IO[str]) -> subprocess.Popen:
    """Starts the stages that plan.json in the run's folder schedules. profile: the executor's folder. log: takes
    Snakemake's own words."""
    command = [sys.executable, "-m", "snakemake"]
    command += ["--snakefile", str(REPOSITORY / "workflow" / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "plan.json")]
    command += ["--profile", "none"]  # not the user's own, which is for other workflows
    command += ["--workflow-profile", str(profile)]
    environment, kind = _environment(mark=str(folder)), executor(profile)
    if kind == LOCAL:
        command += ["--cores", str(cores)]
    else:
        del environment["P2D_DRIVER"]  # a process number, which means nothing on another machine
    if kind == SLURM:
        command += ["--slurm-jobname-prefix", job_name(folder)]
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # the notebooks' bars
        stderr=log,
        start_new_session=True,  # Ctrl-C reaches only us: end_children ends the rest, kernels included
    )


def busy_cores() -> float:
    """How many of the cores that we may use other processes keep busy just now, by a look of a third of a second."""
    usable = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else None
    shares = psutil.cpu_percent(interval=0.3, percpu=True)
    return sum(shares[k] for k in usable or range(len(shares))) / 100


def advice_on_cores(cores: int, busy: float) -> str:
    """What to say of a run on so many cores while others keep some busy; "" where there is nothing to say."""
    fewer = max(1, int(cores - busy))
    if busy < BUSY or fewer == cores:
        return ""
    return (
        f"Other processes keep {busy:.1f} cores busy, and threads that compute together wait for the slowest: "
        f"--cores {fewer} may be faster (its numbers differ as those of another machine do)"
    )


def _environment(mark: str) -> dict[str, str]:
    added = {
        "P2D_HOME": str(HOME),
        "P2D_DRIVER": str(os.getpid()),
        "P2D_RUN_MARK": mark,  # p2d_lib.run.Run knows by it that the driver holds the run
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    if os.environ.get("P2D_HAM10000"):
        added["P2D_HAM10000"] = str(Path(os.environ["P2D_HAM10000"]).expanduser().resolve())
    # diffusers and peft import the notebook variant of tqdm, which complains of missing widgets
    added["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:IProgress not found"]))
    added["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", SPINS)
    if not sys.stderr.isatty():
        added["TQDM_MININTERVAL"] = "20"  # a log file needs no ten bars a second
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, **_settled(folder=Path(mark)), **added}


def _settled(folder: Path) -> dict[str, str]:
    """Variables by which no setting of the user's other work reaches a run: locale, Jupyter, IPython, matplotlib.

    Where the home folder cannot be written to (containers, cluster nodes), one in the run's folder takes its place.
    """
    variables = {"PYTHONUTF8": "1", "JUPYTER_PREFER_ENV_PATH": "1", "IPYTHONDIR": str(folder / ".ipython")}
    if matplotlib := find_spec("matplotlib"):
        variables["MATPLOTLIBRC"] = str(Path(matplotlib.origin).parent / "mpl-data" / "matplotlibrc")
    home = Path.home()
    if not os.access(home, os.W_OK):
        substitute = folder / ".home"
        substitute.mkdir(parents=True, exist_ok=True)
        variables["HOME"] = str(substitute)
        if "HF_HOME" not in os.environ and (cache := home / ".cache" / "huggingface").is_dir():
            variables["HF_HOME"] = str(cache)  # weights that were downloaded may still be read
    return variables


def end_children(mark: str) -> None:
    """Kills every process that belongs to this run: its environment says P2D_RUN_MARK=<mark>.

    For the holder of the run's lock, to whom all these are children or what a killed driver has left, and for a
    stage's process that has lost its driver. (Kernels start their own sessions: no process group has them all.)
    """
    while True:
        alive = [p for p in psutil.process_iter() if p.pid != os.getpid() and _mark(p) == mark]
        if not alive:
            return
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("P2D_RUN_MARK") if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError):  # another user's process, or just gone
        return None


def end_with_driver() -> None:
    """Ends Snakemake, kernel and self when the driver is gone (kill -9), so that nothing writes behind its back."""
    with suppress(psutil.NoSuchProcess):
        driver = psutil.Process(int(os.environ["P2D_DRIVER"]))
        while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
    end_children(os.environ["P2D_RUN_MARK"])
    os._exit(1)
