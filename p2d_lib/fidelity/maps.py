"""Maps: real and synthetic images as points in a plane, by an independent extractor.

Two views that know neither classes nor generators: principal components, whose distances are true as far as two axes
show them, and t-SNE (van der Maaten, Hinton, JMLR 9, 2008), which shows neighbourhoods and no distances. t-SNE is
scikit-learn's; UMAP would show much the same and bring a compiler (numba) into every install.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from p2d_lib.report import figures
from p2d_lib.vocabulary import DX

MOST = 50  # images of each class: t-SNE of more takes minutes, and points hide one another
PCA_VIEW, TSNE_VIEW = "principal components", "t-SNE"
COMPONENTS = 50  # that t-SNE is given, as its authors advise
PERPLEXITY = 30


def project(features: Mapping[str, np.ndarray], dx: np.ndarray, seed: int, most: int = MOST) -> pd.DataFrame:
    """Every image of every set in both views, which are fitted on all sets together.

    features: (n, d) by set, row i of all sets of class dx[i]. most: images of each class and set. Columns set, dx,
    view, x, y. attrs: what a reader needs of each view: the variance that is explained, the perplexity.
    """
    rows = np.concatenate([np.flatnonzero(dx == name)[:most] for name in dict.fromkeys(dx)])
    pooled = np.concatenate([of_set[rows] for of_set in features.values()]).astype(np.float64)
    pca = PCA(min(COMPONENTS, *pooled.shape), random_state=seed % 2**32)
    components = pca.fit_transform(pooled)
    perplexity = min(PERPLEXITY, (len(pooled) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(components)
    places = {"set": np.repeat(list(features), len(rows)), "dx": np.tile(dx[rows], len(features))}
    views = {PCA_VIEW: components[:, :2], TSNE_VIEW: tsne}
    points = pd.concat(
        [pd.DataFrame(places | {"view": view, "x": xy[:, 0], "y": xy[:, 1]}) for view, xy in views.items()],
        ignore_index=True,
    )
    shares = " and ".join(f"{share:.0%}" for share in pca.explained_variance_ratio_[:2])
    points.attrs = {PCA_VIEW: f"{shares} of the variance", TSNE_VIEW: f"perplexity {perplexity:.3g}"}
    return points


def figure(points: pd.DataFrame, names: Mapping[str, str], view: str, columns: int = 4) -> Figure:
    """A panel for each set, its classes by colour and marker, the images of the first set (real ones) in grey behind.

    points: of `project`. names: which sets are shown, by their title.
    """
    shown, n_rows = points[points["view"] == view], -(-len(names) // columns)
    drawn, axes = plt.subplots(
        n_rows, columns, figsize=(figures.TEXT_WIDTH, 1.3 * n_rows + 0.45), sharex=True, sharey=True, squeeze=False
    )
    classes = [dx for dx in DX if dx in set(points["dx"])]
    first = shown[shown["set"] == next(iter(names))]
    for axis, (name, title) in zip(axes.flat, names.items(), strict=False):
        axis.scatter(first["x"], first["y"], s=3, color="0.8", linewidths=0, label=names[first["set"].iloc[0]])
        for dx, colour, marker in zip(classes, figures.OKABE_ITO, figures.MARKERS, strict=False):
            part = shown[(shown["set"] == name) & (shown["dx"] == dx)]
            axis.scatter(part["x"], part["y"], s=5, color=colour, marker=marker, linewidths=0, label=dx)
        axis.set_title(title, fontsize=7)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="0.8")
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    drawn.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(classes) + 1, markerscale=2,
        handletextpad=0, columnspacing=0.8,
    )  # fmt: skip
    return drawn
