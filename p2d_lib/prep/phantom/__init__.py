"""The dermoscopic phantom: images whose truth is known, laid out on disk exactly as HAM10000 is.

A lesion is a set of maps of absorbers on a closed outline (lesions.py, diseases.py) on a patch of skin (skin.py); its
structures follow pattern analysis. A view is a camera that looks at that lesion (camera.py) through ink, gel and hair
(overlays.py). A data set has patients and class counts as HAM10000 has (patients.py, dataset.py).
"""

from p2d_lib.prep.phantom.camera import make_view, render
from p2d_lib.prep.phantom.dataset import DARK, write
from p2d_lib.prep.phantom.lesions import make_lesion

__all__ = ["DARK", "make_lesion", "make_view", "render", "write"]
