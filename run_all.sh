#!/usr/bin/env bash
# The whole paper with one command: sets up .venv, then runs the eight notebooks. ./run_all.sh --help
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
case "${1:-}" in app | release)
    bash "$here/workflow/setup.sh"
    exec "$here/.venv/bin/python" -m "p2d_lib.$1" "${@:2}" ;;
esac
for argument in "$@"; do
    case "$argument" in -h | --help) exec "${PYTHON:-python3}" "$here/workflow/drive.py" --help ;; esac
done
bash "$here/workflow/setup.sh"
exec "$here/.venv/bin/python" "$here/workflow/drive.py" "$@"
