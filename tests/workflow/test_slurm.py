"""Claims about stages that are jobs of a cluster, and about 04's shards, shown with scripted commands of Slurm."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import scripted_slurm

AT_ONCE = """
slurm-no-account: true
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
    code, output = clone.run(*ONLY_04, "--shards", "3", *cluster.options, STUB_PREEMPT="7", **cluster.environment)
    assert code == 0, output
    assert images_of(clone) == alone
    assert sorted(sampled.read_text().split()) == sorted([*map(str, range(12)), "7", "begun"])  # none was sampled twice
    assert sorted(clone.ran()) == ["04_sample", *(f"04_sample.{i}-of-3" for i in (0, 1, 1, 2))]
    array, stage = cluster.submitted()
    assert "--array=1-3" in array and "--gpus" in array and "--requeue" in array and "--mem 32" in array
    assert "-t 720" in stage and "--array" not in stage
    assert "shard 1-of-3 done" in output and "[4/8] 04_sample     done" in output


def test_only_shards_without_a_manifest_run_again_and_a_failure_is_reported_as_on_one_machine(clone, cluster):
    code, output = clone.run(*ONLY_04, "--shards", "3", STUB_FAIL="04_sample")
    assert code == 1 and "row 3 of planted.csv is 7, expected 8" in output
