"""The image side of open_clip's models as extractors: any CLIP, and two that were fitted to images of skin."""

import json
from pathlib import Path

import torch

from p2d_lib.files import sha256
from p2d_lib.models import clip, weights
from p2d_lib.models.extractors.kind import ANTIALIASED, Kind, Loaded

PREFIX = "clip:"  # of a name: a folder in open_clip's layout or a Hugging Face id follows
OF_SKIN = {  # Yan et al., Derm1M, ICCV 2025, arXiv 2503.14911
    "dermlip": ("DermLIP ViT-B/16", "redlessone/DermLIP_ViT-B-16"),
    "panderm": ("DermLIP PanDerm", "redlessone/DermLIP_PanDerm-base-w-PubMed-256"),
}
NOTE_OF_SKIN = (
    "fitted to a million images of skin from public sets, among which HAM10000 may be: independent of this run, not of "
    "its real images"
)
NOTE_OF_WEB = "fitted to images and captions of the web; independent of this run"


def kind(name: str, folder: Path | None = None) -> Kind:
    """A key of OF_SKIN, or clip:ID with a Hugging Face id (id@revision) or a folder in open_clip's layout.

    Features: the image embedding, of unit length. folder: holds the weights in place of the hub. Raises WeightsError
    where they can neither be downloaded nor are there, or where open_clip cannot build the model.
    """
    title, hub_id = OF_SKIN.get(name, (name, name.removeprefix(PREFIX).removeprefix(clip.HUB)))
    source = weights.resolve(folder or hub_id)
    stored = weights.download(str(source))
    if not (stored / clip.CONFIG).exists():
        raise weights.WeightsError(f"{source} is no model of open_clip: it has no {clip.CONFIG}")
    config = json.loads((stored / clip.CONFIG).read_text(encoding="utf-8"))["model_cfg"]
    side = config["vision_cfg"].get("image_size", 224)  # open_clip's default
    return Kind(
        title=title if name in OF_SKIN else f"CLIP {Path(hub_id).name}",
        note=NOTE_OF_SKIN if name in OF_SKIN else NOTE_OF_WEB,
        digest=source.commit or sha256(stored),
        side=side if isinstance(side, int) else side[0],
        resize=ANTIALIASED,
        dimension=config["embed_dim"],
        load=lambda device: _load(name, stored, device),
    )


def _load(name: str, folder: Path, device: torch.device) -> Loaded:
    try:
        model = clip.load(folder, device)
    except (TypeError, RuntimeError) as error:  # a configuration or weights of another program
        raise weights.WeightsError(
            f"open_clip cannot build the extractor {name} from {folder} ({error}); "
            "PanDerm's vision part is only in the authors' copy of open_clip (github.com/SiyuanYan1/Derm1M)"
        ) from None
    return Loaded(lambda images: clip.embed_images(model, images))
