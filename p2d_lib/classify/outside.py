"""What the generator's base had been trained on before this run: knowledge that synthetic images can carry."""

import json
from pathlib import Path

from p2d_lib import models
from p2d_lib.run import Run

DECODER = "Its decoder was fitted against the features of EfficientNet-Lite1 with ImageNet weights"
TINY_RECORD = Path(models.__file__).parent / "tiny" / "training.json"


def base_data(run: Run, n_train: int) -> str:
    """A sentence on the data of the base behind the synthetic images, from the provenance of the artefact "base".

    n_train: images of the run's train split.
    """
    parameters = run.made_with("base")["parameters"]
    base, trained_here = parameters["base"], parameters["base_steps"] > 0
    if base == "random":
        training = f"trained in this run on the {n_train:,} images of the train split" if trained_here else "untrained"
        known = (
            f". {DECODER} in this run: synthetic images may carry what that network has learnt from photographs"
            if parameters["decoder_steps"]
            else ": synthetic images carry no knowledge from elsewhere"
        )
        return f"The base of the generator is {training}, from random weights{known}."
    if base == "tiny":
        record = json.loads(TINY_RECORD.read_text())
        source = (
            f"{record['images']:,} phantom images of {record['lesions']:,} other lesions (its denoiser saw "
            f"{record['images_seen']:,} images, most of them many times)"
        )
    else:
        source = "images of which this run has no record"
    decoder = f" {DECODER}." if base == "tiny" or parameters["decoder_steps"] else ""
    return (
        f"The base of the generator ({base}) was trained elsewhere, on {source}"
        f"{', and then on the train split' if trained_here else ''}; the train split of this run has "
        f"{n_train:,} images.{decoder} A gain from synthetic images may come from that knowledge and not from the "
        "train split."
    )
