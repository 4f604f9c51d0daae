"""Zero-shot reading by a CLIP: the diagnosis whose words lie nearest to the image.

Prompt ensembles as Radford et al. (ICML 2021, sec. 3.1.4): a class is the mean of the embeddings of its prompts, which
are all names of the diagnosis in all templates.
"""

import numpy as np
import pandas as pd
from scipy.special import softmax

from p2d_lib.models import clip
from p2d_lib.models.clip import Clip
from p2d_lib.readings import readings
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX

TEMPLATES = (
    "dermoscopic image of {}",
    "a dermoscopic image of {}",
    "a dermoscopy photo of a {}",
    "this is a skin image of {}",
)  # the first as this project's own prompts begin, the last as DermLIP's
NAMES = {
    "akiec": ("actinic keratosis", "Bowen's disease"),
    "bcc": ("basal cell carcinoma",),
    "bkl": ("benign keratosis", "seborrheic keratosis", "solar lentigo"),
    "df": ("dermatofibroma",),
    "mel": ("melanoma",),
    "nv": ("melanocytic nevus", "mole"),
    "vasc": ("vascular lesion", "angioma"),
}


def class_vectors(model: Clip) -> np.ndarray:
    """Unit vectors (7, dim) of the diagnoses, in the order of DX."""
    vectors = []
    for dx in DX:
        prompts = [template.format(name) for name in NAMES[dx] for template in TEMPLATES]
        mean = clip.embed_prompts(model, prompts).mean(0)
        vectors.append(mean / np.linalg.norm(mean))
    return np.stack(vectors)


def probabilities(model: Clip, images: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Probabilities of the diagnoses, float (n, 7): a softmax of the cosines times the model's own scale.

    images: uint8 (n, s, s, 3). vectors: of `class_vectors`.
    """
    scale = model.model.logit_scale.exp().item()
    return softmax(scale * clip.embed_images(model, images).astype(float) @ vectors.T, axis=1)


def read(model: Clip, name: str, run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """schemas.READINGS of a table's images (image_id, path). name: folder or id of the model, for the reader's name."""
    vectors = class_vectors(model)
    p = run.in_parts(table, lambda images: probabilities(model, images, vectors))
    return readings(table["image_id"], f"CLIP, {name.rpartition('/')[2]}", "vlm", p=p)
