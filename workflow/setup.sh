#!/usr/bin/env bash
# Makes .venv exactly as requirements.lock says, once: run_all.sh and run_tests.sh call it first.
# `setup.sh test` adds what requirements-test.lock says. A finished .venv carries a stamp of everything it was made from,
# and a second one of the test packages; while a stamp fits, there is nothing to do for it.
# The lock files are pip's, not uv.lock: that one names the address of every download, so it holds for one index alone.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
# settings of pip for other environments than .venv; pip.conf with its index stays in force
export PIP_USER=0
unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PYTHONHOME PYTHONSAFEPATH
venv_python=.venv/bin/python
stamp=.venv/complete
test_stamp=.venv/complete-test
log=.venv/setup.log

say() { printf 'prompt2derm: %s\n' "$1" >&2; }
fail() {
    say "$1"
    exit 1
}

# The release (3.11, ...) of a Python that we can use; nothing and false for any other.
release() {
    "$1" -c 'import sys, venv, ensurepip
if not (3, 11) <= sys.version_info[:2] < (3, 14): sys.exit(1)
print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if release "$candidate" >/dev/null; then
            python="$candidate"
            return
        fi
        if [ -n "${PYTHON:-}" ]; then break; fi
    done
    fail "no Python 3.11, 3.12 or 3.13 with venv was found${PYTHON:+ at PYTHON=$PYTHON}: install one (python.org/downloads, 'apt install python3-venv', 'brew install python@3.12') or name it: PYTHON=/path/to/python3 ./run_all.sh"
}

# Everything .venv is made from: its place (scripts hold it), its interpreter, the pins, the package's own metadata.
ingredients() {
    printf '%s\n' "$root"
    "$venv_python" -c 'import sys; print(sys.version)'
    cat requirements-setup.lock requirements.lock
    sed '/^\[tool.ruff\]/,$d' pyproject.toml
}

ready() {
    [ -f "$stamp" ] || return 1
    if [ -n "${PYTHON:-}" ]; then [ "$(release "$PYTHON")" = "$(release "$venv_python")" ] || return 1; fi
    ingredients 2>/dev/null | cmp -s - "$stamp"
}

ready_for() {
    ready && { [ "$1" != test ] || cmp -s requirements-test.lock "$test_stamp"; }
}

# $1: a lock file. With uv, where pip could install it, else with pip; both check the hashes.
install_pins() {
    if "$venv_python" -m uv --version >/dev/null 2>&1; then
        "$venv_python" -m uv pip install --python "$venv_python" --require-hashes --compile-bytecode -r "$1" && return
    fi
    "$venv_python" -m pip install --require-hashes -r "$1"
}

install_failed() {
    fail "installing the packages failed ($(grep -iE 'error|no space' "$log" | tail -n 1)): check network and disk space, then run the same command again; the whole log is $root/$log"
}

make_environment() {
    local trouble
    # a new environment empties the folder it is made in: behind a link that may be another clone's
    if [ -L .venv ]; then
        fail ".venv is a link to $(readlink .venv), made for another folder or with other packages: remove the link ('rm .venv', which leaves what it points to) and run the same command again"
    fi
    rm -f "$stamp" "$test_stamp"
    say "setting up .venv with Python $(release "$python") (once: one minute from a warm package cache, three to six otherwise)"
    if ! trouble="$("$python" -m venv --clear .venv 2>&1)"; then
        fail "'$python -m venv .venv' failed (${trouble##*$'\n'}): make room on the disk or install Python's venv, and run the same command again"
    fi
    "$venv_python" -m pip install --quiet --require-hashes -r requirements-setup.lock >"$log" 2>&1 || true
    if ! install_pins requirements.lock >>"$log" 2>&1 ||
        ! "$venv_python" -m pip install --no-deps --no-build-isolation -e . >>"$log" 2>&1; then
        install_failed
    fi
    if ! "$venv_python" -m ipykernel install --sys-prefix --name prompt2derm --display-name prompt2derm >>"$log" 2>&1; then
        fail "installing the Jupyter kernel failed: see $root/$log, then run the same command again"
    fi
    ingredients >"$stamp.partial"
    mv "$stamp.partial" "$stamp"
}

add_test_packages() {
    say "adding the test packages to .venv"
    rm -f "$test_stamp"
    if ! install_pins requirements-test.lock >>"$log" 2>&1; then install_failed; fi
    cp requirements-test.lock "$test_stamp.partial"
    mv "$test_stamp.partial" "$test_stamp"
}

what="${1:-run}" # or test
if ready_for "$what"; then exit 0; fi
find_python

if [ -z "${P2D_SETTING_UP:-}" ]; then
    # One set-up at a time. The system frees this lock however its holder and the holder's children end.
    P2D_SETTING_UP=1 exec "$python" -c '
import fcntl, os, sys
lock = os.open("requirements.lock", os.O_RDWR)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("prompt2derm: another set-up of .venv is under way, waiting for it", file=sys.stderr, flush=True)
    fcntl.flock(lock, fcntl.LOCK_EX)
os.set_inheritable(lock, True)
os.execvp("bash", ["bash", "workflow/setup.sh", *sys.argv[1:]])' "$what"
fi

trap 'fail "set-up interrupted: run the same command again, it starts over"' INT TERM HUP
started=$SECONDS
if ! ready; then make_environment; fi
if ! ready_for "$what"; then add_test_packages; fi
say "set up in $((SECONDS - started)) s"
