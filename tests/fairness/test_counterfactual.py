"""A network that reads skin tone is noticed on counterfactual pairs; one that looks at the lesion alone is not."""

from functools import cache

import cohorts
import numpy as np
import pandas as pd
import pytest

from p2d_lib.fairness import counterfactual, counterfactual_report
from p2d_lib.readings import counterfactual_images, readings
from p2d_lib.sample import pair_check
from p2d_lib.vocabulary import DX, MALIGNANT

ARMS, SEEDS = ("real", "mixed"), 3
SAME_HAIR = f"hair{counterfactual.SAME}"


def _pairs(n=60, of_each=2):
    """n pairs that differ in skin tone, n in hair, of_each of each lesion; four noises of n / 2 other prompts."""
    rows = [
        {
            "pair_id": f"{attribute}_{k}",
            "side": side,
            "attribute": attribute,
            "value": value,
            "dx": DX[k // of_each % 7],
        }
        | {"prompted_by": f"case{k // of_each}", "accepted": True, "reason": ""}
        for attribute, values in (("skin_tone", ("fair skin", "dark skin")), ("hair", ("no hair", "hair")))
        for k in range(n)
        for side, value in zip("ab", values, strict=True)
    ]
    repeated = [
        {"image_id": f"worst_{k}_{j}", "dx": DX[k % 7], "prompted_by": f"other{k}"}
        for k in range(n // 2)
        for j in range(4)
    ]
    names = [f"{kind}{k}" for kind in ("case", "other") for k in range(n)]
    cases = pd.DataFrame({"image_id": names, "lesion_id": [f"lesion of {name}" for name in names]})
    return pd.DataFrame(rows), pd.DataFrame(repeated), cases


@pytest.mark.parametrize("n_noises", [2, 3, 4])
def test_control_pairs_are_of_one_prompt_whatever_the_number_of_its_noises(n_noises):
    changed, repeated, cases = _pairs()
    repeated = repeated[repeated["image_id"].str[-1].astype(int) < n_noises]
    control = counterfactual.pairs(changed, repeated, cases).query("attribute == 'another noise'")
    prompts = repeated.set_index("image_id")["prompted_by"]
    n_of_prompts = repeated["prompted_by"].value_counts()
    assert (control["first"].map(prompts) == control["second"].map(prompts)).all()
    assert len(control) == (n_of_prompts // 2).sum() and not set(control["first"]) & set(control["second"])


@cache
def _planted(n=60, of_each=2):
    """The images of `_pairs`, and the pairs that are compared."""
    pairs, repeated, cases = _pairs(n, of_each)
    images = pd.concat([counterfactual_images(pairs), repeated], ignore_index=True)
    return images, counterfactual.pairs(pairs, repeated, cases)


def _network(images, seed, arm, of_tone=0.0, of_lesions=0.0):
    """Logits of the lesion in an image, the same for both sides but for a little noise, less malignant on dark skin.

    of_lesions: how much more malignant each prompt's lesion is on one of both skins, as a standard deviation around 0,
    shared by all networks of an arm: it is no shift, and only whole lesions show that.
    """
    rng = np.random.default_rng([seed, len(arm)])
    lesion = images["pair_id"].fillna(images["image_id"]).factorize()[0]
    logits = 1.5 * rng.normal(size=(lesion.max() + 1, 7))[lesion] + 0.2 * rng.normal(size=(len(images), 7))
    logits[np.arange(len(images)), images["dx"].map(DX.index)] += 1
    malignant = [DX.index(dx) for dx in MALIGNANT]
    lean = np.random.default_rng([seed // 100, len(arm)]).normal(0, 1, images["prompted_by"].nunique())
    lean = of_lesions * lean[images["prompted_by"].factorize()[0], None]
    for value, sign in (("fair skin", 1), ("dark skin", -1)):
        side = images["value"].eq(value).to_numpy()
        logits[np.ix_(side, malignant)] += sign * lean[side] - of_tone * (sign < 0)
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    return readings(images["image_id"], "net", "network", p=p, arm=arm, seed=seed)


def _compared(trial=0, n=60, min_n=10, n_resamples=400, of_lesions=0.0, of_each=2, **of_tone):
    images, of_pairs = _planted(n, of_each)
    networks = [
        _network(images, 100 * trial + seed, arm, of_tone.get(arm, 0.0), of_lesions)
        for arm in ARMS
        for seed in range(SEEDS)
    ]
    return counterfactual.compare(pd.concat(networks), of_pairs, min_n, ARMS, n_resamples, seed=0)


def test_a_network_that_reads_skin_tone_flips_and_one_that_looks_at_the_lesion_alone_does_not():
    table = _compared(real=3.0)
    tone = {arm: cohorts.row(table, attribute="skin_tone", arm=arm, quantity="P(malignant)") for arm in ARMS}
    assert tone["real"]["p_holm"] <= 0.05 and tone["real"]["high"] < -0.15
    assert tone["mixed"]["p_holm"] > 0.05 and tone["mixed"]["low"] < 0 < tone["mixed"]["high"]
    flips = {
        (attribute, arm): cohorts.row(table, attribute=attribute, arm=arm, quantity="flip rate")
        for attribute in ("skin_tone", "hair", counterfactual.CONTROL)
        for arm in ARMS
    }
    assert flips["skin_tone", "real"]["low"] > flips["skin_tone", "mixed"]["high"]
    for quiet in (("skin_tone", "mixed"), ("hair", "real"), ("hair", "mixed")):
        assert flips[quiet]["high"] < flips[counterfactual.CONTROL, quiet[1]]["low"], "two lesions flip more often"
    assert table.loc[table["attribute"] == counterfactual.CONTROL, "p"].isna().all(), "the control is no test"
    others = table[(table["attribute"] != "skin_tone") | (table["arm"] == "mixed")]
    assert not (others["p_holm"] <= 0.05).any()


def test_a_shift_of_known_size_is_recovered():
    """The shift of P(malignant) that the logits make, over 2,000 pairs."""
    images, of_pairs = _planted(2000)
    network = pd.concat([_network(images, 7 + seed, "real", 1.0) for seed in range(SEEDS)])
    truth = counterfactual.compare(network, of_pairs, 10, ["real"], 50, seed=0)
    size = cohorts.row(truth, attribute="skin_tone", quantity="P(malignant)")["estimate"]
    assert -0.25 < size < -0.1
    rows = [
        cohorts.row(_compared(trial, real=1.0), attribute="skin_tone", arm="real", quantity="P(malignant)")
        for trial in range(1, 31)
    ]
    assert np.mean([row["low"] <= size <= row["high"] for row in rows]) >= 0.83
    assert np.mean([row["estimate"] for row in rows]) == pytest.approx(size, abs=0.025)


def _selected(seed, effect, n=1500):
    """Flip rates of n pairs and n control pairs whose lesions change by one law, read by one network.

    effect: what hair adds to the logit of melanoma in 40 % of the pairs, for the network and for the readout that
    accepts the pairs no further apart than the median of the control.
    """
    rng, hairy = np.random.default_rng(seed), np.zeros((n, 7))
    hairy[rng.random(n) < 0.4, DX.index("mel")] = effect
    sides, apart = [], []
    for added in (hairy, 0):
        lesion = 1.5 * rng.normal(size=(n, 7))
        change = rng.choice([0.3, 1.5], (n, 1)) * rng.normal(size=(n, 7)) + added
        sides += [lesion, lesion + change]
        apart.append(np.sqrt(((change + 0.3 * rng.normal(size=(n, 7))) ** 2).mean(axis=1)))
    accepted, numbers = np.repeat(apart[0] <= np.median(apart[1]), 2), np.repeat(range(n), 2)
    pair = {"pair_id": [f"hair_{k}" for k in numbers], "side": ["a", "b"] * n, "attribute": "hair", "value": "hair"}
    reason = np.where(accepted, "", pair_check.OTHER_READING)
    about = {"dx": "mel", "prompted_by": [f"case{k}" for k in numbers]}
    pairs = pd.DataFrame({**pair, **about, "accepted": accepted, "reason": reason})
    repeated = pd.DataFrame({"image_id": [f"w{k}" for k in range(2 * n)], **about})
    names = pd.DataFrame({"image_id": [f"case{k}" for k in range(n)], "lesion_id": range(n)})
    ids = [*counterfactual_images(pairs)["image_id"], *repeated["image_id"]]
    logits = np.concatenate([np.stack(sides[k : k + 2], axis=1).reshape(-1, 7) for k in (0, 2)])
    p = np.exp(logits + 0.2 * rng.normal(size=logits.shape))
    network = readings(ids, "net", "network", p=p / p.sum(axis=1, keepdims=True), arm="real", seed=0)
    table = counterfactual.compare(network, counterfactual.pairs(pairs, repeated, names), 10, ["real"], 200, seed=0)
    return table[table["quantity"] == "flip rate"].set_index("attribute")


def test_where_lesions_change_alike_flips_are_as_frequent_as_in_the_control_but_not_of_pairs_that_read_the_same():
    studies = [_selected(seed, 0.0)["estimate"] for seed in range(8)]
    of_pairs, of_same, control = np.array([study[["hair", SAME_HAIR, counterfactual.CONTROL]] for study in studies]).T
    error = np.sqrt((of_pairs - control).var(ddof=1) / len(studies))
    assert abs((of_pairs - control).mean()) < 3 * error and error < 0.01
    assert (control - of_same).mean() > 0.05, "chosen by nearly the outcome"


def test_an_effect_of_an_attribute_on_readout_and_network_alike_is_recovered_from_all_pairs_that_count():
    truth = _selected(100, 3.0, 20_000).loc["hair", "estimate"]
    plain, planted = _selected(1, 0.0), _selected(1, 3.0)
    assert planted.loc["hair", "low"] < truth < planted.loc["hair", "high"]
    assert planted.loc["hair", "low"] > planted.loc[counterfactual.CONTROL, "high"]
    assert truth > plain.loc["hair", "estimate"] + 0.05 and planted.loc[SAME_HAIR, "high"] < truth


def test_where_only_lesions_are_read_a_shift_is_announced_in_at_most_one_study_of_twenty():
    announced = [
        (_compared(trial, 120, n_resamples=200, of_lesions=1.0, of_each=4)["p_holm"] <= 0.05).any()
        for trial in range(60)
    ]
    assert sum(announced) <= 7  # 3 are expected; more than 7 have a chance of 1 in 60


def test_few_pairs_refused_pairs_and_no_pairs_are_said():
    table = _compared(n=8)
    assert table["estimate"].isna().all() and table["p"].isna().all()
    assert set(counterfactual_report.table(table)["flip rate"]) == {"n too small"}
    lines = counterfactual_report.findings(table, 10)
    assert "8 pairs of 4 lesions show their change and 10 lesions are needed" in lines[0]
    pairs, repeated, cases = _pairs(20)
    refused = counterfactual.pairs(pairs.assign(accepted=False, reason=pair_check.OTHER_LESION), repeated, cases)
    assert set(refused["attribute"]) == {counterfactual.CONTROL} and len(refused) == 20
    none = counterfactual.compare(_network(_planted(20)[0], 0, "real"), refused[:0], 10, ["real"], seed=0)
    printed = counterfactual_report.table(none)
    assert len(printed) == 0 and list(printed) == list(counterfactual_report.table(table))
    assert counterfactual_report.findings(none, 10) == [
        "04 has sampled no counterfactual pair that shows its change, so nothing is said of them."
    ]


def test_a_pair_counts_unless_it_fails_more_than_the_last_question_of_04():
    pairs, repeated, cases = _pairs(8)
    fails = {"hair_0": pair_check.OTHER_READING, "hair_1": pair_check.UNCHANGED, "hair_2": pair_check.OTHER_LESION}
    reason = pairs["pair_id"].map(fails).fillna("")
    kept = counterfactual.pairs(pairs.assign(accepted=reason == "", reason=reason), repeated, cases)
    numbers = kept.groupby("attribute")["first"].agg(lambda names: {name.split("_")[-2] for name in names})
    assert numbers["hair"] == set("034567") and numbers[SAME_HAIR] == set("34567")
    assert len(numbers["skin_tone"]) == len(numbers["skin_tone" + counterfactual.SAME]) == 8


def test_the_sides_and_the_control_are_what_04_sampled():
    pairs, repeated, cases = _pairs(4)
    rows = counterfactual.pairs(pairs.sample(frac=1, random_state=0), repeated, cases)
    tone = rows[rows["attribute"] == "skin_tone"]
    assert set(tone["change"]) == {"fair skin → dark skin"}
    assert set(zip(tone["first"], tone["second"], strict=True)) == {
        (f"skin_tone_{k}_a", f"skin_tone_{k}_b") for k in range(4)
    }
    control = rows[rows["attribute"] == counterfactual.CONTROL]
    assert list(zip(control["first"], control["second"], strict=True))[:2] == [
        ("worst_0_0", "worst_0_1"), ("worst_0_2", "worst_0_3"),
    ]  # fmt: skip
    assert set(control["lesion_id"]) == {"lesion of other0", "lesion of other1"}


def test_an_image_that_a_network_has_not_read_is_named():
    images, of_pairs = _planted(20)
    lacking = _network(images, 0, "real")
    lacking = lacking[lacking["image_id"] != "hair_3_b"]
    with pytest.raises(ValueError, match="arm 'real' has not read image 'hair_3_b'"):
        counterfactual.compare(lacking, of_pairs, 5, ["real"], 20, seed=0)


def test_the_table_and_the_findings_print_what_was_compared():
    table = _compared(real=3.0)
    printed = counterfactual_report.table(table)
    attributes = ["skin tone", "skin tone, lesion reads the same", "hair", "hair, lesion reads the same"]
    assert printed["what differs"].tolist() == np.repeat([*attributes, "another noise"], len(ARMS)).tolist()
    text = " ".join(counterfactual_report.findings(table, 10))
    assert "**P(malignant) falls with the skin tone** (fair skin → dark skin), arm real" in text
    assert "60 pairs of 30 lesions" in text and "two noises of one prompt:" in text
    assert text.count("where the lesion reads the same: ") == 5
    few = table.assign(estimate=table["estimate"].mask(table["attribute"].str.endswith(counterfactual.SAME)))
    assert "where the lesion reads the same: n too small" in " ".join(counterfactual_report.findings(few, 10))


def test_the_figure_says_how_many_pairs_and_which_attribute_has_too_few():
    table = _compared(real=3.0)
    few = table.assign(estimate=table["estimate"].mask(table["attribute"].str.startswith("hair")))
    labels = [text.get_text() for text in counterfactual_report.figure(few).axes[0].get_yticklabels()]
    assert labels[0] == "skin tone\n60 pairs, 30 lesions" and labels[2] == "hair\n60 pairs, 30 lesions\nn too small"
    assert labels[1].startswith("skin tone\nlesion reads the same\n") and len(labels) == 4


def test_flips_on_which_all_lesions_agree_have_the_exact_interval():
    table = _compared()
    none = (table["attribute"] == "hair") & (table["arm"] == "real") & (table["quantity"] == counterfactual.FLIPS)
    table.loc[none, ["n_lesions", "estimate", "low", "high"]] = 11, 0.0, 0.0, 0.0
    printed = counterfactual_report.table(table).set_index(["what differs", "arm"])["flip rate"]
    assert printed["hair", "real"] == "0.00 [0.00, 0.28]"  # 1 - 0.025 ** (1 / 11)
    others = counterfactual_report.table(_compared()).set_index(["what differs", "arm"])["flip rate"]
    assert printed.drop(("hair", "real")).equals(others.drop(("hair", "real")))
