"""Which raw set a run works on: one that its user keeps, or the phantom, rendered into the run's folder."""

import json
from pathlib import Path

import numpy as np

from p2d_lib.files import sha256
from p2d_lib.parameters import Prep
from p2d_lib.prep import phantom, plants, raw
from p2d_lib.run import Run
from p2d_lib.seeds import derive


def raw_set(run: Run, p: Prep) -> raw.RawSet:
    """The raw set that the parameters of 01_prep name. Raises DataError.

    A phantom that the same parameters and code have rendered before is used again.
    """
    if p.source != "phantom":
        return raw.read(raw.find(p.data, p.source), p.source, p.on_bad)
    place = run.folder / "phantom"
    size = (2 * p.image_size, 3 * p.image_size // 2)  # twice what is needed: squares are cut from 4:3 and reduced
    names = ("n_images", "seed", "tail", "camera", "tone_effect", "dark_skin")
    settings = {"size": size, **{name: getattr(p, name) for name in names}}
    modules = [*sorted(Path(phantom.__file__).parent.glob("*.py")), Path(plants.__file__)]
    code = [sha256(module) for module in modules]
    made_of = json.dumps(settings | {"plants": p.plants, "code": code})
    label = place / "made_of.json"
    if not (label.exists() and label.read_text() == made_of):
        phantom.write(place, **settings)
        if p.plants:
            plants.plant(place, p.seed, **p.plants)
        label.write_text(made_of)
    return raw.read(place, on_bad=p.on_bad)


def phantoms(dx: str, n: int, size: int) -> np.ndarray:
    """A few phantoms of one class, uint8 (n, size, size, 3), shown beside real images; always the same."""
    pictures = []
    for k in range(n):
        rng = np.random.default_rng(derive(0, "look", dx, k))
        image, _ = phantom.render(phantom.make_lesion(rng, dx), phantom.make_view(rng, "clinic"), (size, size))
        pictures.append(image)
    return np.stack(pictures)
