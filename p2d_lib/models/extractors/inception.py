"""Inception-v3 (Szegedy et al., CVPR 2016) with the ImageNet weights of the published FID values, in clean-fid's way.

The file is NVIDIA's conversion of the network of Heusel et al. (NeurIPS 2017), which clean-fid uses too. It is looked
for in this order: the argument `folder`; the environment variable P2D_INCEPTION (the file or its folder); clean-fid's
own place, /tmp; torch's cache. Where it is nowhere, it is downloaded into torch's cache. Its SHA-256 must be SHA256.
"""

import os
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch

from p2d_lib.files import file_sha256
from p2d_lib.models.extractors.kind import Kind, Loaded, softmax
from p2d_lib.models.weights import WeightsError

FILE = "inception-2015-12-05.pt"
URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{FILE}"
SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
SIDE = 299
CLEAN_FID = Path("/tmp")  # where clean-fid keeps the file


def kind(name: str, folder: Path | None = None) -> Kind:
    """Features: the 2,048 numbers before its last layer. folder: holds FILE. Raises WeightsError as `weights` does."""
    file = weights(folder)
    return Kind(
        title="Inception-v3",
        note="ImageNet weights, as of published FID values; it has never seen an image of this project",
        digest=SHA256,
        side=SIDE,
        resize="Pillow's bicubic in floating point, as clean-fid resizes",
        dimension=2048,
        load=lambda device: _load(file, device),
    )


def weights(folder: Path | None = None) -> Path:
    """The file of weights, downloaded where it is nowhere on this machine.

    folder: the only place where it is looked for, if given. Raises WeightsError where it is nowhere and cannot be
    downloaded, and for a file with another SHA-256.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    named = Path(folder or os.environ.get("P2D_INCEPTION", "")).expanduser()
    if folder or os.environ.get("P2D_INCEPTION"):
        places = [named / FILE if named.is_dir() else named]
    else:
        places = [CLEAN_FID / FILE, cache]
    file = next((place for place in places if place.is_file()), None) or _download(places, cache)
    if (digest := file_sha256(file)) != SHA256:
        raise WeightsError(f"{file}: its SHA-256 is {digest}, that of {URL} is {SHA256}: replace the file")
    return file


def _download(places: list[Path], cache: Path) -> Path:
    reason = "it is not there"
    if cache in places:
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL, str(cache), SHA256, progress=False)
            return cache
        except (OSError, HTTPException, RuntimeError) as error:  # no network, or gone on the way; another SHA-256
            reason = f"downloading {URL} failed: {error}"
    raise WeightsError(
        f"the extractor inception needs {FILE}, looked for as {' and '.join(map(str, places))} ({reason}): "
        f"download it from {URL} (95 MB, SHA-256 {SHA256}) and name the file or its folder in the environment variable "
        "P2D_INCEPTION"
    )


def _load(file: Path, device: torch.device) -> Loaded:
    from cleanfid.resize import make_resizer

    network = torch.jit.load(file, map_location=device).eval()
    resize = make_resizer("PIL", False, "bicubic", (SIDE, SIDE))

    @torch.inference_mode()
    def embed(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.stack([resize(image) for image in images])).to(device).permute(0, 3, 1, 2)
        return network.layers((pixels - 128) / 128).flatten(1).float().cpu().numpy()

    # without the bias, as in the first implementation of the Inception Score (Salimans et al., NeurIPS 2016)
    return Loaded(embed, softmax(network.output.weight.detach()))
