#!/usr/bin/env bash
# Sets up .venv with the test packages, then checks style (ruff) and claims (pytest). Arguments go to pytest: ./run_tests.sh tests/prep -k split
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bash "$here/workflow/setup.sh" test
cd "$here"
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
exec .venv/bin/python -m pytest "$@"
