"""Where torch computes, and how repeatably."""

import os
import warnings

import torch

warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm.auto, of every library that imports it


def set_up() -> torch.device:
    """Fixes threads and determinism for this process and names the device.

    `P2D_DEVICE` (cuda, cuda:1, mps, cpu) decides, else the best there is. `P2D_THREADS` sets the CPU threads: results
    are bitwise repeatable for a fixed number of them, and differ by about 1e-5 between numbers.
    """
    if threads := os.environ.get("P2D_THREADS"):
        torch.set_num_threads(int(threads))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    os.environ["P2D_DEVICE"] = os.environ.get("P2D_DEVICE") or best  # for provenance
    return torch.device(os.environ["P2D_DEVICE"])


def generator(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers on every device."""
    return torch.Generator().manual_seed(seed)
