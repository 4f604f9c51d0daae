#!/usr/bin/env bash
# A finished run is copied to object storage: a local server that speaks S3 (moto), whose objects are then compared.
#
#   tests/cluster/s3.sh [--to 01_prep]      # options of run_all.sh
#
# PYTHON names a Python that has the project's packages. moto and s3fs are installed into a temporary folder, behind the
# project's own packages, so that nothing else changes. The server listens on the loopback interface alone.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${PYTHON:-$repository/.venv/bin/python}"
place="$(mktemp -d)"
finish() {
    [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
    rm -rf "$place"
}
trap finish EXIT

"$python" -m pip install --quiet --disable-pip-version-check --target "$place/packages" "moto[server]" s3fs
mkdir "$place/site"
printf 'import sys\nsys.path.append(%s)\n' "'$place/packages'" >"$place/site/sitecustomize.py"
export PYTHONPATH="$place/site:$repository" P2D_HOME="$place/home"
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1

port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
export AWS_ENDPOINT_URL="http://127.0.0.1:$port"
"$python" -m moto.server --host 127.0.0.1 --port "$port" >"$place/server.log" 2>&1 &
server=$!
"$python" - <<'END'
import time
import s3fs

for attempt in range(60):
    try:
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("results")
        break
    except OSError:
        time.sleep(1)
else:
    raise SystemExit("the server does not answer")
END
run=("$python" "$repository/workflow/drive.py" --cores 1 --set 01_prep.n_images=420 --set 01_prep.tail=0.2)
"${run[@]}" "${@:---to=01_prep}" --copy-to s3://results/paper
"$python" - "$place/home" <<'END'
import sys
from pathlib import Path

import s3fs

home, store = Path(sys.argv[1]), s3fs.S3FileSystem()
names = store.find("results/paper")
for name in names:
    assert store.cat_file(name) == (home / name.removeprefix("results/paper/")).read_bytes(), name
assert any(name.endswith("data/runs/smoke/notebooks/01_prep.ipynb") for name in names)
print(f"{len(names)} objects, each with the bytes of its file")
END
