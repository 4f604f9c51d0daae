"""Claims about stages that are jobs of a cluster, and about 04's shards, shown with scripted commands of Slurm."""

import json
import os
import subprocess
from pathlib import Path

import cluster as queue
import pytest
import scripted_slurm
from cli import Refused

AT_ONCE = """
slurm-init-seconds-before-status-checks: 1
seconds-between-status-checks: 1
"""
ONLY_04 = ("--from", "04_sample", "--to", "04_sample")


class Cluster:
    """A scripted Slurm, and the profile of workflow/profiles with shorter waits."""

    def __init__(self, folder: Path, clone):
        self.state, commands, self.profile = folder / "state", folder / "bin", folder / "profile"
        for place in (self.state, commands, self.profile):
            place.mkdir(parents=True)
        scripted_slurm.install(commands)
        shipped = (clone.folder / "workflow" / "profiles" / "slurm" / "config.yaml").read_text()
        (self.profile / "config.yaml").write_text(shipped + AT_ONCE)
        path = os.pathsep.join([str(commands), os.environ["PATH"]])
        self.environment = {"PATH": path, "SCRIPTED_SLURM": str(self.state)}
        self.options = ("--executor", str(self.profile), "--cores", "1")

    def submitted(self) -> list[str]:
        """The arguments of each sbatch, joined."""
        lines = (self.state / "submitted.txt").read_text().splitlines()
        return [" ".join(json.loads(line)) for line in lines]

    def tasks(self) -> dict[str, dict]:
        return {path.stem: json.loads(path.read_text()) for path in self.state.glob("*.json")}


@pytest.fixture
def cluster(clone, tmp_path) -> Cluster:
    return Cluster(tmp_path / "slurm", clone)


def images_of(clone) -> str:
    return (clone.run_folder / "synthetic.parquet").read_text()


def test_an_array_of_shards_makes_what_one_process_makes_and_a_preempted_shard_goes_on(clone, cluster):
    assert clone.run(*ONLY_04)[0] == 0
    alone, sampled = images_of(clone), clone.folder / "sampled.txt"
    assert clone.ran() == ["04_sample"]
    sampled.write_text("")
    code, output = clone.run(*ONLY_04, "--shards", "2", *cluster.options, STUB_PREEMPT="7", **cluster.environment)
    assert code == 0, output
    assert images_of(clone) == alone
    assert sorted(sampled.read_text().split()) == sorted([*map(str, range(12)), "7", "begun"])  # none was sampled twice
    assert sorted(clone.ran()) == ["04_sample", *(f"04_sample.{i}-of-2" for i in (0, 1, 1))]
    array, stage = cluster.submitted()
    assert "--array=1-2" in array and "--gpus" in array and "--requeue" in array and "--mem 32" in array
    assert "-t 720" in stage and "--array" not in stage
    assert "shard 1-of-2 done" in output and "[4/8] 04_sample     done" in output


def test_only_a_shard_that_did_not_end_runs_again_and_its_failure_is_the_stages(clone):
    (clone.folder / "sampled.txt").write_text("")
    code, output = clone.run(*ONLY_04, "--shards", "2", STUB_PREEMPT="7")
    assert code == 1 and "04_sample failed" in output
    assert sorted(clone.ran()) == ["04_sample.0-of-2", "04_sample.1-of-2"]
    assert clone.run(*ONLY_04, "--shards", "2")[0] == 0
    assert clone.ran() == ["04_sample.1-of-2", "04_sample"]
    sampled = (clone.folder / "sampled.txt").read_text().split()
    assert sorted(sampled) == sorted([*map(str, range(12)), "7", "begun"])


def test_jobs_that_a_killed_driver_left_in_the_queue_are_cancelled_and_no_others(cluster, monkeypatch, tmp_path):
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    own, other = tmp_path / "runs" / "smoke", tmp_path / "elsewhere" / "smoke"
    for run in (own, other):
        name = f"{queue.job_name(run)}_3f2a"
        subprocess.run(["sbatch", f"--job-name={name}", "--output=log", "-D", tmp_path, "--wrap=sleep 60"], check=True)
    try:
        queue.cancel_jobs(own)
        assert [task["state"] in scripted_slurm.ACTIVE for task in cluster.tasks().values()] == [False, True]
        queue.cancel_jobs(own)  # of whose jobs none is left
    finally:
        queue.cancel_jobs(other)


def test_where_slurm_is_not_there_or_refuses_the_run_ends_with_one_sentence(clone, cluster):
    code, output = clone.run(*ONLY_04, *cluster.options, PATH=str(cluster.state))
    assert code == 2 and "there is no squeue here" in output
    refused = cluster.environment | {"SCRIPTED_SLURM_REFUSES": "Invalid account or account/partition"}
    code, output = clone.run(*ONLY_04, *cluster.options, **refused)
    assert code == 1 and "Invalid account or account/partition" in output.splitlines()[-2]
    with pytest.raises(Refused, match="--executor slrum: no such executor: write one of kubernetes, local, slurm"):
        queue.profile("slrum")


@pytest.mark.parametrize("content", [b"executor: [", b"- slurm", b"a: \xff"])
def test_a_profile_whose_settings_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(Refused, match=f"{tmp_path}/config.yaml (is not readable YAML|holds no settings)"):
        queue.profile(str(tmp_path))
