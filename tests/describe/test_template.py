import math
import time

import numpy as np
import pandas as pd
import pytest

from p2d_lib.describe import template
from p2d_lib.models.clip import count_tokens
from p2d_lib.prep.measure import NAMES
from p2d_lib.prep.picture_quality import RULED
from p2d_lib.schemas import DESCRIPTIONS
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.render import CLIP_TOKENS, PRESENT
from p2d_lib.words.wording import Wording, lesions

N = 200
UNMEASURED = {
    "atypical_pigment_network", "atypical_vascular_pattern", "irregular_dots_globules", "irregular_streaks",
    "irregular_blotches", "regression_structures", "lesion_shape_multicomponent", "background_skin_tone",
    "ink_markings",
}  # fmt: skip


@pytest.fixture
def cases() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(N)],
            "dx": np.resize(["mel", "nv"], N),
            "dx_type": np.resize(["histo", "follow_up"], N),
            "age": 50.0,
            "sex": "female",
            "localization": "back",
            "split": np.resize(["train", "train", "train", "test"], N),
            "hair": np.linspace(0, 0.1, N),
            "ruler": np.linspace(0, 25, N),
        }
    )


@pytest.fixture
def measurements(cases) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.uniform(0, 0.3, N) for name in NAMES})
    return table.assign(image_id=cases["image_id"]).iloc[::-1]  # in an order of its own


def test_only_measured_features_are_known(cases, measurements):
    known = template.measured(cases, measurements).notna().mean()
    assert set(known.index[known == 0]) == UNMEASURED
    assert set(known.index[known < 1]) == UNMEASURED | {"evolving"}


def test_scores_rise_with_what_measures_them(cases, measurements):
    scores = template.measured(cases, measurements)
    table = measurements.set_index("image_id").loc[cases["image_id"]]
    for feature, column in {**template.BY_RANK, "light_brown": "light_brown", "blue_whitish_veil": "blue_grey"}.items():
        ordered = scores[feature].to_numpy()[np.argsort(table[column].to_numpy())]
        assert (np.diff(ordered) >= 0).all()
        assert ordered.min() < 0.01
        assert ordered.max() == 1


def test_a_colour_on_a_quarter_of_the_lesion_scores_one_and_none_scores_nothing(cases, measurements):
    measurements.loc[[0, 1, 2], "red"] = [0.0, 0.125, 0.6]
    assert template.measured(cases, measurements)["red"][:3].tolist() == [0, 0.5, 1]


def test_test_images_do_not_shape_the_scale(cases, measurements):
    before = template.measured(cases, measurements)
    test = measurements["image_id"].isin(cases.loc[cases["split"] == "test", "image_id"])
    measurements.loc[test, list(template.BY_RANK.values())] *= 10
    after = template.measured(cases, measurements)
    train = cases["split"] == "train"
    pd.testing.assert_frame_equal(before[train], after[train])


def test_a_lesion_without_mask_stays_unknown_and_its_text_has_diagnosis_site_age_and_sex_only(cases, measurements):
    measurements.loc[0, list(NAMES)] = math.nan
    first = template.describe(cases, measurements).iloc[0]
    assert first[list(FEATURES)].dropna().to_dict() == {"hair_amount": 0, "ruler_presence": 0}
    assert first["text"] == "Melanoma, back, 50-year-old female."


def test_hair_and_ruler_need_no_mask_and_score_as_01_flags_them(cases, measurements):
    measurements[list(NAMES)] = math.nan
    scores = template.measured(cases, measurements)
    for feature in ("hair_amount", "ruler_presence"):  # the fixture's images have more and more of both
        assert (np.diff(scores[feature]) >= 0).all() and scores[feature].max() == 1
    assert ((scores["ruler_presence"] >= PRESENT) == (cases["ruler"] >= RULED)).all()


def test_follow_up_means_that_nothing_evolved_and_other_proofs_leave_it_unknown(cases, measurements):
    evolving = template.measured(cases, measurements)["evolving"]
    assert (evolving[cases["dx_type"] == "follow_up"] == 0).all()
    assert evolving[cases["dx_type"] == "histo"].isna().all()


def test_on_a_phantom_too_the_template_measures_unless_the_truth_is_asked_for(cases, measurements):
    known = cases.assign(true_irregular_streaks=np.resize([0.9, 0.0], N), true_scale=1.0)
    pd.testing.assert_frame_equal(template.describe(known, measurements), template.describe(cases, measurements))
    assert template.has_truth(known) and not template.has_truth(cases)
    with pytest.raises(template.TruthError, match="template_source is 'truth', but the cases have no true_"):
        template.describe(cases, measurements, "truth")


def test_the_truth_is_that_of_the_cases(cases, measurements):
    known = cases.assign(true_irregular_streaks=np.resize([0.9, 0.0], N), true_scale=1.0)
    described = template.describe(known, measurements, "truth")
    assert (described["describer"] == "truth").all()
    assert described["irregular_streaks"].tolist() == known["true_irregular_streaks"].tolist()
    assert described["asymmetry"].isna().all()
    assert described["text"][0] == "Melanoma, back, 50-year-old female. Seen: marked irregular streaks."
    assert (template.describe(cases, measurements)["describer"] == "measured").all()


def test_descriptions_keep_to_their_schema_and_mention_what_they_score(cases, measurements):
    described = DESCRIPTIONS.validate(template.describe(cases, measurements).assign(prompt=""))
    assert described["image_id"].tolist() == cases["image_id"].tolist()
    for name in ("red", "border_irregularity"):
        present, phrase = described[name] >= PRESENT, FEATURES[name].phrase
        assert (described["text"].str.contains(phrase) == present).all()


def test_a_thousand_lesions_are_described_and_worded_in_five_seconds(cases, measurements):
    many = pd.concat([cases.assign(image_id=cases["image_id"] + f"-{k}") for k in range(5)], ignore_index=True)
    rng = np.random.default_rng(0)
    many = many.assign(**{f"true_{name}": rng.random(len(many)) for name in FEATURES})
    started = time.monotonic()
    described = template.describe(many, measurements, "truth")
    Wording("phrases", 8, CLIP_TOKENS).prompts(lesions(many, described), count_tokens, 0, many["image_id"])
    assert len(described) == 1000
    assert time.monotonic() - started < 5
