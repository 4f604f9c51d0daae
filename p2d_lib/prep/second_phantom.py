"""A second phantom set for a run of the phantom: other lesions and another camera, as a set from elsewhere would be."""

from dataclasses import replace

import pandas as pd

from p2d_lib import images
from p2d_lib.instruments import alterations
from p2d_lib.instruments.alterations import PLANTED
from p2d_lib.prep import phantom, raw
from p2d_lib.prep.pixels import DataError, File
from p2d_lib.run import Run
from p2d_lib.seeds import derive

TAIL = 0.0  # all classes equally frequent, since a small set must hold lesions of each


def second_phantom(run: Run, cases: pd.DataFrame, camera: str, n_images: int, n_planted: int) -> raw.RawSet:
    """n_images of lesions that the run does not have, and altered copies of n_planted train images among them.

    Rendered at twice the size of the run's images, as in 01, by a camera of `phantom.write`, in classes that are
    equally frequent. A copy is mirrored and quarter-turned, and has a name and a lesion of its own, so that only its
    pixels give it away. Raises DataError where the run's cases are real.
    """
    if not (cases["dataset"] == "phantom").all():
        raise DataError(
            "06_classify.external names a phantom set, but the images of this run are real: name folders of real sets, "
            "or none ([])"
        )
    seed, side = derive(run.parameters["seed"], "second phantom", camera), run.images(cases.head(1)).shape[1]
    place = run.scratch(f"phantom-{camera}")
    phantom.write(place, n_images, seed, TAIL, camera, (2 * side, 3 * side // 2))
    read = raw.read(place)
    names = camera + "_" + read.metadata["image_id"]
    table = read.metadata.assign(image_id=names, lesion_id=camera + "_" + read.metadata["lesion_id"])
    pictures = dict(zip(names, (read.images[name] for name in read.metadata["image_id"]), strict=True))
    train = cases[cases["split"] == "train"].sample(n_planted, random_state=seed % 2**32)
    planted = train.assign(image_id=PLANTED + train["image_id"], lesion_id=PLANTED + train["lesion_id"])
    if n_planted:
        copies = alterations.altered(run.images(train), "mirrored and quarter-turned", seed)
        for name, picture in zip(planted["image_id"], copies, strict=True):
            pictures[name] = File(place / f"{name}.png")
            images.save(place / f"{name}.png", picture)
    table = pd.concat([table, planted.reindex(columns=table.columns)], ignore_index=True)
    return replace(read, metadata=table, images=pictures)
