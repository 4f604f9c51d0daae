"""The released pictures: each says of itself that a trained model made it, and lies where loaders look for it."""

import hashlib
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from p2d_lib import images
from p2d_lib.files import file_sha256
from p2d_lib.release.refusal import Refused
from p2d_lib.release.signing import TRAINED, Sign
from p2d_lib.run import Run
from p2d_lib.vocabulary import FEATURES

TRAIN, METADATA = "train", "metadata.parquet"
ROWS, CELL = 3, 96  # of a grid; px
FILES_A_FOLDER = 5000  # the Hugging Face hub advises at most 10,000
ALGORITHM = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"  # a program without training made it
XMP = "XML:com.adobe.xmp"  # keyword of the chunk in which a PNG holds XMP (XMP specification, part 3, 1.1.5)
# what is said of each image; not said is which real case its prompt describes, and which one it resembles most
COLUMNS = ("file_name", "image_id", "dx", "prompt", *FEATURES, "seed", "generator", "guidance", "steps", "alignment")


def write(run: Run, table: pd.DataFrame, folder: Path, licence_url: str, sign: Sign | None = None) -> pd.DataFrame:
    """Writes a picture for each row into <folder>/train/<dx>_<part>/, and <folder>/train/metadata.parquet.

    table: rows of synthetic.parquet. sign: signs a file in place (signing.py). Returns COLUMNS with synthetic (True),
    width and height (px), sha256 of the file and pixels_sha256 of `pixels_digest`. Raises Refused where a signature
    fails or changes pixels.
    """
    place = folder / TRAIN
    part = table.groupby("dx").cumcount() // FILES_A_FOLDER
    names = table["dx"] + "_" + part.map("{:03d}".format) + "/" + table["image_id"] + ".png"
    records = []
    for source, name in zip(tqdm(table["path"], desc="release", unit="image"), names, strict=True):
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = images.read(run.folder / source)
        target.write_bytes(images.encode(pixels, _texts(run.folder / source) | {XMP: xmp(TRAINED, licence_url)}))
        digest = pixels_digest(pixels)
        if sign:
            sign(target)
            if pixels_digest(images.read(target)) != digest:
                raise Refused(f"the signature changed the pixels of {target.name}: it may only add to the file")
        height, width = pixels.shape[:2]
        records.append((True, width, height, file_sha256(target), digest))
    columns = ["synthetic", "width", "height", "sha256", "pixels_sha256"]
    described = table.assign(file_name=names)[list(COLUMNS)].reset_index(drop=True)
    metadata = described.join(pd.DataFrame(records, columns=columns))
    metadata.to_parquet(place / METADATA, index=False)
    return metadata


def pixels_digest(pixels: np.ndarray) -> str:
    """SHA-256 of uint8 (h, w, 3) row by row, hex: the same for two files that show the same."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def write_grid(run: Run, table: pd.DataFrame, file: Path, source_type: str, licence_url: str) -> None:
    """Writes a grid of the first ROWS images of each class, a column a class, marked with `source_type`."""
    firsts = table.groupby("dx", sort=False).head(ROWS)
    columns = []
    for _, part in firsts.groupby("dx", sort=False):
        cells = [images.read(run.folder / path, CELL) for path in part["path"]]
        blank = np.full((CELL, CELL, 3), 255, np.uint8)
        columns.append(np.concatenate(cells + [blank] * (ROWS - len(cells))))
    images.save(file, np.concatenate(columns, axis=1), {XMP: xmp(source_type, licence_url)})


def xmp(source_type: str, licence_url: str) -> str:
    """An XMP packet with IPTC's digital source type and the address of the licence."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" '
        f"Iptc4xmpExt:DigitalSourceType={quoteattr(source_type)} xmpRights:WebStatement={quoteattr(licence_url)}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )


def _texts(path: Path) -> dict[str, str]:
    """What a picture of 04 says of itself."""
    with Image.open(path) as image:
        return dict(image.text)
