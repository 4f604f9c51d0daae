"""The scout of a run as an extractor: the domain's own network, which has seen the run's train images."""

from pathlib import Path

import torch

from p2d_lib.files import sha256
from p2d_lib.models import classifiers
from p2d_lib.models.extractors.kind import Kind, Loaded, softmax


def kind(name: str, folder: Path | None) -> Kind:
    """The classifier that `classifiers.save` wrote into a folder; its features are its penultimate layer.

    Raises FileNotFoundError where there is none.
    """
    if folder is None:
        raise FileNotFoundError("the extractor scout lies in a run: name its folder (--weights data/runs/<run>/scout)")
    model = classifiers.load(folder, torch.device("cpu"))

    def load(device: torch.device) -> Loaded:
        model.to(device)
        return Loaded(
            lambda images: classifiers.predict(model, images, device)["embedding"],
            softmax(model.dx.weight.detach(), model.dx.bias.detach()),
        )

    return Kind(
        title="domain (scout)",
        note="the scout was fitted on this run's train images: it ranks this run's generators and is no judge of "
        "realism",
        digest=sha256(folder / classifiers.WEIGHTS),
        side=model.side,
        resize="bilinear, antialiased",
        dimension=model.dim,
        load=load,
        independent=False,
    )
