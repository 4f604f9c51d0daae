"""Slurm's commands as far as Snakemake's executor and the driver use them; jobs run at once, on this machine.

The folder that $SCRIPTED_SLURM names holds a file for each task, <job>_<index> or <job>, with its state, and
submitted.txt with the arguments of each sbatch. A task that fails is started once more where its sbatch says --requeue,
as Slurm does with a job that was preempted.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

STATE = Path(os.environ.get("SCRIPTED_SLURM", ""))
ACTIVE = ("PENDING", "RUNNING")


def sbatch(argv: list[str]) -> None:
    with (STATE / "submitted.txt").open("a") as stream:
        stream.write(json.dumps(argv) + "\n")
    if refusal := os.environ.get("SCRIPTED_SLURM_REFUSES"):
        sys.exit(f"sbatch: error: {refusal}")
    parser = argparse.ArgumentParser()
    for option in ("--job-name", "--output", "--array", "--wrap", "-D"):
        parser.add_argument(option)
    options, _ = parser.parse_known_args(argv)
    job = str(len((STATE / "submitted.txt").read_text().splitlines()))
    first, last = (options.array or "0-0").split("-")
    for index in range(int(first), int(last) + 1):
        name = f"{job}_{index}" if options.array else job
        output = options.output.replace("%j", job).replace("%A", job).replace("%a", str(index))
        environment = {"SLURM_JOB_ID": job, "SLURM_ARRAY_TASK_ID": str(index), "SLURM_ARRAY_TASK_MIN": first}
        task = {
            "id": name, "name": options.job_name, "wrap": options.wrap, "folder": options.D, "output": output,
            "requeue": "--requeue" in argv, "environment": environment if options.array else {"SLURM_JOB_ID": job},
        }  # fmt: skip
        write(name, task | {"state": "PENDING"})
        subprocess.Popen([sys.executable, __file__, "task", name], start_new_session=True, stdout=subprocess.DEVNULL)
    print(job)


def task(argv: list[str]) -> None:
    """Runs a task to its end."""
    record = read(argv[0])
    for attempt in range(1 + record["requeue"]):
        with Path(record["output"]).open("a") as log:
            process = subprocess.Popen(
                record["wrap"], shell=True, cwd=record["folder"], env={**os.environ, **record["environment"]},
                stdout=log, stderr=log,
            )  # fmt: skip
            write(argv[0], record | {"state": "RUNNING", "group": os.getpid(), "attempt": attempt})
            code = process.wait()
        if code == 0:
            break
    write(argv[0], record | {"state": "COMPLETED" if code == 0 else "FAILED", "attempt": attempt})


def srun(argv: list[str]) -> None:
    command = next(k for k, word in enumerate(argv) if not word.startswith("-"))
    os.execvp(argv[command], argv[command:])


def squeue(argv: list[str]) -> None:
    for path in sorted(STATE.glob("*.json")):
        record = read(path.stem)
        if "--me" not in argv:
            print(f"{record['id']}|{record['state']}")
        elif record["state"] in ACTIVE:
            print(record["id"].split("_")[0], record["name"])


def scancel(argv: list[str]) -> None:
    for path in STATE.glob("*.json"):
        record = read(path.stem)
        if record["id"].split("_")[0] in argv and record["state"] in ACTIVE:
            with suppress(ProcessLookupError, KeyError):
                os.killpg(record["group"], signal.SIGKILL)
            write(path.stem, record | {"state": "CANCELLED"})


def sacct(_: list[str]) -> None:
    """Of no account: the executor asks for that of the last job where none is named."""


def scontrol(_: list[str]) -> None:
    print("MinJobAge = 300 sec\nMaxArraySize = 1001")


def sinfo(_: list[str]) -> None:
    print("PARTITION\nnormal*")


def read(name: str) -> dict:
    for _ in range(50):
        with suppress(ValueError):  # just being written
            return json.loads((STATE / f"{name}.json").read_text())
        time.sleep(0.01)
    raise ValueError(name)


def write(name: str, record: dict) -> None:
    partial = STATE / f"{name}.partial{os.getpid()}"
    partial.write_text(json.dumps(record))
    partial.replace(STATE / f"{name}.json")


def install(folder: Path) -> None:
    """Puts the commands into a folder for PATH."""
    for command in ("sbatch", "srun", "squeue", "scancel", "sacct", "scontrol", "sinfo"):
        path = folder / command
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {command} "$@"\n')
        path.chmod(0o755)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
