"""Where Snakemake runs the stages: on this machine, or as jobs of a cluster (workflow/profiles)."""

import hashlib
import re
import subprocess
import time
from pathlib import Path

from cli import LOCAL, Refused
from places import REPOSITORY

from p2d_lib import yaml_text

PROFILES = REPOSITORY / "workflow" / "profiles"
SLURM = "slurm"
LONGEST_CANCELLING = 60.0  # seconds


def profile(name: str) -> Path:
    """The folder of an executor's profile: one of workflow/profiles, or the user's own. Raises Refused."""
    folder = PROFILES / name if (PROFILES / name).is_dir() else Path(name).expanduser().resolve()
    if not (folder / "config.yaml").is_file():
        shipped = ", ".join(sorted(path.name for path in PROFILES.iterdir()))
        raise Refused(
            f"--executor {name}: no such executor: write one of {shipped}, or a folder that holds a config.yaml like "
            f"{(PROFILES / SLURM / 'config.yaml').relative_to(REPOSITORY)}"
        )
    executor(folder)
    return folder


def executor(folder: Path) -> str:
    """Snakemake's name of the executor that a profile asks for. Raises Refused for a config.yaml that is no mapping."""
    path = folder / "config.yaml"
    try:
        settings = yaml_text.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml_text.YamlError) as error:
        raise Refused(f"{path} is not readable YAML: {error}") from None
    if not isinstance(settings, dict):
        raise Refused(f"{path} holds no settings: write lines such as `executor: slurm`")
    return settings.get("executor", LOCAL)


def job_name(run_folder: Path) -> str:
    """What the names of all jobs of a run begin with, and those of no other run."""
    name = re.sub(r"[^A-Za-z0-9-]", "-", run_folder.name)[:30]
    return f"p2d-{name}-{hashlib.sha256(str(run_folder).encode()).hexdigest()[:8]}"


def cancel_jobs(run_folder: Path) -> None:
    """Cancels this user's jobs of a run in Slurm's queue, and waits until they have ended.

    Raises Refused where they cannot be cancelled: two jobs of one stage would write the same files.
    """
    jobs = _jobs(run_folder)
    waited_until = time.monotonic() + LONGEST_CANCELLING
    while jobs:
        _slurm("scancel", *jobs)
        time.sleep(1)
        jobs = _jobs(run_folder)
        if jobs and time.monotonic() > waited_until:
            raise Refused(f"jobs of an earlier start do not end: {', '.join(jobs)}: cancel them (scancel), start again")


def _jobs(run_folder: Path) -> list[str]:
    """The numbers of the run's jobs that wait or run, each array once."""
    lines = _slurm("squeue", "--me", "--noheader", "--format=%A %j").splitlines()
    entries = [line.split(maxsplit=1) for line in lines if " " in line.strip()]
    return sorted({number for number, name in entries if name.startswith(job_name(run_folder))})


def _slurm(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    except FileNotFoundError:
        raise Refused(f"--executor slurm: there is no {command[0]} here: start it where Slurm's commands are") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        words = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise Refused(f"{command[0]} failed: {words[-1] if words else error}") from None
