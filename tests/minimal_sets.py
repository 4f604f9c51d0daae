"""The smallest set of each shipped layout that a split by lesion can divide, laid out as its publishers do."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

LESIONS = 6  # of each diagnosis, one image each


def picture(path: Path, seed: int) -> None:
    """A brown square on skin, 40 x 30 px."""
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal((205, 160, 140), 6, (30, 40, 3)), 0, 255).astype(np.uint8)
    y, x, r = rng.integers(10, 20), rng.integers(14, 26), rng.integers(5, 9)
    image[y - r : y + r, x - r : x + r] = (90 + seed % 60, 60, 40)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def mask(path: Path) -> None:
    inside = np.zeros((30, 40), np.uint8)
    inside[8:22, 12:28] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(inside).save(path)


def isic2019(folder: Path) -> None:
    classes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    names = {f"ISIC_{k:07d}": classes[k % 7] for k in range(7 * LESIONS)}
    for k, name in enumerate(names):
        picture(folder / "ISIC_2019_Training_Input" / f"{name}.jpg", k)
    table = pd.DataFrame({"image": list(names), "age_approx": "55", "anatom_site_general": "upper extremity"})
    table.assign(lesion_id="", sex="female").to_csv(folder / "ISIC_2019_Training_Metadata.csv", index=False)
    truth = [(name, *(float(column == dx) for column in classes)) for name, dx in names.items()]
    pd.DataFrame(truth, columns=["image", *classes]).to_csv(folder / "ISIC_2019_Training_GroundTruth.csv", index=False)


def pad_ufes_20(folder: Path) -> None:
    rows = []
    for k in range(5 * LESIONS):
        dx = ("NEV", "BCC", "ACK", "MEL", "SEK")[k % 5]
        rows.append((f"PAT_{k}", k, 50, "FEMALE", "2.0", "FACE", dx, f"PAT_{k}_{k}_{k}.png", "True"))
        picture(folder / "images" / "imgs_part_1" / rows[-1][7], k)
    columns = ["patient_id", "lesion_id", "age", "gender", "fitspatrick", "region", "diagnostic", "img_id", "biopsed"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "metadata.csv", index=False)


def fitzpatrick17k(folder: Path) -> None:
    labels = ("melanoma", "halo nevus", "basal cell carcinoma", "seborrheic keratosis", "dermatofibroma",
              "pyogenic granuloma", "actinic keratosis")  # fmt: skip
    lines = ["md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url"]
    for k in range(7 * LESIONS):
        picture(folder / "images" / f"{k:032x}.jpg", k)
        lines.append(f"{k:032x},{1 + k % 6},2,{labels[k % 7]},,,,https://example.org/{k}.jpg")
    (folder / "fitzpatrick17k.csv").write_text("\n".join(lines))


def ph2(folder: Path) -> None:
    lines = ["||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry ||"]
    for k in range(2 * LESIONS):
        name, place = f"IMD{k:03d}", folder / "PH2 Dataset images" / f"IMD{k:03d}"
        lines.append(f"|| {name} ||  || {2 * (k % 2)} || 0 ||")
        picture(place / f"{name}_Dermoscopic_Image" / f"{name}.bmp", k)
        mask(place / f"{name}_lesion" / f"{name}_lesion.bmp")
    (folder / "PH2_dataset.txt").write_text("\n".join(lines))


def ham10000(folder: Path) -> None:
    rows = []
    for k in range(7 * LESIONS):
        dx = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")[k % 7]
        rows.append((f"HAM_{k:07d}", f"ISIC_{k:07d}", dx, "histo", "45.0", "female", "back", "rosendahl"))
        picture(folder / "HAM10000_images_part_1" / f"ISIC_{k:07d}.jpg", k)
        mask(folder / "HAM10000_segmentations_lesion_tschandl" / f"ISIC_{k:07d}_segmentation.png")
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "HAM10000_metadata.csv", index=False)


SETS = {make.__name__: make for make in (ham10000, isic2019, pad_ufes_20, fitzpatrick17k, ph2)}
