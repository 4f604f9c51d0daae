"""Maps show what was planted: classes and generators apart where they are, mixed where they are of one law."""

import numpy as np
import pytest

from p2d_lib.fidelity import maps

DX = np.repeat(["bcc", "mel", "nv"], 20)


def planted(shift: float, seed=0):
    """Real images of classes that differ, a generator of the same law moved by `shift`, in 30 dimensions."""
    rng, of_class = np.random.default_rng(seed), 4 * np.random.default_rng(9).normal(size=(3, 30))
    real, other = (np.repeat(of_class, 20, axis=0) + rng.normal(size=(60, 30)) for _ in range(2))
    return {"test": real, "adapter": other + shift}


def points(shift: float):
    return maps.project(planted(shift), DX, 0)


def own_neighbours(part, column):
    """The share of images whose nearest neighbour has their own value of a column."""
    xy, labels = part[["x", "y"]].to_numpy(), part[column].to_numpy()
    apart = ((xy[:, None] - xy) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    return (labels[apart.argmin(axis=1)] == labels).mean()


@pytest.mark.parametrize("view", [maps.PCA_VIEW, maps.TSNE_VIEW])
def test_sets_of_one_law_mix_and_a_planted_shift_parts_them_in_both_views(view):
    mixed, apart = (table[table["view"] == view] for table in (points(0.0), points(5.0)))
    assert 0.3 < own_neighbours(mixed, "set") < 0.7 and own_neighbours(apart, "set") > 0.95
    assert own_neighbours(mixed, "dx") > 0.95


def test_a_map_is_the_same_again_and_holds_at_most_so_many_images_of_a_class():
    again = points(1.0)
    pooled = np.concatenate(list(planted(1.0).values()))
    first = np.linalg.svd(pooled - pooled.mean(axis=0), compute_uv=False) ** 2
    assert again.attrs[maps.PCA_VIEW].startswith(f"{first[0] / first.sum():.0%} and ")
    assert again.attrs[maps.TSNE_VIEW] == "perplexity 30"
    assert again.equals(points(1.0)) and len(again) == 2 * 2 * 60
    few = maps.project({"test": np.random.default_rng(0).normal(size=(60, 4))}, DX, 0, most=5)
    assert few.groupby(["view", "dx"]).size().eq(5).all()


def test_every_panel_shows_the_real_images_behind_and_no_panel_is_left_empty():
    figure = maps.figure(points(1.0), {"test": "real", "adapter": "adapter"}, maps.PCA_VIEW)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == ["real", "adapter"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["real", "bcc", "mel", "nv"], "the grey dots first"
    kinds = [dots.get_paths()[0].vertices.tobytes() for dots in shown[0].collections[1:]]
    assert len(set(kinds)) == 3, "a marker a class"
    assert all(sum(len(dots.get_offsets()) for dots in axis.collections) == 120 for axis in shown)
