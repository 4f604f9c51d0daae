"""What a change of the images costs a reader: a planted fall is found, and none is claimed where there is none."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.readers import vlm_external, vlm_report, vlm_scores
from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX


def cases(n, seed):
    dx = np.random.default_rng(seed).choice(DX, n)
    ids = [f"{seed}-{k}" for k in range(n)]
    return pd.DataFrame({"image_id": ids, "lesion_id": [f"{seed}-{k // 2}" for k in range(n)], "dx": dx})


def read(of, name, skill, stream, kind="vlm", **more):
    rng = np.random.default_rng(stream)
    p = rng.dirichlet(np.ones(7), len(of))
    p[np.arange(len(of)), [DX.index(dx) for dx in of["dx"]]] += skill
    return readings(of["image_id"], name, kind, p=p / p.sum(1, keepdims=True), **more)


def falls(skills, n=(210, 150), seed=0):
    """skills: reader -> skill on test images and on external ones."""
    sides = []
    for side in (0, 1):
        of = cases(n[side], 2 * seed + side)
        table = pd.concat(
            read(of, name, of_reader[side], [seed, side, k]) for k, (name, of_reader) in enumerate(skills.items())
        )
        networks = pd.concat(
            read(of, "net", 0.5, [seed, side, 90 + s], "network", arm="real", seed=s) for s in range(2)
        )
        if side:
            sides.append(vlm_external.replicates(table, networks, of, seed))
        else:
            table = pd.concat([table, networks.assign(reader="network, real")])
            sides.append(vlm_scores.replicates(table, of, seed=seed))
    return vlm_external.falls(*sides)


def test_a_planted_fall_is_found_and_a_reader_that_reads_alike_has_none():
    table = falls({"falls": (0.8, 0.05), "same": (0.3, 0.3)}).set_index("reader")
    assert list(table.index) == ["falls", "same", "network, real"]
    row = table.loc["falls"]
    assert row["difference"] == pytest.approx(row["external"][0] - row["test"][0])
    assert row["difference"] < -0.2 and row["high"] < 0 and row["p_holm"] < 0.05
    assert (table["p_holm"].drop("falls") > 0.05).all() and table.loc["same", "low"] < 0 < table.loc["same", "high"]
    found = vlm_report.external_findings(table.reset_index())
    assert (
        "falls: AUC -0." in found[0]
        and found[0].endswith("reads them worse.")
        and found[1].endswith("a difference is not shown.")
    )
    assert len(vlm_report.external_table(table.reset_index())) == 3


def test_readers_that_read_alike_are_told_apart_in_one_study_of_twenty_at_most():
    alarms = sum(
        (falls({"a": (0.3, 0.3), "b": (0.3, 0.3)}, (80, 80), seed)["p_holm"] <= 0.05).any() for seed in range(100, 125)
    )
    assert alarms <= 4, f"{alarms} of 25; 1 expected"


def test_without_external_images_there_is_nothing_to_say():
    nothing = vlm_external.falls({}, {})
    assert vlm_report.external_findings(nothing) == [] and len(vlm_report.external_table(nothing)) == 0
