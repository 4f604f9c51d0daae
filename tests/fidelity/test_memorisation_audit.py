"""Claims about the memorisation audit: a generator that copies is refused, one that has seen nothing is not."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from phantom_photographs import views

from p2d_lib.fidelity import audit, audit_report
from p2d_lib.instruments import alterations, disclosure
from p2d_lib.schemas import MEMORISATION
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

N_TRAIN, N_FITTED = 120, 40


class Pictures:
    """A run as the audit sees it: pictures by image_id."""

    def __init__(self, pictures):
        self.pictures = pictures

    def in_parts(self, table, measure):
        return measure(np.stack([self.pictures[name] for name in table["image_id"]]))


def synthetic_rows(prefix, generator, prompted_by, dx):
    names = [f"{prefix}{k}" for k in range(len(prompted_by))]
    return pd.DataFrame(
        {"image_id": names, "generator": generator, "prompted_by": prompted_by, "dx": dx, "sha256": names}
    )


@pytest.fixture(scope="module")
def made():
    """120 train and 120 held-out lesions, 40 images of a generator that was fitted to 40 train images for too long (it
    shows them cropped, tinted, turned and noisy), 40 of one that has seen none, noise and flat colours."""
    splits = ["train"] * N_TRAIN + ["val"] * 60 + ["test"] * 60
    ids = [f"case{k}" for k in range(len(splits))]
    cases = pd.DataFrame({"image_id": ids, "lesion_id": ids, "split": splits, "dx": [DX[k % 7] for k in range(240)]})
    cases = cases.assign(age=50.0, sex=["male", "female"] * 120, localization="back")
    pictures = dict(zip(ids, views(range(240)), strict=True))
    fitted, dx = ids[:N_FITTED], [DX[k % 7] for k in range(N_FITTED)]
    copied = alterations.altered(np.stack([pictures[name] for name in fitted]), "all of these", 0)
    tables = [synthetic_rows("copy", "adapter", fitted, dx), synthetic_rows("new", "base", fitted, dx)]
    pictures |= zip(tables[0]["image_id"], copied, strict=True)
    pictures |= zip(tables[1]["image_id"], views(range(10_000, 10_000 + N_FITTED)), strict=True)
    rng = np.random.default_rng(0)
    pictures |= {f"noise{k}": rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for k in range(5)}
    pictures |= {f"flat{k}": np.full((64, 64, 3), rng.integers(0, 256, 3), np.uint8) for k in range(5)}
    tables += [synthetic_rows(name, "scratch-unet", fitted[:5], dx[:5]) for name in ("noise", "flat")]
    run = Pictures(pictures)
    return run, cases, pd.concat(tables, ignore_index=True), audit.detector(run, cases, tables[0], seed=0)


@pytest.fixture(scope="module")
def verdicts(made):
    run, _, synthetic, found = made
    return MEMORISATION.validate(audit.judge(run, synthetic, found)).assign(dx=synthetic["dx"])


def test_images_of_a_generator_that_copies_are_memorised_and_their_cases_are_named(made, verdicts):
    of_adapter = verdicts[verdicts["generator"] == "adapter"]
    assert of_adapter["memorised"].mean() >= 0.95
    named = of_adapter["nearest_case"].to_numpy() == made[2]["prompted_by"][:N_FITTED].to_numpy()
    assert named.mean() >= 0.95 and (of_adapter["reason"] != "").equals(of_adapter["memorised"])


def test_a_generator_that_has_seen_nothing_and_noise_and_flat_colours_are_not_memorised(made, verdicts):
    assert verdicts.loc[verdicts["generator"] == "base", "memorised"].sum() <= 1
    assert not verdicts.loc[verdicts["generator"] == "scratch-unet", "memorised"].any()
    heaviest = (6 / N_FITTED) / 17  # the share of a class of the set that has fewest of the 120 held-out images
    assert made[3].point.nominal == pytest.approx(heaviest / (1 + heaviest))
    assert made[3].held_out["alarm"].mean() <= 0.03 and set(made[3].held_out["split"]) == {"val", "test"}
    alarm = made[3].held_out["dx"] == "mel"  # all of one class, which has its share of the set's classes
    refused = audit.false_alarms(made[3]._replace(held_out=made[3].held_out.assign(alarm=alarm)))
    of_set = made[2].loc[made[2]["generator"] == "adapter", "dx"]
    assert refused == pytest.approx((of_set == "mel").mean()) and refused != pytest.approx(alarm.mean())


def test_asked_several_times_the_copying_generator_gives_away_train_cases_and_no_val_cases(made):
    run, cases, _, found = made
    asked = pd.concat([cases[cases["split"] == split].head(15) for split in ("train", "val")], ignore_index=True)
    pictures = dict(run.pictures)
    rows = []
    for k in range(2):
        shown = [pictures[name] for name in asked["image_id"][:15]]
        shown += [*views(derive(k, name) % 10**6 for name in asked["image_id"][15:])]
        names = [f"asked{i}_{k}" for i in range(30)]
        pictures |= zip(names, alterations.altered(np.stack(shown), "all of these", k), strict=True)
        rows.append(asked[["split", "dx"]].assign(image_id=names, prompted_by=asked["image_id"]))
    worst = audit.worst_cases(Pictures(pictures), pd.concat(rows, ignore_index=True), cases, found)
    given_away = worst.groupby("split")["memorised"].mean()
    assert len(worst) == 30 and given_away["train"] >= 0.9 and given_away["val"] == 0


def test_a_set_of_copies_is_refused_and_the_findings_say_why(made, verdicts):
    run, cases, synthetic, found = made
    given = audit.disclosed(run, cases, synthetic, seed=0)
    assert given.membership.p < 0.001 and given.membership.auc > 0.6
    worst = pd.DataFrame({"prompted_by": [], "split": [], "dx": [], "suspicion": [], "memorised": []})
    rates, repeats = audit.rates(verdicts, found), audit.repeated(run, cases, synthetic, seed=0)
    tests = audit.set_tests(verdicts, found, worst, given, seed=0)
    lines = audit_report.findings(found, rates, worst, given, repeats, tests, np.nan, base_is_innocent=True)
    assert "is refused by the memorisation audit" in lines[0] and "show train lesions more often" in lines[0]
    table = audit_report.verdicts_table(rates, repeats, worst).set_index("images")["memorised, by class"]
    assert len(table) == 5 and "mel 6 of 6" in table["adapter"] and table["scratch-unet"] == "–"
    assert audit_report.detector_table(found)["images"].iloc[-1].endswith("false alarms")


def test_a_curve_of_the_detector_has_at_the_dotted_line_the_recall_of_the_table(made):
    found = made[3]
    *curves, point = audit_report.detector_figure(found).axes[0].lines
    (nominal, _), recall = point.get_xdata(), found.recall.rename(audit_report.LABELS)["rate"]
    assert nominal == found.point.nominal and len(curves) == 4
    for curve in curves:
        rates, shares = curve.get_data()
        assert shares[np.searchsorted(rates, nominal, side="right") - 1] == recall[curve.get_label()]


def test_a_detector_that_misses_planted_copies_lets_no_set_pass():
    tests = pd.DataFrame({"test": ["memorised", "worst case", "membership"], "p": 0.5, "holm": 1.0})
    assert "passes" in audit_report.verdict(tests, 0.9)
    assert "gives no verdict" in audit_report.verdict(tests, 0.1) and "only 10%" in audit_report.verdict(tests, 0.1)
    assert "is refused" in audit_report.verdict(tests.assign(holm=[0.01, 1, 1]), 0.1)
    outcomes = [(tests, 0.9), (tests, 0.1), (tests.assign(holm=[0.01, 1, 1]), 0.9)]
    assert [audit_report.passes(*outcome) for outcome in outcomes] == [True, False, False]


HELD_OUT = dict(akiec=14, bcc=19, bkl=35, df=8, mel=35, nv=160, vasc=8)  # lesions of val and test in a small run
TENDENCY = dict(akiec=1.5, bcc=1.0, bkl=0.5, df=3.0, mel=0.5, nv=0.0, vasc=1.5)  # innocent images of rare classes too


def of_classes(rng, sizes, generator="adapter"):
    """Innocent scores whose mean depends on the class."""
    dx = np.repeat([*sizes], [*sizes.values()])
    return pd.DataFrame({"generator": generator, "dx": dx, "score": rng.normal([TENDENCY[name] for name in dx])})


def judged(rng, share=0.0, per_class=48):
    """Verdicts of a set of which a share is copied, and a detector that has found such scores in held-out images."""
    of_set = of_classes(rng, dict.fromkeys(HELD_OUT, per_class))
    of_set.loc[rng.permutation(len(of_set))[: round(share * len(of_set))], "score"] = 10.0
    copies = dict.fromkeys(alterations.ALTERATIONS, np.full(30, 10.0))
    return of_set, SimpleNamespace(held_out=of_classes(rng, HELD_OUT), scores=copies)


def refusal(of_set, found, rng, k):
    worst = pd.DataFrame({"split": ["train"] * 24 + ["val"] * 24, "suspicion": rng.normal(size=48)})
    member = disclosure.Membership(0, 0, 0, 0, 0, 0, 0.5, rng.random())
    tests = audit.set_tests(of_set, found, worst, audit.Disclosure(member, {}), k)
    return "is refused" in audit_report.verdict(tests)


def test_an_innocent_set_is_refused_at_the_level_at_most_though_its_classes_are_not_as_frequent_as_in_the_data():
    """Scores depend on the class; by pooled scores a third of these sets would be refused."""
    rng = np.random.default_rng(0)
    assert np.mean([refusal(*judged(rng), rng, k) for k in range(120)]) <= 0.075


def test_a_set_with_five_percent_of_copies_is_refused():
    rng = np.random.default_rng(1)
    assert np.mean([refusal(*judged(rng, 0.05), rng, k) for k in range(10)]) >= 0.9


def test_the_least_share_of_copies_is_what_would_be_found_and_a_small_set_has_none():
    rng = np.random.default_rng(2)
    least = audit.least_share(*judged(rng), seed=0)
    assert 0.01 <= least <= 0.06
    found = [np.mean([refusal(*judged(rng, share), rng, k) for k in range(12)]) for share in (least / 4, least)]
    assert found[0] <= 0.5 < found[1]
    of_set, detector = judged(rng, per_class=2)
    assert np.isnan(audit.least_share(of_set[of_set["dx"] == "df"], detector, seed=0))
    assert "Had 2.5 % of the 336 images been copies" in audit_report._sensitivity(0.025, 336)
    assert "7 images are too few" in audit_report._sensitivity(np.nan, 7)


def test_of_a_large_set_images_of_all_classes_are_attacked(made, monkeypatch):
    """04 writes class by class: the first images of a large set are of one class."""
    run, cases, synthetic, _ = made
    by_class = synthetic[synthetic["generator"] == "adapter"].sort_values("dx")
    released = []

    def originals(images, names):
        released.extend(names)
        raise InterruptedError

    monkeypatch.setattr(audit, "LIMIT", 20)
    monkeypatch.setattr(audit, "Originals", originals)
    with pytest.raises(InterruptedError):
        audit.disclosed(run, cases, by_class, seed=0)
    assert by_class.set_index("image_id").loc[released, "dx"].nunique() >= 6 and len(released) == 20


def test_a_set_that_repeats_itself_is_told_from_real_images_at_equal_n(made):
    run, cases, synthetic, _ = made
    same = synthetic[synthetic["generator"] == "adapter"].reset_index(drop=True)
    pictures = {**run.pictures, **{name: run.pictures["copy0"] for name in same["image_id"][20:]}}
    repeats = audit.repeated(Pictures(pictures), cases, same, seed=0)
    assert repeats.loc["adapter", "rate"] >= 0.5 and repeats.loc["real (train)", "rate"] == 0
