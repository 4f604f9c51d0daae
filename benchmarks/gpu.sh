#!/usr/bin/env bash
# All measurements of speed that need a GPU, one after the other, with Stable Diffusion 1.5's geometry and random
# weights: training against a loop like diffusers' script, and sampling against its pipeline, batched.
#
#   benchmarks/gpu.sh                 # adds a dated table to benchmarks/SPEED.md; about 15 minutes of an H100
#   benchmarks/gpu.sh --small [FILE]  # on a CPU, with the tiny model: shows that it runs; writes to FILE or the terminal
#
# PYTHON names the Python to use (default: .venv's). Targets stand beside the results: training at least twice as fast
# as the script and at 40 % of the rate of a large bfloat16 product, sampling at least twice as fast as the pipeline and
# 20 images a second at 20 steps of 512 px. A target that is missed is written down as missed; return code 0.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-$here/../.venv/bin/python}"
results="$here/SPEED.md"
train=(--sd15 --batch-size 16 --images 256 --steps 30 --rounds 3)
sample=(--sd15 --batch 16 --images 64 --alone 2 --rounds 3 --steps 20)
if [ "${1:-}" = --small ]; then
    results="${2:-/dev/stdout}"
    train=(--images 16 --batch-size 4 --steps 5 --rounds 1)
    sample=(--adapter --batch 4 --images 8 --alone 1 --rounds 1 --steps 3)
    export P2D_DEVICE=cpu
elif ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "PyTorch finds no NVIDIA GPU here; benchmarks/gpu.sh --small shows on a CPU that it runs" >&2
    exit 2
fi
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

# The last number before a word in the log: number 'ratio ([0-9.]+)'
number() { sed -nE "s/.*$1.*/\1/p" "$log" | tail -n 1; }
# "reached" or "missed": verdict VALUE LEAST
verdict() { awk -v value="$1" -v least="$2" 'BEGIN { print (value >= least) ? "reached" : "missed" }'; }

# One benchmark; its lines become a row of the table, with its targets.
measure() {
    local command="$*" targets
    "$python" "$here/$1" "${@:2}" | tee "$log" >&2
    targets="at least twice: $(verdict "$(number '^ratio ([0-9.]+)')" 2)"
    if [ "$1" = train_speed.py ]; then
        targets+="; 40 % of the product's rate: $(verdict "$(number 'at ([0-9]+)% of the rate')" 40)"
    else
        targets+="; 20 images a second: $(verdict "$(number '^ours: ([0-9.]+) images a second')" 20)"
    fi
    rows+="| $(date +%F) | \`$command\` | $(paste -sd ';' "$log" | sed 's/;/; /g') | $targets |"$'\n'
}

rows=""
measure train_speed.py "${train[@]}"
measure sample_speed.py "${sample[@]}"
device="$("$python" -c "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'a CPU')")"
{
    printf '\n## On a GPU: %s, %s\n\n' "$device" "$(date +%F)"
    printf "Written by \`gpu.sh\`. Random weights: speed alone.\n\n"
    printf '| date | command | result | targets |\n|---|---|---|---|\n%s' "$rows"
} >>"$results"
