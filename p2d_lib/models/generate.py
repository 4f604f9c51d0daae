"""Plan -> image files that survive a crash, each with its prompt and seed in the file."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain, groupby, tee
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.files import atomic, sha256
from p2d_lib.models import lora, pipelines, pixel_baselines, sampling
from p2d_lib.run import Run

MAX_WAITING = 256  # images that may wait for a writer: memory does not grow where a disk is slow

# Samples an image for each (prompt, seed), in batches of uint8 (b, size, size, 3), and reads its input lazily.
Generator = Callable[[Iterable[tuple[str, int]]], Iterator[np.ndarray]]


class Loaded(NamedTuple):
    """What samples images: the base pipeline with its adapter, and all generators with their settings, by name."""

    pipe: DiffusionPipeline
    generators: dict[str, Generator]
    settings: dict[str, dict]  # as `description` writes them


def baseline_folders(run: Run) -> dict[str, Path]:
    """The folder of each baseline that 03 has fitted, by name."""
    folders = {name: run.path("baselines") / name for name in pixel_baselines.BASELINES}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def base_trained_here(run: Run) -> bool:
    """Whether 03 has trained the base on this run's train images (else it only points to weights from elsewhere)."""
    return not (run.path("base") / pipelines.POINTER).exists()


def load(
    run: Run,
    device: torch.device,
    *,
    guidance_scale: float,
    guidance_interval: tuple[float, float],
    baseline_guidance: float,
    **settings,
) -> Loaded:
    """Everything that 03 has fitted, ready to sample: "adapter", "base" and the baselines.

    guidance_scale, guidance_interval: of the pipelines, see `sampling.samples`; baseline_guidance: of the baselines
    that were trained from scratch, at all noise levels. settings: of all, likewise.
    """
    dtype = pipelines.fast_dtype(device)
    pipe = pipelines.load(run.path("base"), device, dtype)
    lora.load(pipe, run.path("adapter"))
    guided = {"guidance_scale": guidance_scale, "guidance_interval": tuple(guidance_interval)}
    loaded = pipeline_generators(pipe, device.type == "cuda", **guided, **settings)
    of_all = {name: value for name, value in settings.items() if name != "batch_size"}
    used = dict.fromkeys(loaded, of_all | guided)
    for name, folder in baseline_folders(run).items():
        guidance = guided if name == pixel_baselines.INVERSION else {"guidance_scale": baseline_guidance}
        baseline = pixel_baselines.load(folder, device, run.path("base"), dtype)
        loaded[name] = partial(baseline.samples, **guidance, **settings)
        used[name] = of_all | guidance
    return Loaded(pipe, loaded, used)


def pipeline_generators(pipe: DiffusionPipeline, compiled: bool = False, **settings) -> dict[str, Generator]:
    """A pipeline with its adapter as two generators, "adapter" and "base". settings: of `sampling.samples`."""

    @cache
    def pipeline(adapter: bool):
        return lora.merge(pipe, adapter, compiled)

    return {
        "adapter": lambda requests: sampling.samples(pipeline(True), requests, **settings),
        "base": lambda requests: sampling.samples(pipeline(False), requests, **settings),
    }


def key(weights: tuple[Path, ...], settings: dict) -> str:
    """A digest of what images depend on besides their plan: the files of weights and the sampler's settings."""
    record = [[sha256(path) for path in weights], settings]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def batches(plan: pd.DataFrame, batch_size: int) -> list[np.ndarray]:
    """Row numbers of the plan in batches, each of one generator: the list that processes share, the same for each."""
    generators = plan["generator"].to_numpy()
    groups = [np.flatnonzero(generators == name) for name in sorted(set(generators))]
    return [rows[k : k + batch_size] for rows in groups for k in range(0, len(rows), batch_size)]


def share(plan: pd.DataFrame, shard: Sequence[int], batch_size: int) -> pd.DataFrame:
    """The rows of every n-th batch from batch i on; shard: (i, n), for n processes that share the work."""
    return plan.iloc[np.concatenate([np.empty(0, int), *batches(plan, batch_size)[shard[0] :: shard[1]]])]


def generate(
    generators: Mapping[str, Generator],
    plan: pd.DataFrame,
    folder: Path,
    *,
    shard: Sequence[int] = (0, 1),
    batch_size: int = 1,
    adapter: str = "",
    settings: Mapping[str, Mapping] | None = None,
) -> None:
    """Samples the images of a plan that `folder` lacks, as <image_id>.<digest of prompt and seed>.png.

    generators: by the name that the plan's column `generator` has. shard: which part of the plan, see `share`.
    batch_size: where it is the generators' own, an image is always computed with the same others. So it has the same
    bits whatever the number of processes, and also where a batch was interrupted: its images are sampled again, and
    those that are missing are written. adapter: the sha256 of the adapter's weights. settings: of the sampler, by
    generator. Each file carries both, its prompt and seed, and that it is synthetic, as PNG text. Encoding and writing
    run in threads beside the sampling; memory does not grow with the plan.
    """
    mine = batches(plan, batch_size)[shard[0] :: shard[1]]
    exists = [_file(row, folder).exists() for row in share(plan, shard, batch_size).itertuples()]
    complete = np.logical_and.reduceat(exists, np.cumsum([0, *map(len, mine[:-1])])) if mine else []
    unfinished = [rows for rows, done in zip(mine, complete, strict=True) if not done]
    with tqdm(total=len(exists), initial=sum(exists), desc="sample", unit="image") as bar, _in_threads() as submit:
        for generator, parts in groupby(unfinished, key=lambda rows: plan["generator"].iloc[rows[0]]):
            rows = plan.iloc[np.concatenate(list(parts))]
            for row, image in _sampled(generators[generator], rows.itertuples()):
                if not (file := _file(row, folder)).exists():
                    text = description(row.prompt, row.seed, generator, adapter, (settings or {}).get(generator))
                    submit(_write, file, image, text)
                    bar.update()


def _sampled(generator: Generator, rows: Iterable) -> Iterator[tuple]:
    """Each row with its image."""
    requests, rows = tee(rows)  # which keeps the rows of one batch
    sampled = generator((row.prompt, row.seed) for row in requests)
    return zip(rows, chain.from_iterable(sampled), strict=True)


@contextmanager
def _in_threads() -> Iterator[Callable]:
    """A pool of two threads: submit(function, *arguments) returns at once; an exception in a thread is raised here."""
    with ThreadPoolExecutor(2) as pool:
        waiting = deque()

        def submit(function: Callable, *arguments) -> None:
            waiting.append(pool.submit(function, *arguments))
            if len(waiting) > MAX_WAITING:
                waiting.popleft().result()

        yield submit
        for task in waiting:
            task.result()


def description(
    prompt: str, seed: int, generator: str, adapter: str = "", settings: Mapping | None = None
) -> dict[str, str]:
    """The text that a synthetic image's PNG carries, from which it can be sampled again.

    adapter: SHA-256 of the adapter's weights. settings: of the sampler, such as guidance_scale, guidance_interval,
    num_inference_steps, solver and size; they become one JSON object.
    """
    about = {"synthetic": "true", "prompt": prompt, "seed": str(seed), "generator": generator}
    if settings:
        about["settings"] = json.dumps(settings)
    return about | ({"adapter": adapter} if adapter and generator == "adapter" else {})


def _write(path: Path, image: np.ndarray, description: dict[str, str]) -> None:
    with atomic(path) as partial_path:
        images.save(partial_path, image, description)


def files(plan: pd.DataFrame, folder: Path) -> list[Path]:
    """Where `generate` puts each image of a plan: an edited prompt or seed is another file."""
    return [_file(row, folder) for row in plan.itertuples()]


def _file(row, folder: Path) -> Path:
    digest = hashlib.sha256(f"{row.seed}:{row.prompt}".encode()).hexdigest()[:12]
    return folder / f"{row.image_id}.{digest}.png"
