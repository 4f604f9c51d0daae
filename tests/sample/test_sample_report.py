"""Claims about the tables, figures and sentences of 04."""

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from p2d_lib.instruments import obedience
from p2d_lib.instruments.rates import exact_interval
from p2d_lib.sample import accept, measure, report, report_sweep, sweep
from p2d_lib.vocabulary import DX, FEATURES

N = 84


def synthetic(rng, adapter_copies=0, base_copies=0, gain=0.2):
    """Images of adapter and base in pairs; adapter_copies, base_copies: how many pass for copies."""
    parts = []
    for generator, n_copies in (("adapter", adapter_copies), ("base", base_copies)):
        part = pd.DataFrame({"dx": np.resize(DX, N), "prompt": [f"prompt {k}" for k in range(N)], "seed": range(N)})
        part["image_id"] = [f"{generator}_{k}" for k in range(N)]
        part["nearest_ratio"] = np.where(np.arange(N) < n_copies, 0.01, 0.6)
        part["alignment"] = rng.normal(0.3, 0.1, N) + gain * (generator == "adapter")
        part["prompted_by"], part["nearest_case"] = [rng.choice([f"c{k}" for k in range(9)], N) for _ in "ab"]
        parts.append(part.assign(generator=generator))
    return accept.accept(pd.concat(parts, ignore_index=True))


@cache
def agreed():
    """How far some images follow their prompts: nothing that the tests below vary."""
    rng = np.random.default_rng(9)
    requested = pd.DataFrame(rng.random((N, 22)), columns=list(FEATURES))
    p, features = np.eye(7)[rng.integers(0, 7, N)], rng.random((N, 22))
    return obedience.agreement([str(k) for k in range(N)], np.resize(DX, N), requested, p, features, seed=0)


def findings(rng, table, val_copies=0, planted=(), base_trained_here=False, apart=0.4):
    """apart: by how much a real image's own prompt fits better than others."""
    ratio = pd.DataFrame({"ratio": np.where(np.arange(N) < val_copies, 0.01, 0.6)})
    altered = pd.DataFrame({"ratio": np.where(np.arange(N) < 80, 0.01, 0.6)})
    rates = accept.copy_rates(table, {accept.REAL: ratio, accept.ALTERED: altered})
    alignment = rng.normal(0.5, 0.1, N)
    val = measure.Measurements(*[np.zeros(N)] * 6, alignment)
    agreements = dict.fromkeys((accept.REAL, "adapter", "base"), agreed())
    shares, controls = accept.prompted_shares(table), accept.negative_controls(base_trained_here)
    return " ".join(
        report.findings(table, rates, shares, agreements, val, rng.permutation(alignment - apart), controls, planted)
    )


def test_copies_are_announced_where_the_adapter_copies_and_not_where_it_copies_no_more_than_the_controls():
    rng = np.random.default_rng(0)
    assert "The adapter copies more often" in findings(rng, synthetic(rng, adapter_copies=8))
    text = findings(rng, synthetic(rng, adapter_copies=1))
    assert "not shown to copy more often" in text and "is accepted" not in text
    assert "Of altered train images it finds 95.2" in text


def test_a_check_that_refuses_what_cannot_copy_is_not_to_be_relied_on():
    """As it was: 18 % of the adapter's images were refused as copies, and 23 % of base's."""
    rng = np.random.default_rng(1)
    text = findings(rng, synthetic(rng, adapter_copies=15, base_copies=19))
    assert "do not rely on it" in text and "copies more often" not in text


def test_a_base_that_was_trained_on_the_same_images_is_no_control():
    rng = np.random.default_rng(6)
    text = findings(rng, synthetic(rng, adapter_copies=9, base_copies=9), base_trained_here=True)
    assert "The adapter copies more often" in text and "of base and" not in text


def test_higher_alignment_is_said_of_a_planted_gain_alone():
    rng = np.random.default_rng(2)
    text = findings(rng, synthetic(rng, gain=0.2))
    assert "noises: higher (" in text and "that model knows the generator's own train images" in text
    assert "noises: lower (" in findings(rng, synthetic(rng, gain=-0.2))
    no_difference = ["no clear difference" in findings(rng, synthetic(rng, gain=0)) for _ in range(60)]
    assert np.mean(no_difference) >= 0.88  # nominal 0.95, and 0.95 - 2.5 standard errors of 60 trials


def test_nothing_is_said_of_alignment_where_its_model_does_not_tell_real_prompts_apart():
    rng = np.random.default_rng(7)
    texts = [findings(rng, synthetic(rng, gain=0.2), apart=0.0) for _ in range(40)]
    silent = ["Alignment says nothing here" in text and "noises: higher" not in text for text in texts]
    assert np.mean(silent) >= 0.88  # nominal 0.975


def test_planted_train_images_are_counted_and_nothing_is_no_number():
    rng = np.random.default_rng(3)
    text = findings(rng, synthetic(rng, adapter_copies=4), planted=[f"adapter_{k}" for k in range(5)])
    assert "Of 5 train images planted among the synthetic ones, 4 are refused as copies" in text
    assert not re.search(r"\bnan\b", text)
    assert "The scout reads the class" in text and "It is no independent reader" in text


def test_the_table_of_copies_keeps_generators_and_controls_apart_and_says_chance():
    rng = np.random.default_rng(4)
    table = synthetic(rng, adapter_copies=2)
    rates = accept.copy_rates(table, {accept.REAL: pd.DataFrame({"ratio": np.full(50, 0.5)})})
    shown = report.copies_table(rates, accept.prompted_shares(table)).set_index("images")
    assert list(shown.index) == ["adapter", "base", accept.REAL]
    assert shown.loc["adapter", "copies (%)"].startswith("2.4 [")
    assert shown.loc[accept.REAL, "prompted case nearest (%)"] == "–"
    assert shown.loc["adapter", "by chance (%)"] == pytest.approx(11, abs=4)
    assert shown["copies by class"].tolist() == ["akiec 1 of 12, bcc 1 of 12", "", ""]


def test_images_that_are_refused_for_their_alignment_are_counted_with_what_that_does_to_the_measures():
    rng = np.random.default_rng(8)
    table = synthetic(rng, adapter_copies=3)
    assert "3 are refused as copies, 0 as memorised." in findings(rng, table) and "too good" not in findings(rng, table)
    chosen = findings(rng, accept.accept(table, alignment_quantile=0.1))
    n = (accept.accept(table, alignment_quantile=0.1).query("generator == 'adapter'")["reason"] == "alignment").sum()
    assert n > 5 and f"{n} more fit their prompts least; what is measured without them is too good" in chosen


def test_the_summary_ends_with_both_ends_of_the_scale_of_alignment():
    rng = np.random.default_rng(5)
    val = measure.Measurements(*[np.zeros(N)] * 6, np.full(N, 0.6))
    shown = report.summary_table(synthetic(rng, adapter_copies=7), val, np.full(N, 0.1))
    assert shown["images"].tolist() == ["adapter"] * 7 + ["adapter", "base", accept.REAL, report.OTHER_PROMPTS]
    assert shown["accepted"].tolist()[7:9] == [N - 7, N]
    assert shown["alignment"].tolist()[-2:] == pytest.approx([0.6, 0.1])


def test_the_sweep_is_shown_with_both_ends_in_the_table_and_the_floor_in_the_figure():
    point = {"seconds": 0.1, "kid": 0.2, "kid_low": 0.1, "kid_high": 0.3, "kid_scout": 9.0, "class_read": 20 / 28}
    tested = {"n": 28, "difference": 0.2, "low": 0.02, "high": 0.38, "p": 0.04}
    records = [{"images": "adapter", "guidance": g, "steps": s, **point, **tested, "alignment": 0.5}
               for g in (1.0, 5.0) for s in (8, 15)]  # fmt: skip
    ends = [
        {"images": name, "kid": kid, "kid_low": kid, "kid_high": kid}
        for name, kid in (("real (train)", 0.0), ("uniform noise", 4.0))
    ]
    points = pd.DataFrame([*records, *ends])
    shown = report_sweep.sweep_table(points, "eye")
    assert shown["images"].tolist() == ["adapter"] * 4 + ["real (train)", "uniform noise"]
    assert shown.at[0, "KID (eye) ↓"] == "0.200 [0.100, 0.300]" and shown.at[0, "p (Holm)"] == 0.04
    assert shown["less that of real (train)"].tolist() == ["0.200 [0.020, 0.380]"] * 4 + ["–"] * 2
    axes = report_sweep.sweep_figure(points, "eye").axes
    assert [len(axis.lines) for axis in axes] == [2] * 6
    for axis, ends in ((axes[0], (0.1, 0.3)), (axes[2], exact_interval(20, 28))):
        drawn = axis.lines, (part for part in axis.collections if isinstance(part, LineCollection))
        for line, bars in zip(*drawn, strict=True):
            assert [bar[0, 0] for bar in bars.get_segments()] == line.get_xdata().tolist(), "bars stand on their points"
            assert all(tuple(bar[:, 1]) == pytest.approx(ends) for bar in bars.get_segments())
        assert axis.get_xticks().tolist() == [1, 5]
        assert len({x for line in axis.lines for x in line.get_xdata()}) == 4, "bars of two lines stand side by side"
    assert max(axes[0].lines[0].get_ydata()) == 0.2 and {text.get_text() for text in axes[5].texts} == {"1", "5"}
    text = report_sweep.sweep_finding(points, "eye")
    assert "guidance 1 with 8 steps has the smallest KID" in text
    assert "4 of the points are shown to be further than these, the one with the smallest KID among them" in text
    points.loc[3, ["kid", "kid_low", "kid_high", "p"]] = -0.01, -0.02, 0.01, 0.06
    text = report_sweep.sweep_finding(points, "eye")
    assert "guidance 5 with 15 steps has the smallest KID" in text
    assert "3 of the points are shown to be further than these, the one with the smallest KID not among them" in text
    none = report_sweep.sweep_finding(points.assign(p=0.06), "eye")
    assert "No point is shown to be further than these with 28 images each" in none
    assert "needs three images of each class" in report_sweep.sweep_finding(points.assign(p=np.nan), "eye")


def test_a_sweep_of_too_few_images_is_shown_and_not_ranked():
    unknown = dict.fromkeys(("kid", "kid_low", "kid_high", "kid_scout", "difference", "low", "high", "p"), np.nan)
    shown = {"n": 7, "guidance": 1.0, "steps": 8, "seconds": 0.1, "class_read": 0.5, "alignment": 0.4}
    points = pd.DataFrame([{"images": "adapter", **shown, **unknown}, {"images": sweep.FLOOR, **unknown}])
    assert "two images of each class" in report_sweep.sweep_finding(points, "eye")
    report_sweep.sweep_figure(points, "eye").canvas.draw()
