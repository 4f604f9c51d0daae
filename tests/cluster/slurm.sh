#!/usr/bin/env bash
# A real Slurm of one node on the loopback interface runs a small paper, whose tables must equal those of a local run.
#
#   tests/cluster/slurm.sh [--to 04_sample] [--shards 2]      # options of run_all.sh, for both runs
#   tests/cluster/slurm.sh --jobs-from 05_fidelity            # what comes before is copied from the local run
#
# Needs root and Debian's packages (apt-get install slurmctld slurmd munge); PYTHON names a Python that has the project's
# packages. It writes /etc/slurm/slurm.conf, since nested jobs look for it nowhere else, and refuses to start where there
# is one. Daemons, state and both runs live in a temporary folder ($PLACE keeps it); everything is ended and removed.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${PYTHON:-$repository/.venv/bin/python}"
place="${PLACE:-$(mktemp -d)}"
conf=/etc/slurm/slurm.conf
[ ! -e "$conf" ] || { echo "$conf exists: this machine has a Slurm already, and this script starts its own" >&2; exit 2; }
for command in slurmctld slurmd munged; do
    command -v "$command" >/dev/null || { echo "$command is missing: apt-get install slurmctld slurmd munge" >&2; exit 2; }
done

finish() {
    scancel --me 2>/dev/null || true
    for daemon in slurmd slurmctld munged; do
        [ ! -s "$place/$daemon.pid" ] || kill "$(cat "$place/$daemon.pid")" 2>/dev/null || true
    done
    for _ in $(seq 20); do # the controller saves its state before it ends
        [ -e "$place/slurmctld.pid" ] || break
        sleep 0.5
    done
    rm -f "$conf"
    [ -n "${PLACE:-}" ] || rm -rf "$place"
}
trap finish EXIT

mkdir -p "$place"/{state,spool,local,slurm,profile} /etc/slurm
chmod 755 "$place"
dd if=/dev/urandom of="$place/munge.key" bs=1024 count=1 status=none
chmod 400 "$place/munge.key"
munged --force --key-file="$place/munge.key" --socket="$place/munge.socket" --pid-file="$place/munged.pid" \
    --log-file="$place/munged.log" --seed-file="$place/munge.seed"
host="$(hostname -s)"
cat >"$conf" <<END
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$place/munge.socket
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 State=UNKNOWN
PartitionName=normal Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
slurmctld -c
slurmd
for _ in $(seq 60); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && break
    sleep 0.5
done
sinfo --noheader --format="%T, Slurm %v" || { tail -n 5 "$place"/slurm*.log >&2; exit 1; }

# The profile that ships, for a node without GPUs and with little memory, looked at often.
sed -e 's/gpu: 1, //' -e 's/mem_mb: [0-9]*/mem_mb: 4000/' "$repository/workflow/profiles/slurm/config.yaml" \
    >"$place/profile/config.yaml"
printf 'slurm-no-account: true\nslurm-init-seconds-before-status-checks: 5\nseconds-between-status-checks: 5\n' \
    >>"$place/profile/config.yaml"
"$python" "$repository/tests/cluster/compare.py" "$place" "$@"
