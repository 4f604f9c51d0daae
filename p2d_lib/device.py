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
    card = f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"  # of this one of many processes
    best = card if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    os.environ["P2D_DEVICE"] = os.environ.get("P2D_DEVICE") or best  # for provenance
    return torch.device(os.environ["P2D_DEVICE"])


def half(device: torch.device) -> torch.autocast:
    """A context that computes in bfloat16 on a GPU that can; elsewhere it changes nothing.

    On a CPU bfloat16 is no faster without special instructions, and repeatability is worth more there.
    """
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


def generator(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers on every device."""
    return torch.Generator().manual_seed(seed)
