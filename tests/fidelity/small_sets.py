"""Small sets of images and tables that the tests of 05 share."""

import numpy as np
import pandas as pd

CLASSES = ("bcc", "bkl", "mel", "nv")
COLOURS = {"bcc": (200, 90, 110), "bkl": (120, 90, 60), "mel": (50, 40, 45), "nv": (130, 80, 50)}


def lesion(dx: str, seed: int, side: int = 64) -> np.ndarray:
    """A spot in the colour of its class on skin, with texture: uint8 (side, side, 3)."""
    rng = np.random.default_rng([seed, CLASSES.index(dx)])
    y, x = (np.mgrid[:side, :side] - side / 2) / side
    angle, stretch, radius = rng.uniform(0, np.pi), rng.uniform(0.7, 1.3), rng.uniform(0.15, 0.35)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = np.clip((radius - np.hypot(u * stretch, v / stretch)) * 20, 0, 1)[..., None]
    skin, spot = np.array([215, 170, 150]) + rng.normal(0, 10, 3), np.array(COLOURS[dx]) + rng.normal(0, 12, 3)
    stripes = 15 * np.sin(2 * np.pi * (4 + CLASSES.index(dx) * 3) * (u + rng.uniform()))[..., None]
    image = skin * (1 - inside) + (spot + stripes) * inside + rng.normal(0, 5, (side, side, 3))
    return image.clip(0, 255).astype(np.uint8)


def cases(n: int, splits=("train", "test"), views: int = 1) -> pd.DataFrame:
    """n lesions a class and split, each with so many images."""
    rows = [
        {"lesion_id": f"{split}_{dx}_{k}", "dx": dx, "split": split, "image_id": f"{split}_{dx}_{k}_{view}"}
        for split in splits for dx in CLASSES for k in range(n) for view in range(views)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def synthetic(n: int, generators=("adapter", "base"), refused=()) -> pd.DataFrame:
    """n images a class and generator, of the same prompts and seeds; refused: (generator, dx) of which none passes."""
    rows = [
        {"image_id": f"{name}_{dx}_{k}", "generator": name, "dx": dx, "seed": 100 * CLASSES.index(dx) + k,
         "prompt": f"{dx} {k}", "accepted": (name, dx) not in refused}
        for name in generators for dx in CLASSES for k in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def eye(images: np.ndarray) -> np.ndarray:
    """An extractor that is fitted to nothing: mean colour and mean differences at 1, 2 and 4 px, (n, 12)."""
    pixels = images.astype(np.float32)
    steps = [np.abs(pixels[:, step:] - pixels[:, :-step]).mean((1, 2)) for step in (1, 2, 4)]
    return np.concatenate([pixels.mean((1, 2)), *steps], axis=1)
