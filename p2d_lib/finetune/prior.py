"""Images that the base samples of each class before it is adapted, for DreamBooth's prior preservation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from p2d_lib.files import atomic
from p2d_lib.finetune.latents import digest
from p2d_lib.models import sampling
from p2d_lib.models.pipelines import encoders
from p2d_lib.models.processes import processes

BATCH = 16


def sample_prior(pipe, prompts: Sequence[str], seeds: Sequence[int], cache: Path, **settings) -> np.ndarray:
    """One image per prompt and seed: uint8 (n, size, size, 3). settings: of `sampling.samples`.

    cache: a folder; batches that it holds, of the same base, prompts, seeds and settings, are not sampled again.
    Several processes share the work.
    """
    weights = (value for part in (pipe.unet, *encoders(pipe)) for value in part.state_dict().values())
    base = digest(*weights, repr(sorted(settings.items())))
    state = processes(pipe.device)
    parts = [slice(k, k + BATCH) for k in range(0, len(prompts), BATCH)]
    paths = [cache / f"{digest(base, repr([*prompts[part], *seeds[part]]))[:24]}.npy" for part in parts]
    mine = range(state.process_index, len(parts), state.num_processes)
    for k in tqdm(mine, desc="sample prior", unit="batch"):
        if not paths[k].exists():
            pixels = sampling.sample(pipe, prompts[parts[k]], seeds[parts[k]], batch_size=BATCH, **settings)
            with atomic(paths[k]) as partial, partial.open("wb") as file:
                np.save(file, pixels)
    state.wait_for_everyone()
    return np.concatenate([np.load(path) for path in paths])
