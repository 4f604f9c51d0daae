#!/usr/bin/env bash
# Makes the three lock files anew after a change of the dependencies in pyproject.toml; pins that still fit stay.
# For a newer version of one package: ./workflow/lock.sh --upgrade-package NAME
# Not uv.lock: it names the address of every download, so that it holds for one package index alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-.venv/bin/python}"

# $1: the file. The other arguments go to uv.
pin() {
    local file="$1"
    shift
    "$python" -m uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet -o "$file" "$@" >/dev/null
}

pin requirements.lock pyproject.toml "$@"

# What the tests need beside requirements.lock, and nothing that is in it.
known="$(grep -oE '^[a-z0-9._-]+' requirements.lock | sort -u | sed 's/^/--no-emit-package=/')"
# shellcheck disable=SC2086  # one option a package
pin requirements-test.lock pyproject.toml --extra test -c requirements.lock $known "$@"
sed -i.partial -e '/^# The following packages were excluded/,$d' -e '/^$/d' requirements-test.lock
rm requirements-test.lock.partial

# uv itself, which workflow/setup.sh installs with pip.
echo 'uv>=0.9' | pin requirements-setup.lock - --python-version 3.11 "$@"
