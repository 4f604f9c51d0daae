"""Where the repository lies, and where its runs do."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from p2d_lib.home import home  # noqa: E402

HOME = home().resolve()  # holds data/, tables/ and figures/
RUNS = HOME / "data" / "runs"
