"""Where torch computes, and how repeatably. Importing this loads no torch."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm.auto, of every library that imports it

PRECISIONS = ("auto", "float32", "bfloat16")  # of a training step, see `half`
DEVICES = "cpu, cuda, cuda:1 (or another number) or mps"


class DeviceError(Exception):
    """P2D_DEVICE names no device, or one that this machine lacks; the message says what to write."""


def requested() -> str:
    """The value of `P2D_DEVICE`; "" where it is not set. Raises DeviceError for a value that names no device."""
    name = os.environ.get("P2D_DEVICE", "").strip()
    if name and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        hint = "; did you mean cuda?" if name.lower() in ("gpu", "nvidia") else ""
        raise DeviceError(f"P2D_DEVICE={name}: no such device; write {DEVICES}, or leave it unset{hint}")
    return name


def set_up() -> torch.device:
    """Fixes threads and determinism for this process and returns its device.

    `P2D_DEVICE` decides, else the best device of the machine. Of several processes that torchrun started on a machine,
    each gets its own card (LOCAL_RANK), unless `P2D_DEVICE` names one card for all. `P2D_THREADS` sets the CPU threads:
    results are bitwise repeatable for a fixed number of them, and differ by about 1e-5 between numbers. Raises
    DeviceError for a device that this machine lacks.
    """
    import torch

    name = requested()
    if threads := os.environ.get("P2D_THREADS"):
        torch.set_num_threads(int(threads))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a seventh of a training step, and nothing reads it
    if not name:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    _check_available(name)
    os.environ["P2D_DEVICE"] = name  # for provenance
    return torch.device(name)


def _check_available(name: str) -> None:
    import torch

    kind, _, number = name.partition(":")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"P2D_DEVICE={name}: PyTorch finds no Apple GPU here; write cpu, or leave it unset")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"P2D_DEVICE={name}: PyTorch finds no NVIDIA GPU here (is its driver installed?); write cpu, or leave it "
            "unset"
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name}: this machine has {torch.cuda.device_count()} of them, numbered from cuda:0")


def half(device: torch.device, precision: str = "auto") -> torch.autocast:
    """A context that computes in bfloat16 where `precision` says so.

    precision: "float32" changes nothing. "bfloat16" computes so on any device: the weights stay in float32, so a step
    is as repeatable as in float32. "auto": bfloat16 on a GPU that can, float32 elsewhere, since a CPU without
    instructions for it (avx512_bf16, amx_bf16) computes more slowly in bfloat16. Raises ValueError for another word.
    """
    import torch

    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}: write {', '.join(PRECISIONS)}")
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    enabled = precision == "bfloat16" or (precision == "auto" and able)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def generator(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers on every device."""
    import torch

    return torch.Generator().manual_seed(seed)
