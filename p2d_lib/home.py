"""Where all that is made lies."""

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds data/, tables/ and figures/: `P2D_HOME`, else the repository."""
    return Path(os.environ.get("P2D_HOME") or Path(__file__).resolve().parents[1])
