"""Which raw set a run works on: HAM10000 where its user keeps it, or the phantom, drawn into the run's folder."""

import json
from pathlib import Path

from p2d_lib.params import Prep
from p2d_lib.prep import phantom, raw
from p2d_lib.run import Run, sha256


def raw_folder(run: Run, p: Prep) -> Path:
    """The folder of the raw set that the parameters of 01_prep name; both kinds are laid out alike.

    A phantom that the same parameters and code drew before is taken as it is. Raises DataError.
    """
    if p.source == "ham10000":
        return raw.find(p.data)
    place = run.folder / "phantom"
    size = (2 * p.image_size, 3 * p.image_size // 2)  # twice what is needed: squares are cut from 4:3 and reduced
    wanted = {"n_images": p.n_images, "seed": p.seed, "tail": p.tail, "camera": p.camera, "size": size}
    made_of = json.dumps(wanted | {"code": sha256(Path(phantom.__file__))})
    label = place / "made_of.json"
    if not (label.exists() and label.read_text() == made_of):
        phantom.write(place, **wanted)
        label.write_text(made_of)
    return place
