"""How each released image is made again: what it depends on, and the digests of all of that."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from p2d_lib.artefacts import ADAPTER_WEIGHTS
from p2d_lib.files import file_sha256
from p2d_lib.models.base_fitness import POINTER
from p2d_lib.run import Run

SETTINGS = ("guidance_scale", "guidance_interval", "solver", "num_inference_steps")
RECIPE = "recipe.json"


def write(run: Run, folder: Path, size: int) -> dict[str, Any]:
    """Copies adapter and base into <folder>/adapter and <folder>/base, and writes <folder>/recipe.json.

    The base is a pointer to weights from elsewhere or, where the run has trained it, the weights. size: of the images,
    px. Returns what recipe.json holds: base, adapter_sha256, settings of the sampler, and of the run commit, seed,
    device, threads, packages and the digests of what 04 read.
    """
    record = run.made_with("synthetic")
    (folder / "adapter").mkdir()
    shutil.copyfile(run.path("adapter") / ADAPTER_WEIGHTS, folder / "adapter" / ADAPTER_WEIGHTS)
    recipe = {
        "base": _copy_base(run, folder / "base"),
        "adapter_sha256": file_sha256(folder / "adapter" / ADAPTER_WEIGHTS),
        "settings": {**{name: record["parameters"][name] for name in SETTINGS}, "size": size},
        **{name: record[name] for name in ("commit", "device", "threads", "packages", "inputs")},
        "seed": record["parameters"]["seed"],
        "image": "prompt and seed of each image are columns of train/metadata.parquet",
    }
    low, high = recipe["settings"]["guidance_interval"]
    recipe["settings"]["guidance_interval"] = [low, None if math.isinf(high) else high]  # JSON knows no infinity
    (folder / RECIPE).write_text(json.dumps(recipe, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return recipe


def _copy_base(run: Run, folder: Path) -> dict[str, Any]:
    """A folder of this machine is named by its last part alone: elsewhere its path says nothing."""
    source = run.path("base")
    if not (source / POINTER).exists():
        shutil.copytree(source, folder)
        return {"base": "trained in this run", "commit": None}
    pointer = json.loads((source / POINTER).read_text(encoding="utf-8"))
    if pointer["commit"] is None:
        pointer["base"] = Path(pointer["base"]).name
    folder.mkdir()
    (folder / POINTER).write_text(json.dumps(pointer, indent=1) + "\n", encoding="utf-8")
    return pointer
