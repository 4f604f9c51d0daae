"""Training on one process, or on several that torchrun starts, on one machine or on many (`finetune.distributed`)."""

from datetime import timedelta

import torch
from accelerate import PartialState

LONGEST_WAIT = timedelta(hours=6)  # of one process for another, which may be encoding, sampling previews or converting


def processes(device: torch.device) -> PartialState:
    """The processes that share the work, of which this is `process_index` of `num_processes`."""
    return PartialState(cpu=device.type == "cpu", timeout=LONGEST_WAIT)
