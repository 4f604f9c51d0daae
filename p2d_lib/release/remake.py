"""Makes a released image again, from its prompt, seed and adapter, and compares it with the released one.

python -m p2d_lib.release.remake FOLDER IMAGE_ID [--base FOLDER-OR-ID] [--save FILE]
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from p2d_lib import images
from p2d_lib.artefacts import ADAPTER_WEIGHTS
from p2d_lib.device import DeviceError, set_up
from p2d_lib.files import file_sha256, named_path, read_record
from p2d_lib.models import lora, pipelines, sampling
from p2d_lib.models.weights import WeightsError
from p2d_lib.release.pictures import METADATA, TRAIN, pixels_digest
from p2d_lib.release.recipe import RECIPE, SETTINGS
from p2d_lib.release.refusal import Refused
from p2d_lib.suggest import did_you_mean

ROUNDED = 0.01  # largest share of values that rounding moves by one grey level; 0.0002 was seen


def remake(folder: Path, image_id: str, base: str = "") -> np.ndarray:
    """The image, uint8 (size, size, 3), as the recipe of a release makes it.

    base: where the base's weights lie, where the recipe names a folder that is not on this machine. Raises Refused for
    an image that the release does not hold, and for an adapter that is not the one of the recipe; pipelines.BaseError
    where the base cannot be loaded or is another one; WeightsError for an adapter that does not fit it.
    """
    recipe, row = _recipe(folder), _row(folder, image_id)
    weights = folder / "adapter" / ADAPTER_WEIGHTS
    if (digest := file_sha256(weights)) != recipe["adapter_sha256"]:
        raise Refused(
            f"{weights}: its SHA-256 is {digest}, and the recipe says {recipe['adapter_sha256']}: get the release anew"
        )
    pointer = folder / "base" / pipelines.POINTER
    if pointer.exists() and read_record(pointer) != recipe["base"]:
        raise Refused(f"{pointer} names another base than {folder / RECIPE}: get the release anew")
    device = set_up()
    with tempfile.TemporaryDirectory() as scratch:
        source = _moved_base(folder / "base", base, Path(scratch)) if base else folder / "base"
        pipe = pipelines.load(source, device, pipelines.fast_dtype(device))
    lora.load(pipe, folder / "adapter")
    low, high = recipe["settings"]["guidance_interval"]
    settings = recipe["settings"] | {"guidance_interval": (low, math.inf if high is None else high)}
    return sampling.sample(lora.merge(pipe), [row["prompt"]], [int(row["seed"])], **settings)[0]


def compared(folder: Path, image_id: str, image: np.ndarray) -> tuple[bool, str]:
    """Whether an image is the released one, and a sentence: the same pixels, or by how much they differ.

    A few values may differ by one grey level: 04 samples in batches, and sums are rounded in another order there.
    """
    row = _row(folder, image_id)
    path = folder / TRAIN / row["file_name"]
    if not path.is_file() or file_sha256(path) != row["sha256"]:
        raise Refused(f"{path} is not the file that was released ({METADATA} has its SHA-256): get the release anew")
    if pixels_digest(image) == row["pixels_sha256"]:
        return True, f"{image_id}: the same pixels (SHA-256 {row['pixels_sha256']})"
    released = images.read(path)
    if released.shape != image.shape:
        return False, f"{image_id}: {image.shape[1]} x {image.shape[0]} px, released {row['width']} x {row['height']}"
    difference = np.abs(released.astype(int) - image.astype(int))
    share, largest = float((difference > 0).mean()), int(difference.max())
    same = largest <= 1 and share <= ROUNDED
    verdict = "the same up to rounding" if same else "another image"
    return same, f"{image_id}: {verdict} ({share:.2%} of the values differ, by {largest} grey levels at most)"


def _recipe(folder: Path) -> dict[str, Any]:
    path = folder / RECIPE
    recipe = read_record(path)
    settings = recipe.get("settings")
    if lacking := [name for name in ("adapter_sha256", "base", "settings") if name not in recipe] or [
        name for name in (*SETTINGS, "size") if not isinstance(settings, dict) or name not in settings
    ]:
        problem = f"has no {lacking[0]!r}" if path.is_file() else "is missing"
        raise Refused(f"{path} {problem}: name the folder of a release, or get the release anew")
    return recipe


def _row(folder: Path, image_id: str) -> dict[str, Any]:
    path = folder / TRAIN / METADATA
    try:
        table = pd.read_parquet(path).set_index("image_id")
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
        raise Refused(f"{path} is no table of a release ({error}): get the release anew") from None
    if image_id not in table.index:
        near = did_you_mean(image_id, table.index)
        raise Refused(f"{path}: holds no image {image_id!r}{near}; {table.index[0]} is its first")
    return table.loc[image_id].to_dict()


def _moved_base(released: Path, base: str, folder: Path) -> Path:
    """A pointer to `base` that keeps the digest of the released one, so that other weights are refused."""
    pointer = json.loads((released / pipelines.POINTER).read_text(encoding="utf-8"))
    (folder / pipelines.POINTER).write_text(json.dumps(pointer | {"base": base, "commit": None}), encoding="utf-8")
    return folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m p2d_lib.release.remake", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the release")
    parser.add_argument("image_id", help="a row of train/metadata.parquet")
    parser.add_argument("--base", default="", help="where the base's weights are, if the recipe names a folder")
    parser.add_argument("--save", type=named_path, help="file (.png) to write the image into")
    options = parser.parse_args(arguments)
    try:
        image = remake(options.folder, options.image_id, options.base)
        same, sentence = compared(options.folder, options.image_id, image)
        if options.save:
            images.save(options.save, image)
    except (Refused, pipelines.BaseError, WeightsError, DeviceError, images.ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or options.folder}: {error.strerror or error}", file=sys.stderr)
        return 2
    print(sentence)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
