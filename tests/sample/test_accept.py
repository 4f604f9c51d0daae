"""Claims about what is accepted, what passes for a copy, and how far that can be believed."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.files import read_record, sha256
from p2d_lib.instruments import alterations, copies
from p2d_lib.run import ArtefactError, Run
from p2d_lib.sample import accept, measure
from p2d_lib.vocabulary import DX


def measured():
    frame = pd.DataFrame({"dx": ["mel", "nv"] * 50, "generator": "adapter", "alignment": np.linspace(-1, 1, 100)})
    frame.loc[frame["dx"] == "nv", "alignment"] -= 5
    return frame.assign(image_id=[f"x{k}" for k in range(100)], nearest_ratio=1.0)


def test_an_image_is_refused_for_the_first_reason_there_is_and_reasons_can_be_counted():
    table = measured()
    table.loc[0, "nearest_ratio"] = copies.COPY_RATIO
    refused = pd.Series([True] * 4 + [False] * 96)
    judged = accept.accept(table, refused, alignment_quantile=0.1)
    assert judged["reason"][:6].tolist() == ["copy", "memorised", "memorised", "memorised", "alignment", "alignment"]
    assert judged["reason"].value_counts().to_dict() == {"": 90, "alignment": 6, "memorised": 3, "copy": 1}
    assert (judged["accepted"] == (judged["reason"] == "")).all()


def test_a_class_that_the_alignment_model_likes_less_is_not_filtered_away():
    kept = accept.accept(measured(), alignment_quantile=0.2).query("accepted")
    assert kept["dx"].value_counts().to_dict() == {"mel": 40, "nv": 40}


def test_nothing_is_refused_by_alignment_unless_it_is_asked_for():
    assert accept.accept(measured())["accepted"].all()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run = Run("t", "04_sample")
    run.folder.mkdir(parents=True)
    return run


def verdicts_of(table, memorised):
    """The audit of 05 of a table's images."""
    numbers = {"score": 1.0, "distance": 0.5, "threshold": 1.0, "false_alarm_rate": 0.01}
    audit = table[["image_id", "sha256", "generator"]].assign(**numbers, nearest_case="c", reason="")
    return audit.assign(memorised=memorised)


def test_an_audit_of_other_images_is_refused(run):
    audit = pd.DataFrame({"image_id": [f"x{k}" for k in range(99)], "memorised": False})
    with pytest.raises(ValueError, match="lacks 1 of the images, x99 first"):
        accept.memorised(run, measured(), audit)


def test_the_audit_of_05_holds_for_the_very_image_that_it_judged(run):
    table = measured().assign(sha256=[f"now{k}" for k in range(100)])
    assert not accept.memorised(run, table).any()  # no audit yet
    audit = verdicts_of(table.head(6), [True, True, True, False, False, True])
    audit.loc[1, "sha256"] = "before"  # x1 was sampled anew since
    Run("t", "05_fidelity").write("memorisation", audit)
    assert np.flatnonzero(accept.memorised(run, table)).tolist() == [0, 2, 5]
    other = table[["image_id"]].assign(memorised=[False] * 99 + [True])
    assert np.flatnonzero(accept.memorised(run, table, other)).tolist() == [0, 2, 5, 99]
    assert "memorisation" not in run._inputs  # a verdict is no input: to write it does not make 04 out of date


@pytest.mark.parametrize("refuses", [True, False])
def test_the_provenance_of_04_tells_an_audit_of_an_earlier_pass_where_it_refused_an_image(run, refuses):
    table = measured().assign(sha256="now")
    Run("t", "05_fidelity").write("memorisation", verdicts_of(table, [refuses] + [False] * 99))
    accept.memorised(run, table)
    with run.writing("synthetic_images") as folder:
        folder.mkdir()
    audit = run.folder / ARTEFACTS["memorisation"].path
    record = read_record(run.folder / "synthetic.provenance.json")
    assert record["earlier"] == ({"memorisation": sha256(audit)} if refuses else {})
    assert "memorisation" not in record["inputs"]


def test_an_audit_of_05_that_is_broken_or_was_changed_is_named_and_no_image_passes_by_it(run):
    table = measured().assign(sha256="now")
    path = run.folder / ARTEFACTS["memorisation"].path
    audit = Run("t", "05_fidelity").write("memorisation", verdicts_of(table, [True] * 100))
    audit.assign(memorised=False).to_parquet(path)
    with pytest.raises(ArtefactError, match=r"memorisation.parquet is not what 05_fidelity wrote: it was changed"):
        accept.memorised(run, table)
    path.with_name(path.name + ".provenance.json").unlink()  # as where only the table was copied
    for damaged, message in (
        (audit.drop(columns="sha256"), "column 'sha256' is missing"),
        (audit.assign(memorised="no"), "'no' is no bool"),
    ):
        damaged.to_parquet(path)
        with pytest.raises(ArtefactError, match=message):
            accept.memorised(run, table)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtefactError, match="is not a readable table"):
        accept.memorised(run, table)


def table_of(generator, n, n_copies, **columns):
    ratio = np.where(np.arange(n) < n_copies, 0.01, 0.6)
    return pd.DataFrame({"generator": generator, "dx": "mel", "nearest_ratio": ratio, **columns})


def rates(adapter, base=(168, 0), val=(122, 0)):
    synthetic = pd.concat([table_of("adapter", *adapter), table_of("base", *base)])
    return accept.copy_rates(synthetic, {accept.REAL: pd.DataFrame({"ratio": table_of("", *val)["nearest_ratio"]})})


def test_a_rate_of_copies_has_the_interval_of_clopper_and_pearson():
    row = rates((50, 5)).loc["adapter"]
    assert (row["n"], row["copies"], row["rate"]) == (50, 5, 0.1)
    assert [row["low"], row["high"]] == pytest.approx([0.0333, 0.2181], abs=1e-4)  # R: binom.test(5, 50)
    assert rates((50, 5)).loc["base", ["low", "high"]].tolist() == pytest.approx([0, 0.0217], abs=1e-4)


def test_a_generator_that_does_not_copy_is_hardly_ever_said_to_and_one_that_does_is():
    rng, announced = np.random.default_rng(0), 0
    for _ in range(400):  # all sides pass for copies at the nominal rate
        sides = [(n, rng.binomial(n, accept.NOMINAL)) for n in (336, 168, 122)]
        announced += accept.copies_more(rates(*sides), ["base", accept.REAL]) < 0.05
    assert announced / 400 <= 0.05
    assert (
        accept.copies_more(rates((336, 17), (168, 1), (122, 1)), ["base", accept.REAL]) < 0.05
    )  # 5 % of its images are copies


def test_a_generator_that_returns_the_prompted_case_stands_out_from_one_that_does_not():
    rng = np.random.default_rng(1)
    rows = []
    for dx in DX:
        ids = [f"{dx}{k}" for k in range(20)]
        for i in range(60):
            prompting, other = rng.choice(ids, 2)
            rows += [("adapter", dx, prompting, prompting if i < 30 else other), ("base", dx, prompting, other)]
    table = pd.DataFrame(rows, columns=["generator", "dx", "prompted_by", "nearest_case"])
    shares = accept.prompted_shares(table)
    assert shares["share"]["adapter"] == pytest.approx(0.5 + 0.5 / 20, abs=0.03)
    assert shares["chance"].to_numpy() == pytest.approx([1 / 20, 1 / 20], abs=0.01)
    assert shares["low"]["adapter"] > shares["chance"]["adapter"]
    assert shares["low"]["base"] < shares["chance"]["base"] < shares["high"]["base"]


def test_chance_is_what_shuffling_within_classes_gives():
    rng = np.random.default_rng(2)
    dx = np.repeat(["mel", "nv"], [30, 60])
    cases = [f"{name}{k}" for name, k in zip(dx, rng.integers(0, 4, 90) ** 2, strict=True)]  # some cases more often
    table = pd.DataFrame({"generator": "adapter", "dx": dx, "prompted_by": cases, "nearest_case": cases})
    shuffled = [
        (
            table["prompted_by"] == table.groupby("dx")["nearest_case"].transform(lambda part: rng.permutation(part))
        ).mean()
        for _ in range(2000)
    ]
    assert accept.prompted_shares(table)["chance"]["adapter"] == pytest.approx(np.mean(shuffled), abs=0.005)


def textures(n, seed):
    """Coarse random pictures, each unlike every other: uint8 (n, 64, 64, 3)."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(60, 200, (n, 8, 8, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)


def test_a_generator_that_copies_and_alters_is_refused_and_one_that_cannot_copy_is_accepted():
    train, fresh = textures(120, 0), textures(60, 1)
    sampled = np.concatenate([alterations.altered(train[:60], "all of these", 0), fresh])
    plan = pd.DataFrame({"generator": ["adapter"] * 60 + ["base"] * 60, "dx": "mel", "prompt": "melanoma"})
    plan["image_id"] = [f"x{k}" for k in range(120)]
    unknown = [np.zeros(120)] * 5
    measured = measure.Measurements(np.array(["0"] * 120), sampled, *unknown)
    nearest = copies.nearest_originals(measured.thumbnails, train)
    ids = pd.Series([f"case{k}" for k in range(120)])
    table = accept.accept(accept.measured_plan(plan, measured, nearest, ids))
    assert (table["reason"][:60] == "copy").mean() >= 0.95 and not (table["reason"][60:] == "copy").any()
    assert (table["nearest_case"][:60] == ids[:60]).mean() >= 0.95
