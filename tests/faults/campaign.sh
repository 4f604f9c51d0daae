#!/usr/bin/env bash
# Every fault that a run must survive: tests/faults/campaign.sh FOLDER [KILLS]
# FOLDER takes the runs (5 GB) and the logs: faults.log, kill_points.jsonl (kills before chosen writes and at random moments, in
# processes without imports), disks.jsonl (disks that become full or read-only in the middle of a stage), kills.jsonl
# (KILLS of real processes, 100 by default). Hours on two cores. Only root may mount the small file systems that are
# filled and write-protected. It ends with 1 where a result differs, was paid for twice, or a test fails.
set -uo pipefail
folder="$(mkdir -p "$1" && cd "$1" && pwd)"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=0
P2D_FAULTS=1 P2D_FUZZ="${P2D_FUZZ:-10000}" .venv/bin/python -m pytest -v tests/faults tests/workflow/test_machine_faults.py \
    tests/workflow/test_environment.py tests/notebooks/test_killed_run.py tests/test_fuzzed_files.py \
    2>&1 | tee "$folder/faults.log" || failed=1
.venv/bin/python tests/faults/kill_points.py --home "$folder/kill_points" --log "$folder/kill_points.jsonl" || failed=1
[ "$(id -u)" != 0 ] || .venv/bin/python tests/faults/disks.py --home "$folder/kill_points" --log "$folder/disks.jsonl" || failed=1
.venv/bin/python tests/faults/at_once.py --home "$folder/at_once" || failed=1
.venv/bin/python tests/faults/kills.py --home "$folder" --kills "${2:-100}" --log "$folder/kills.jsonl" || failed=1
exit "$failed"
