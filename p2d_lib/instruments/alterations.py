"""What a generator may do to a picture that it copies: positive controls of every search for copies."""

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

from p2d_lib.seeds import derive

PLANTED = "planted_"  # how the image_id of a planted copy begins
Alteration = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # uint8 (s, s, 3) -> the same shape


def cropped(image: np.ndarray, rng: np.random.Generator, least: float = 0.01, most: float = 0.08) -> np.ndarray:
    """A square part at a random place, shorter by `least` to `most` of the side, enlarged to the full side."""
    side = len(image)
    kept = side * (1 - rng.uniform(least, most))
    left, top = rng.uniform(0, side - kept, 2)
    box = (left, top, left + kept, top + kept)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC, box=box))


def quarter_turned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored, then turned by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(image[:, ::-1], rng.integers(4)))


def turned(image: np.ndarray, rng: np.random.Generator, degrees: float = 20.0) -> np.ndarray:
    """Turned to the left or to the right; the corners show the picture mirrored at its border."""
    margin = len(image) // 2
    wide = Image.fromarray(np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric"))
    picture = np.asarray(wide.rotate(degrees * rng.choice([-1, 1]), Image.Resampling.BICUBIC))
    return picture[margin : margin + len(image), margin : margin + len(image)].copy()


def shifted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moved by 6 to 12 % of the side along both axes; what enters is the picture mirrored at its border."""
    side = len(image)
    margin = int(0.125 * side)
    down, right = rng.integers(side // 16, margin + 1, 2) * rng.choice([-1, 1], 2) + margin
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    return wide[down : down + side, right : right + side].copy()


def tinted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each colour channel times 0.85 to 1.15."""
    return (image * rng.uniform(0.85, 1.15, 3)).clip(0, 255).astype(np.uint8)


def noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of 6 grey levels."""
    return (image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)


def recompressed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As JPEG of quality 50 to 90."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(rng.integers(50, 91)))
    return np.asarray(Image.open(stream).convert("RGB"))


def grey(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Without colour."""
    return np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2)


def all_at_once(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cropped by up to 8 %, mirrored and quarter-turned, tinted, noisy and recompressed."""
    for alteration in (cropped, quarter_turned, tinted, noisy, recompressed):
        image = alteration(image, rng)
    return image


ALTERATIONS: Mapping[str, Alteration] = MappingProxyType({
    "exact": lambda image, _: image,
    "mirrored and quarter-turned": quarter_turned,
    "recompressed": recompressed,
    "tinted": tinted,
    "cropped by 1 to 8 %": cropped,
    "all of these": all_at_once,
    "turned by 20 degrees": turned,
    "shifted by 6 to 12 %": shifted,
    "cropped by 15 to 25 %": lambda image, rng: cropped(image, rng, 0.15, 0.25),
    "grey": grey,
})  # fmt: skip


def altered(images: np.ndarray, name: str, seed: int) -> np.ndarray:
    """uint8 (n, s, s, 3), each image altered in the way `name` of ALTERATIONS; image k depends on seed, name and k."""
    rngs = (np.random.default_rng(derive(seed, name, k)) for k in range(len(images)))
    return np.stack([ALTERATIONS[name](image, rng) for image, rng in zip(images, rngs, strict=True)])
