import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from p2d_lib.describe import comparison, faithfulness, report
from p2d_lib.describe.table import first_images, rows
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.render import PRESENT

N = 300
NAMES = list(FEATURES)


@pytest.fixture
def described() -> tuple[pd.DataFrame, pd.DataFrame]:
    """red tells mel from nv and nothing else, white tells nothing, black is known of half the images."""
    rng, ids = np.random.default_rng(0), [f"i{k}" for k in range(400)]
    cases = pd.DataFrame({"image_id": ids, "dx": np.repeat(["mel", "nv"], 200)})
    table = pd.DataFrame({"image_id": ids, **dict.fromkeys(FEATURES, math.nan)})
    table["red"] = np.repeat([0.8, 0.2], 200)
    table["white"] = rng.uniform(size=400)
    table["black"] = np.where(np.arange(400) % 2, 0.5, math.nan)
    return cases, table.sample(frac=1, random_state=0)


def test_means_by_class_are_those_planted(described):
    result = comparison.by_class(*described)
    assert result.loc["red", ["mel", "nv"]].tolist() == pytest.approx([0.8, 0.2])
    assert result["known"][["red", "black", "asymmetry"]].tolist() == [1, 0.5, 0]
    assert result["akiec"].isna().all()


def test_planted_correlations_are_shown_and_features_that_are_constant_or_unknown_are_left_out(described):
    cases, table = described
    table = table.assign(dark_brown=1 - table["white"] ** 5, ruler_presence=0.2)
    related = comparison.correlations(cases, table)
    assert list(related) == list(related.index) == ["dark_brown", "red", "white", "malignant"]
    assert related.loc["white", "dark_brown"] == pytest.approx(-1)
    assert related.loc["red", "malignant"] == pytest.approx(1) and abs(related.loc["red", "white"]) < 0.15
    axis = report.correlations_figure(related).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["dark brown", "red", "white", "malignant"]


def test_a_feature_that_is_the_class_separates_wholly_and_noise_not(described):
    result = comparison.separation(*described)
    assert result.index[0] == "red"
    assert result["red"] == pytest.approx(1)
    assert result["white"] < 0.02
    assert not {"black", "asymmetry"} & set(result.index)  # constant, unknown


def test_agreement_is_one_in_the_same_order_and_missing_where_one_does_not_know():
    base = pd.DataFrame(dict.fromkeys(FEATURES, math.nan), index=range(50))
    truth = base.assign(red=np.linspace(0, 1, 50), white=np.linspace(0, 1, 50), black=0.3, asymmetry=0.5)
    measured = base.assign(red=np.linspace(0, 1, 50) ** 3, white=np.linspace(1, 0, 50), black=np.linspace(0, 1, 50))
    result = comparison.rank_agreement(truth, measured)
    assert result["feature"].tolist() == ["red", "white"]
    assert result["rho"].tolist() == pytest.approx([1, -1])
    assert (result["n"] == 50).all()
    assert comparison.rank_agreement(base, measured).empty


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    """Two images per lesion; the first two thirds are train images."""
    dx = np.random.default_rng(0).choice(DX, N // 2).repeat(2)
    split = np.where(np.arange(N) < 200, "train", "test")
    lesions = [f"lesion {k // 2}" for k in range(N)]
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(N)], "lesion_id": lesions, "dx": dx, "split": split})


def table(cases: pd.DataFrame, name: str, scores: pd.DataFrame, text=None) -> pd.DataFrame:
    texts = [text or ", ".join(FEATURES[f].phrase for f in NAMES if row[f] >= PRESENT) for _, row in scores.iterrows()]
    return rows(cases["image_id"], name, texts, scores)


@pytest.fixture(scope="module")
def reference(cases) -> pd.DataFrame:
    """Features differ between diagnoses and, within a diagnosis, between lesions."""
    rng = np.random.default_rng(1)
    share = pd.DataFrame(rng.uniform(0.1, 0.9, (len(DX), 22)), index=DX).loc[cases["dx"]].to_numpy()
    present = rng.uniform(size=(N // 2, 22)).repeat(2, axis=0) < share
    return table(cases, "truth", pd.DataFrame(np.where(present, 0.9, 0.1), columns=NAMES))


@pytest.fixture(scope="module")
def seeing(cases, reference) -> pd.DataFrame:
    """AUC 0.9: two normal distributions that far apart."""
    noise = np.random.default_rng(2).standard_normal((N, 22))
    apart = (reference[NAMES] >= PRESENT) * math.sqrt(2) * norm.ppf(0.9)
    return table(cases, "seeing", pd.DataFrame(norm.cdf(noise + apart), columns=NAMES))


@pytest.fixture(scope="module")
def compared(cases, reference, seeing) -> comparison.Comparison:
    means = comparison.by_class(cases[cases["split"] == "train"], reference)
    by_dx = means.T.loc[cases["dx"], NAMES].reset_index(drop=True)
    dull = table(cases, "dull", by_dx, "Melanocytic nevus. Colors: red.")
    refusing = rows(cases["image_id"], "refusing", ["[refused] Sorry."] * N, [{}] * N, False)
    return comparison.compare(cases, [reference, seeing.sample(frac=1, random_state=0), dull, refusing], reference)


def test_all_are_compared_on_test_images_in_one_order_and_the_reference_is_no_competitor(cases, compared):
    assert list(compared.others) == ["seeing", "dull", "refusing"]
    test = cases.loc[cases["split"] == "test", "image_id"].tolist()
    assert all(table["image_id"].tolist() == test for table in compared.describers.values())


def test_faithfulness_recovers_what_was_planted(compared):
    result = comparison.faithfulness_table(compared).set_index("describer")
    assert result.index.tolist() == ["seeing", "dull", "refusing", "class prior"]
    assert result["features"].tolist() == [22, 22, 0, 22]
    assert result.loc["seeing", "auc"][0] == pytest.approx(0.9, abs=0.02)
    assert result.loc["seeing", "ahead"][1] > 0 and result.loc["seeing", "loss"][1] > 0.1
    assert result.loc["dull", "auc"] == result.loc["class prior", "auc"]
    assert result.loc["dull", "ahead"] == result.loc["dull", "loss"] == (0, 0, 0)
    assert math.isnan(result.loc["refusing", "auc"][0])
    printed = report.agreement_table(result.reset_index()).set_index("describer")
    assert printed.loc["refusing", "AUC"] == printed.loc["class prior", "AUC lost by exchange"] == "–"
    assert printed.loc["seeing", "AUC"].startswith("0.9")


def test_texts_are_compared_with_those_of_the_reference(compared):
    result = comparison.texts_table(compared, {"perplexity": {"dull": 2.5}}).set_index("describer")
    assert result.index.tolist() == ["truth", "seeing", "dull", "refusing"]
    assert result.loc["truth", ["BLEU-4", "CIDEr-D"]].isna().all()
    assert result.loc["seeing", "CIDEr-D"] > result.loc["dull", "CIDEr-D"]
    assert result.loc["dull", ["perplexity", "self-BLEU", "coverage"]].tolist() == pytest.approx([2.5, 1, 1 / 22])
    assert "BERTScore F1" not in result and result["perplexity"].notna().sum() == 1


def test_by_feature_the_aucs_stand_side_by_side(compared):
    result = comparison.attributes_table(compared)
    assert result.columns.tolist() == ["n", "present", "AUC seeing", "AUC dull", "AUC refusing", "AUC class prior"]
    assert (result["AUC seeing"] > 0.7).all() and result["AUC refusing"].isna().all()
    assert result["AUC seeing"].is_monotonic_decreasing


def test_a_describer_that_leaves_an_image_out_is_named(cases, reference, seeing):
    gap = seeing[~seeing["image_id"].isin(["i207", "i209"])]
    with pytest.raises(ValueError, match=r"describer 'seeing' describes i207 0 times \(2 of 100"):
        comparison.compare(cases, [gap], reference)
    kept = cases.loc[~cases["image_id"].isin(["i207", "i209"]), "image_id"]
    assert len(comparison.compare(cases, [gap], reference, kept).cases) == 98


def test_a_reference_that_knows_nothing_gives_an_empty_table_and_a_sentence(cases, seeing):
    unknown = rows(cases["image_id"], "measured", ["Melanoma."] * N, [{}] * N)
    nothing = comparison.compare(cases, [unknown, seeing], unknown)
    table = comparison.faithfulness_table(nothing)
    assert table.empty
    assert report.agreement_findings(nothing, table, comparison.rank_agreement(unknown, unknown)) == [
        report.NOTHING_KNOWN
    ]


def test_findings_state_who_describes_more_than_the_diagnosis(compared):
    seeing, dull, refusing = report.agreement_findings(
        compared, comparison.faithfulness_table(compared), pd.DataFrame()
    )
    assert seeing.startswith("“seeing” describes more than the diagnosis: mean AUC over 22 features against “truth”")
    assert seeing.endswith("], Holm p < 0.001.")
    assert dull.startswith("“dull” is not shown to describe more than the diagnosis") and dull.endswith("= 1.000.")
    assert refusing == "“refusing” scores no feature that varies among the test images: nothing can be compared."


def test_of_four_describers_that_know_as_much_as_the_class_prior_any_is_called_better_at_the_level_of_one_test():
    """A single test is one-sided at 2.5 %. By its own interval one of four would be called better in 11 %."""
    rng, announced = np.random.default_rng(1), []

    def of_five(scores):
        return pd.DataFrame(scores, columns=NAMES[:5]).reindex(columns=NAMES)

    def scored(apart):
        return of_five(norm.cdf(rng.standard_normal((120, 5)) + apart * math.sqrt(2) * norm.ppf(0.75)))

    for seed in range(40):
        present = rng.uniform(size=(60, 5)).repeat(2, axis=0) < 0.4
        truth, prior, lesions = of_five(np.where(present, 0.9, 0.1)), scored(present), np.arange(60).repeat(2)
        ahead = {
            name: tuple(faithfulness.compare(scored(present), prior, truth, lesions, 100, seed)["auc"][:3])
            for name in "abcd"
        }
        table = pd.DataFrame({"describer": ahead.keys(), "features": 5, "ahead": ahead.values()})
        of_four = SimpleNamespace(others=ahead, reference_name="truth")
        lines = report.agreement_findings(of_four, table, pd.DataFrame())
        announced.append(any("describes more" in line for line in lines))
    assert np.mean(announced) <= 0.075  # 2.5 % and two standard errors


def test_findings_count_what_was_refused_and_what_was_paid(compared, seeing):
    account = {"replies": 60, "input_tokens": 60_000, "output_tokens": 24_000, "cost": 0.0624}
    refusing = compared.others["refusing"]
    of_form = refusing.assign(describer="form", text=["[unfilled] {}"] * 99 + ["[no JSON] Yes."])
    lines = report.reply_findings([refusing, of_form, seeing], account, "toytext")
    assert lines == [
        "“refusing” gives no valid description of 100 of 100 images (100 refused).",
        "“form” gives no valid description of 100 of 100 images (1 without JSON, 99 returned unfilled).",
        "“toytext” has sent 60 replies: 60,000 tokens in, 24,000 out, 0.0624 USD.",
    ]


def test_the_first_images_are_those_of_test_then_val_then_train(cases):
    subset = cases.assign(split=np.resize(["train", "val", "test"], N))
    assert set(first_images(subset, 100)["split"]) == {"test"}
    assert first_images(subset, 150)["split"].value_counts().to_dict() == {"test": 100, "val": 50}
    assert first_images(subset, 0).equals(subset)
    assert first_images(subset, 150).index.is_monotonic_increasing
    of_train = first_images(subset, 200 + 2 * subset["dx"].nunique()).query("split == 'train'")
    assert set(of_train["dx"].value_counts()) == {2}, "classes take turns"


def test_seven_images_with_three_texts_each_fill_less_than_a_page_of_lncs():
    text = "dermoscopic image of melanoma, marked atypical pigment network, irregular streaks, black and white colors"
    texts = pd.DataFrame(
        {name: [text, f"{text}, {text}", *[text] * 4, None] for name in ("prompt", "reference", "captioner")}
    )
    figure = report.captioned(np.zeros((7, 8, 8, 3), np.uint8), texts)
    assert figure.get_figheight() <= 7.2
    figure.draw_without_rendering()
    for axis in figure.axes[1::2]:
        boxes = [words.get_window_extent() for words in axis.texts[1::2]]
        assert all(below.y1 <= above.y0 for above, below in itertools.pairwise(boxes))
        assert max(box.x1 for box in boxes) <= figure.bbox.x1
