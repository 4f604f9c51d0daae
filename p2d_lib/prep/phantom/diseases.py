"""The seven diagnoses: which structures each adds to a patch of skin, by pattern analysis.

Kittler et al., J Am Acad Dermatol 74, 2016. Each function adds to the maps and notes in `truth` what it added.
"""

import numpy as np
from scipy import ndimage

from p2d_lib.prep.phantom.canvas import COARSE_PX, HALF, LesionMaps, bent_line, smooth_step, vessel_tree


def _nv(d: LesionMaps) -> None:
    rng = d.rng
    dysplastic = rng.random() < 0.2
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.0, 0.18 if dysplastic else 0.09), rng.uniform(0.02, 0.08))
    body, level = d.inside(rng.uniform(0.10, 0.40)), rng.uniform(0.5, 3.2)
    centre = np.exp(-((d.canvas.rho / d.radius) ** 2) * 2) * rng.uniform(-0.35, 0.6)
    d.melanin += body * level * (0.7 + centre + rng.uniform(0.08, 0.22) * d.cloud(0.12))
    d.blood += body * rng.uniform(0, 0.7) * (1 + 0.2 * d.cloud(0.1))
    pattern = rng.choice(["network", "globules", "homogeneous"], p=[0.55, 0.25, 0.2])
    # all over the lesion, or in a ring or the centre only
    reach = np.clip(rng.uniform(0.3, 1.1) + rng.uniform(-0.8, 0.8) * d.height, 0.2, 1)
    if pattern == "network":
        strength = rng.uniform(0.35, 1)
        lines = d.mesh(rng.uniform(0.046, 0.068), rng.uniform(0.1, 0.6 if dysplastic else 0.35))
        lines *= 1 + 0.3 * d.smooth(0.15)
        d.melanin += body * strength * (0.45 + 0.5 * level) * (lines - 0.35) * reach
        d.truth["regular_network"] = strength
    elif pattern == "globules":
        strength = rng.uniform(0.35, 1)
        cells = 1 - d.mesh(rng.uniform(0.050, 0.078), rng.uniform(0.2, 0.5))
        d.melanin += body * strength * (0.35 + 0.45 * level) * (cells - 0.5) * reach
        d.truth["regular_globules"] = strength
    if cysts := d.chance(0.08):  # as in some dermal nevi
        d.white = np.maximum(d.white, 0.8 * d.spots(d.height > 0.1, 6, (0.015, 0.03), soft=0.8) * cysts)
        d.truth["milia_cysts"] = cysts
    if dysplastic and rng.random() < 0.5:  # a few dots are no melanoma yet
        d.melanin += 1.5 * body * d.spots(d.height > 0.2, rng.integers(2, 7), (0.018, 0.03))
        d.truth["irregular_dots_globules"] = 0.3


def _mel(d: LesionMaps) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.3), rng.uniform(0.03, 0.30), rng.uniform(0.05, 0.22))
    side = rng.uniform(0, 2 * np.pi)
    # one side differs from the other
    sector = 0.5 + 0.5 * np.cos(d.canvas.theta - side) * np.clip(d.canvas.rho / d.radius, 0, 1)
    body, level = d.inside(rng.uniform(0.06, 0.30)), rng.uniform(0.5, 2.8)
    d.melanin += body * level * np.clip(0.75 + 0.3 * d.cloud(0.2) + 0.5 * (sector - 0.5), 0.1, None)
    d.blood += body * (rng.uniform(0, 0.6) + d.chance(0.35) * (1 - sector) * (0.7 + 0.3 * d.cloud(0.1)))
    if network := d.chance(0.55):
        broken = smooth_step(d.smooth(0.14) + 0.3, 0.8)
        lines = d.mesh(rng.uniform(0.055, 0.10), rng.uniform(0.6, 1)) * broken
        d.melanin += body * network * (0.7 + 0.6 * level) * (lines - 0.2)
    if blotch := d.chance(0.45):
        dark = body * blotch * smooth_step(d.cloud(0.25, 2.8) + 1.2 * (sector - 0.5) - 0.7, 0.7)
        d.melanin += 3.5 * dark
        d.deep += 1.0 * dark
        blotch = d.visible(blotch, dark / blotch)
    if dots := d.chance(0.5):
        where = (d.height > -0.03) & (sector + 0.25 * d.smooth(0.15) > 0.55)
        d.melanin += 3.0 * d.spots(where, int(8 + 30 * dots), (0.011, 0.032), 1.2)
    if streaks := d.chance(0.35):
        lines = []
        for angle in side + rng.normal(0, 0.6, int(8 + 14 * streaks)):
            start, length = 0.82 * _rim(d, angle), rng.uniform(0.06, 0.15)
            lines.append(
                (bent_line(rng, start, angle + rng.normal(0, 0.2), length, 0.5, 0.05), rng.uniform(0.014, 0.03))
            )
        d.melanin += (1.0 + 0.8 * level) * ndimage.gaussian_filter(d.strokes(lines), 0.8 * d.canvas.n / COARSE_PX)
    if veil := d.chance(0.4):
        haze = body * smooth_step(d.smooth(0.22) + 0.2 * d.cloud(0.1) - 0.8 * (sector - 0.5) - 0.2, 1.2)
        d.deep += 1.5 * veil * haze
        d.white += 0.3 * veil * haze
        veil = d.visible(veil, haze)
    if regression := d.chance(0.3):
        scar = body * smooth_step(d.cloud(0.2, 2.5) + (0.5 - sector) - 0.3, 0.7)
        d.melanin *= 1 - 0.85 * regression * scar
        d.white += 0.45 * regression * scar
        d.deep += 0.8 * regression * d.spots(scar > 0.5, 22, (0.012, 0.022))
        regression = d.visible(regression, scar)
    d.truth |= {
        "atypical_pigment_network": network, "irregular_blotches": blotch, "irregular_dots_globules": dots,
        "irregular_streaks": streaks, "blue_whitish_veil": veil, "regression_structures": regression,
    }  # fmt: skip


def _rim(d: LesionMaps, angle: float) -> np.ndarray:
    """Where a ray from the centre last leaves the lesion: (x, y)."""
    r = np.linspace(0.05, 0.8, 60)
    columns, rows = ((r * f(angle) + HALF) / (2 * HALF) * d.canvas.n for f in (np.cos, np.sin))
    within = d.height[rows.astype(int), columns.astype(int)] > 0
    return r[within][-1] * np.array([np.cos(angle), np.sin(angle)]) if within.any() else np.zeros(2)


def _bkl(d: LesionMaps) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.28), rng.uniform(0.02, 0.15), rng.uniform(0.03, 0.14))
    body, level = d.inside(rng.uniform(0.03, 0.10)), rng.uniform(0.4, 2.6)
    warty = rng.uniform(0.08, 0.3) * d.rough(0.08, 0.4)
    d.melanin += body * level * np.clip(0.8 + warty + 0.22 * d.cloud(0.2), 0.1, None)
    d.blood += body * rng.uniform(0, 0.6)
    d.deep += body * max(0.0, rng.uniform(-0.4, 0.5))
    d.keratin += body * rng.uniform(0.0, 0.4) * (1 + 0.3 * d.cloud(0.1))
    if network := d.chance(0.2):  # a solar lentigo may look like a nevus
        lines = d.mesh(rng.uniform(0.050, 0.080), rng.uniform(0.2, 0.7))
        d.melanin += body * network * (0.3 + 0.4 * level) * (lines - 0.35)
    if fissures := d.chance(0.4):
        creases = smooth_step(0.2 - np.abs(d.rough(0.17, 0.35)), 0.25)
        d.melanin += body * fissures * (0.5 + 0.6 * level) * creases
    if comedo := d.chance(0.45):
        spots = d.spots(d.height > 0.12, int(4 + 12 * comedo), (0.018, 0.038), 1.25)
        d.melanin += 2.6 * spots
        d.keratin += 0.25 * spots
    if cysts := d.chance(0.55):
        spots = d.spots(d.height > 0.10, int(5 + 16 * cysts), (0.015, 0.034), soft=0.8)
        d.white = np.maximum(d.white, 0.8 * spots)
    d.truth |= {"milia_cysts": cysts, "comedo_openings": comedo, "fissures": fissures, "regular_network": network}


def _bcc(d: LesionMaps) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.2))
    body = d.inside(rng.uniform(0.15, 0.5))
    d.blood += body * (rng.uniform(0.1, 0.9) + 0.18 * d.cloud(0.1))
    d.melanin += body * max(0.0, rng.uniform(-0.5, 1.2)) * (0.7 + 0.4 * d.cloud(0.15))
    d.white += body * np.clip(rng.uniform(0, 0.25) + 0.12 * d.cloud(0.1), 0, 1)
    if nests := d.chance(0.65):
        spots = d.spots(d.height > 0.05, int(2 + 9 * nests), (0.022, 0.065), 1.5, soft=0.7)
        d.deep += rng.uniform(1.0, 1.9) * spots
        d.melanin += rng.uniform(0.2, 1.2) * spots
    if vessels := d.chance(0.7 if nests else 1):
        lines = []
        for angle in rng.uniform(0, 2 * np.pi, int(1 + 3 * vessels)):
            start = d.radius * rng.uniform(0.8, 1.2) * np.array([np.cos(angle), np.sin(angle)])
            lines += vessel_tree(
                rng, start, angle + np.pi + rng.normal(0, 0.5), d.radius * rng.uniform(0.9, 1.5), 0.023
            )
        d.blood += (0.7 + 0.9 * vessels) * d.strokes(lines) * smooth_step(d.height + 0.35, 0.4)
    if ulcer := d.chance(0.35):
        sore = d.spots(d.height > 0.25, int(1 + 2 * ulcer), (0.06, 0.13), 1.3, 0.9)
        sore = smooth_step(sore * (1 + 0.4 * d.cloud(0.06)) - 0.35, 0.2)
        d.blood += 1.5 * sore
        d.melanin += 1.2 * sore * (1 + 0.5 * d.cloud(0.05))
        d.keratin += 0.35 * sore
    d.truth |= {
        "blue_grey_nests": nests, "arborising_vessels": vessels, "ulceration": ulcer,
        "atypical_vascular_pattern": vessels,
    }  # fmt: skip


def _akiec(d: LesionMaps) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.25), rng.uniform(0.05, 0.2), rng.uniform(0.06, 0.20))
    body = d.inside(rng.uniform(0.2, 0.6))
    d.blood += body * (rng.uniform(0.2, 0.7) + 0.2 * d.cloud(0.12))
    pigment = max(0.0, rng.uniform(-0.6, 1.9))
    d.melanin += body * pigment * smooth_step(d.cloud(0.2) + 0.2, 1.2)
    if strawberry := d.chance(0.65):
        net = d.mesh(rng.uniform(0.055, 0.09), rng.uniform(0.1, 0.4))
        patchy = body * np.clip(0.75 + 0.35 * d.smooth(0.15), 0.1, 1.2)
        d.blood += patchy * strawberry * (net - 0.2)
        d.white += patchy * strawberry * 0.5 * smooth_step(0.2 - net, 0.3)
        d.melanin += patchy * pigment * 0.6 * net
    if scale := d.chance(0.5):
        flakes = smooth_step(0.8 * d.cloud(0.08) + 0.8 * d.smooth(0.2) - 1.3, 0.4)
        d.white = np.maximum(d.white, 0.8 * scale * flakes * smooth_step(d.height + 0.05, 0.3))
        d.keratin += 0.3 * scale * body * smooth_step(d.cloud(0.12) - 0.8, 0.5)
        scale = d.visible(scale, flakes)
    if rosettes := d.chance(0.35):
        petals, arm = np.zeros_like(d.white), 3 * d.canvas.n // COARSE_PX
        for cy, cx in d.places(d.height > 0.2, int(3 + 6 * rosettes)):
            petals[[cy - arm, cy + arm, cy, cy], [cx, cx, cx - arm, cx + arm]] = 1
        bright = 9 * ndimage.gaussian_filter(petals, 1.3 * arm / 3) * (arm / 3) ** 2
        d.white = np.maximum(d.white, np.clip(bright, 0, 0.9))
    d.truth |= {
        "strawberry": strawberry, "scale": scale, "rosettes": rosettes, "atypical_vascular_pattern": 0.6 * strawberry,
    }  # fmt: skip


def _df(d: LesionMaps) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.2), rng.uniform(0.0, 0.10), rng.uniform(0.03, 0.12))
    body, level = d.inside(rng.uniform(0.3, 0.7)), rng.uniform(0.3, 2.2)
    d.melanin += body * level * (0.6 + 0.12 * d.cloud(0.15))
    d.blood += body * (rng.uniform(0, 0.9) + 0.1 * d.cloud(0.1))
    scar, network = d.chance(0.88, 0.2), d.chance(0.8)
    off = rng.normal(0, 0.1, 2) * d.radius
    reach = (
        rng.uniform(0.30, 0.55)
        * d.radius
        * (1 + rng.uniform(0.1, 0.3) * np.cos(2 * d.canvas.theta + rng.uniform(0, 6)))
    )
    middle = smooth_step(1 - np.hypot(d.canvas.x - off[0], d.canvas.y - off[1]) / reach + 0.22 * d.cloud(0.1), 0.55)
    ring = body * (1 - middle)
    d.blood += ring * max(0.0, rng.uniform(-0.4, 0.6))
    if network:
        lines = d.mesh(rng.uniform(0.046, 0.068), rng.uniform(0.1, 0.5)) * (1 + 0.3 * d.smooth(0.12))
        d.melanin += ring * network * (0.45 + 0.45 * level) * (lines - 0.25)
    d.melanin *= 1 - 0.75 * scar * middle
    d.white += 0.6 * scar * middle * np.clip(1 + 0.3 * d.cloud(0.06), 0, 1.4)
    d.truth |= {"scar": scar, "regular_network": 0.5 * network}


def _vasc(d: LesionMaps) -> None:
    rng = d.rng
    d.outline(rng.uniform(0, 0.2), rng.uniform(0.02, 0.12), rng.uniform(0.05, 0.2))
    body, depth = d.inside(rng.uniform(0.04, 0.2)), rng.uniform(0.6, 3.0)
    bluish = max(0.0, rng.uniform(-0.6, 1.3))
    cells = 1 - d.mesh(rng.uniform(0.10, 0.17), rng.uniform(0.2, 0.8))
    lacunae = d.chance(0.88, 0.2)
    full = np.clip(0.85 + 0.4 * d.cloud(0.15), 0.2, None)  # some hold more blood than others
    d.blood += body * depth * (1 - 0.7 * lacunae * (1 - cells)) * full
    d.deep += body * bluish * (0.3 + 0.7 * lacunae * cells) * full
    d.melanin += body * d.chance(0.25) * 3.0 * cells * smooth_step(d.smooth(0.15) - 0.6, 0.4)  # thrombosed: black
    d.white += body * lacunae * rng.uniform(0.05, 0.35) * (1 - cells)
    d.truth |= {"lacunae": lacunae, "atypical_vascular_pattern": 0.3 * lacunae}


DISEASES = {"akiec": _akiec, "bcc": _bcc, "bkl": _bkl, "df": _df, "mel": _mel, "nv": _nv, "vasc": _vasc}
RADIUS = {  # smallest and largest, short sides
    "akiec": (0.16, 0.44), "bcc": (0.12, 0.44), "bkl": (0.14, 0.44), "df": (0.15, 0.40), "mel": (0.15, 0.46),
    "nv": (0.11, 0.40), "vasc": (0.11, 0.40),
}  # fmt: skip
