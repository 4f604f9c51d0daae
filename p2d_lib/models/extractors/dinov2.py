"""DINOv2 ViT-L/14 (Oquab et al., TMLR 2024), whose Fréchet distance agrees best with people (Stein, NeurIPS 2023).

Images and features as in Stein et al.'s dgm-eval and in NVlabs/edm2: 224 px, bicubic and antialiased, class token.
"""

from pathlib import Path

import numpy as np
import timm
import torch
from torch.nn import functional as F

from p2d_lib.files import sha256
from p2d_lib.models import weights
from p2d_lib.models.classifier_backbones import MEAN, STD
from p2d_lib.models.extractors.kind import ANTIALIASED, Kind, Loaded, resized

HUB_ID = "timm/vit_large_patch14_dinov2.lvd142m"
SIDE = 224
OFFSET = 0.1  # of the authors' own resampling of position embeddings, which their published features contain


def kind(name: str, folder: Path | None = None) -> Kind:
    """Features: the class token after the last norm. folder: a timm model as timm saves it; default: HUB_ID, downloaded
    where it is not in the hub's cache. Raises WeightsError where it can neither be downloaded nor is there."""
    source = weights.resolve(folder or HUB_ID)
    stored = weights.download(str(source))
    return Kind(
        title="DINOv2 ViT-L/14",
        note="fitted without labels on 142 million images of the web; it has never seen an image of this project",
        digest=source.commit or sha256(stored),
        side=SIDE,
        resize=ANTIALIASED,
        dimension=_network(stored, pretrained=False).num_features,
        load=lambda device: _load(stored, device),
        batch_on_cpu=4,
    )


def _network(folder: Path, pretrained: bool, **options) -> torch.nn.Module:
    return timm.create_model(f"local-dir:{folder}", pretrained=pretrained, num_classes=0, **options)


def _load(folder: Path, device: torch.device) -> Loaded:
    native = _network(folder, pretrained=True)
    network = _network(folder, pretrained=False, img_size=SIDE)
    state = native.state_dict()
    network.load_state_dict(state | {"pos_embed": positions(state["pos_embed"], *network.patch_embed.grid_size)})
    network.to(device).eval()
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (MEAN, STD))

    @torch.inference_mode()
    def embed(images: np.ndarray) -> np.ndarray:
        return network((resized(images, SIDE).to(device) - mean) / std).float().cpu().numpy()

    return Loaded(embed)


def positions(embedding: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Position embeddings (1, 1 + s * s, d) of a class token and s x s patches, for rows x columns patches.

    As facebookresearch/dinov2 resamples them: bicubic, by the factor (rows + OFFSET) / s, without antialiasing.
    """
    patches = embedding[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    if (rows, columns) == (side, side):
        return embedding
    grid = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = ((rows + OFFSET) / side, (columns + OFFSET) / side)
    grid = F.interpolate(grid, scale_factor=factors, mode="bicubic")
    return torch.cat([embedding[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
