#!/usr/bin/env bash
# The whole paper with one command: sets up .venv, then runs the eight notebooks. ./run_all.sh --help
# ./run_all.sh app: the web app over a finished run (app --help)
# ./run_all.sh release --run NAME --to FOLDER: the synthetic set of a finished run, checked and as one folder
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
command=("$here/workflow/drive.py")
case "${1:-}" in app | release) command=(-m "p2d_lib.$1") && shift ;; esac
for argument in "$@"; do
    case "$argument" in -h | --help) PYTHONPATH="$here" exec "${PYTHON:-python3}" "${command[@]}" --help ;; esac
done
bash "$here/workflow/setup.sh"
exec "$here/.venv/bin/python" "${command[@]}" "$@"
