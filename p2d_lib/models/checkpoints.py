"""Unfinished fits on disk: written every few minutes, continued only by the same work."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from p2d_lib.files import atomic

EVERY_MINUTES = 10.0


def read_state(path: Path, device: torch.device) -> dict | None:
    """What torch.save wrote, on `device`; None where there is no file, and for a damaged one, which is printed.

    torch.load takes a changed bit for a weight, so that the checksums of the file, a zip, are compared first.
    """
    if not path.exists():
        return None
    try:
        with ZipFile(path) as parts:
            if damaged := parts.testzip():
                raise ValueError(f"{damaged} has another checksum")
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # what zipfile and torch meet in broken bytes: OSError, BadZipFile, KeyError, …
        problem = str(error).partition("\n")[0]
        print(f"{path.stem}: begins at step 0; {path.name} is damaged and is not read ({problem})")
        return None


@dataclass(frozen=True)
class Checkpoints:
    """A folder of checkpoints, one file per fit.

    every_minutes: how often a running fit is written, at least; its end is always written. 0: at each call of the fit.
    """

    folder: Path
    every_minutes: float = EVERY_MINUTES

    def of(self, name: str, key: str) -> "Checkpoint":
        """The checkpoint of the fit called `name`. key: a digest of all that the fit's result depends on."""
        return Checkpoint(self.folder / f"{name}.pt", key, self.every_minutes)


class Checkpoint:
    """One fit's file. Its state is a dict of tensors and plain values with the fit's "log", one entry per step."""

    def __init__(self, path: Path, key: str, every_minutes: float):
        self.path, self.key, self.every_minutes = path, key, every_minutes
        self._written = time.monotonic()

    def load(self, device: torch.device) -> dict | None:
        """The state that was saved under the same key, on `device`; None where there is none that is whole.

        It prints whether the fit continues or begins again, since both look alike otherwise.
        """
        state = read_state(self.path, device)
        if state is None:
            return None
        if not (isinstance(state, dict) and {"key", "log"} <= set(state)):
            print(f"{self.path.stem}: begins at step 0; {self.path.name} is no checkpoint of a fit")
            return None
        steps = f"step {len(state['log'])} ({self.path.name})"
        if state["key"] != self.key:
            print(f"{self.path.stem}: begins at step 0; a checkpoint of {steps} belongs to other data or parameters")
            return None
        print(f"{self.path.stem}: continues after {steps}")
        return state

    def due(self) -> bool:
        """Whether `every_minutes` have passed since the last write (or since this object was made)."""
        return time.monotonic() - self._written >= 60 * self.every_minutes

    def save(self, state: dict) -> None:
        """Replaces the file by this state; a kill while it is written leaves the one before."""
        with atomic(self.path) as partial:
            torch.save({**state, "key": self.key}, partial)
        self._written = time.monotonic()

    def restore(self, parts: Mapping[str, Any], device: torch.device) -> list:
        """Puts the saved state into `parts` (objects with a state_dict) and returns the log ([] without one)."""
        state = self.load(device)
        if state is None:
            return []
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["log"]

    def store(self, parts: Mapping[str, Any], log: list) -> None:
        """Saves the state of `parts` and the log, for `restore`."""
        self.save({"log": log, **{name: part.state_dict() for name, part in parts.items()}})
