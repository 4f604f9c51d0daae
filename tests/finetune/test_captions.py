"""Caption augmentation: variants differ in their captions alone, and a claim is made where a planted effect is."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_run import make_run, tiny_parameters

from p2d_lib.finetune import caption_claims, captions, pixel_baselines, report_captions
from p2d_lib.finetune.stages import Stages
from p2d_lib.finetune.training_set import Split
from p2d_lib.instruments import distances
from p2d_lib.models.pixel_baselines import TextEncoder
from p2d_lib.parameters import ParameterError
from p2d_lib.run import Run
from p2d_lib.words.parse import parse
from p2d_lib.words.wording import Wording

VARIANTS = ["scratch-unet", "scratch-unet+rewritten+entropy"]
REAL = 40  # images


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study of two variants at two steps; red is on 10 train images, hair on 6, asymmetry on 2."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    make_run("captions")
    run = Run("captions", "02_describe")
    cases, table = run.read("cases"), run.read("descriptions")
    scores = [name for name in table.columns if table[name].dtype == float and name not in ("seconds", "cost")]
    table[scores] = 0.0
    for name, n in (("red", 10), ("hair_amount", 6), ("asymmetry", 2)):
        table.loc[: n - 1, name] = 0.9
    Run("captions", "01_prep").write("cases", cases.assign(entropy=np.arange(len(cases)) / 4.0))
    run = Run("captions", "02_describe")
    run.read("cases")  # which the descriptions are made from
    run.write("descriptions", table)
    changes = {"caption_study": VARIANTS, "caption_seeds": 1, "caption_steps": 2, "caption_concepts": 2}
    p = tiny_parameters(**changes, caption_entropy=0.25)
    stages = Stages(Run("captions", "03_finetune"), p, torch.device("cpu"))
    return captions.CaptionStudy(stages, Wording("phrases", 8, 62))


def test_each_option_changes_the_captions_or_the_images_and_nothing_else(study):
    text, plain = TextEncoder("tiny"), study.stages.train.prompts
    assert study.captions([], text) == plain == study.captions(["entropy", "encoder"], text)
    rewritten, concepts = study.captions(["rewritten"], text), study.captions(["concepts"], text)
    assert rewritten != plain and all(text.takes(caption) for caption in rewritten)
    assert study.concepts == ("red", "hair_amount")
    assert {parse(caption).asymmetry for caption in concepts} == {0.0}
    assert [parse(caption).red > 0 for caption in concepts] == [True] * 10 + [False] * 4
    entropy = study.stages.train.cases["entropy"]
    assert study.rows(["rewritten"]).tolist() == list(range(14))
    assert entropy[study.rows(["entropy"])].min() > np.sort(entropy)[2], "a quarter of 14 is left out"


def test_a_study_is_trained_once_and_its_tables_say_at_which_budget(study, monkeypatch):
    read, fit_stage = [], pixel_baselines.fit_stage
    monkeypatch.setattr(captions, "EVALUATED", 3)
    monkeypatch.setattr(
        pixel_baselines, "fit_stage", lambda *args: read.append(len(args[-1].held_out.latents)) or fit_stage(*args)
    )
    trained = study.train()
    assert read == [3, 3], "of 7 val images, so many are read at each evaluation"
    assert [one.variant for one in trained] == VARIANTS and [one.n_train for one in trained] == [14, 10]
    assert trained[0].changed == 0 < trained[1].changed
    monkeypatch.setattr(captions.CaptionStudy, "_fit", None)  # a finished training is not fitted again
    again = study.train()
    for one, other in zip(trained, again, strict=True):
        assert one.seconds == other.seconds and (one.features["plain"] == other.features["plain"]).all()
    table = report_captions.captions_table(trained, study)
    assert table["images seen"].tolist()[:2] == [8, 8] and table["train images"].tolist()[:2] == [14, 10]
    kids, frechets = (table[f"{name}, plain prompts"].astype(float) for name in ("KID", "Fréchet distance"))
    assert table["network"].iloc[2] == "real train images" and str(table["steps"].dtype) == "Int64"
    assert kids[2] < kids[:2].min() and frechets[2] < frechets[:2].min(), "noise after two steps is further away"
    assert len(study.real) == 7 and caption_claims.contrasts(VARIANTS) == []
    lines = report_captions.findings(trained, caption_claims.claims(trained, study.real))
    assert len(lines) == 1 and "of 2 trainings have flattened" in lines[0]
    assert json.dumps(asdict(study.wording))


def test_lesions_are_chosen_at_random_and_give_one_image_each():
    lesion = np.repeat(["a", "b", "c", "d"], [5, 1, 1, 1])
    split = Split(pd.DataFrame({"lesion_id": lesion}), np.zeros((8, 1, 1, 3), np.uint8))
    chosen = [split.one_of_a_lesion(3, np.random.default_rng(seed)) for seed in range(60)]
    assert (
        all(len({*lesion[rows]}) == 3 for rows in chosen)
        and len(split.one_of_a_lesion(9, np.random.default_rng(0))) == 4
    )
    assert {row for rows in chosen for row in rows.tolist()} == set(range(8))


def test_variants_that_differ_in_one_thing_are_compared():
    variants = [
        "scratch-unet",
        "scratch-unet+rewritten",
        "scratch-vgg16-unet+rewritten",
        "scratch-unet+rewritten+concepts",
    ]
    assert caption_claims.contrasts(variants) == [
        ("rewritten", "scratch-unet+rewritten", "scratch-unet"),
        ("scratch-vgg16-unet", "scratch-vgg16-unet+rewritten", "scratch-unet+rewritten"),
        ("concepts", "scratch-unet+rewritten+concepts", "scratch-unet+rewritten"),
    ]


@pytest.mark.parametrize("name", ["cascade", "scratch-unet+shorter", "scratch-unet+rewritten+rewritten"])
def test_a_variant_that_is_none_is_refused(name):
    with pytest.raises(ParameterError, match="scratch-unet or scratch-vgg16-unet"):
        tiny_parameters(caption_study=[name])


def simulated(rng, shift=0.0, skill=0.1, n_seeds=3):
    """Trainings of two variants whose images lie 1 + a training's luck from real ones, the second shift further."""
    real, trained = rng.normal(size=(REAL, 16)), []
    for variant, more in (("scratch-unet+rewritten", 0.0), ("scratch-unet", shift)):
        for k in range(n_seeds):
            centres = {prompts: 1 + more + skill * rng.normal() for prompts in ("plain", "rewritten")}
            features = {prompts: rng.normal(centre, size=(REAL, 16)) for prompts, centre in centres.items()}
            log = pd.DataFrame({"steps": [10, 20, 30, 40], "val_loss": [4.0, 2.0, 1.01, 1.0]})
            trained.append(captions.Trained(variant, k, 100, 0.0, log, 1.0, features))
    return trained, real


def test_the_frechet_distance_of_trainings_is_that_of_their_shift_and_its_interval_is_wider_with_their_luck():
    rng, widths = np.random.default_rng(3), []
    real = rng.normal(size=(400, 16))
    floor = caption_claims.distance(real, [rng.normal(size=(400, 16)) for _ in range(3)], distances.frechet)
    assert floor.estimate < 1 and floor.low < 0.6
    for luck in (0.0, 0.2):
        of_seeds = [rng.normal(1 + luck * (k - 1), size=(400, 16)) for k in range(3)]
        low, high = caption_claims.distance(real, of_seeds, distances.frechet)[1:]
        assert low < 16 * (1 + luck**2 * 2 / 3) + floor.estimate < high
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_a_planted_gain_of_rewritten_captions_is_found_and_no_gain_in_few_studies():
    rng = np.random.default_rng(0)
    table = caption_claims.claims(*simulated(rng, shift=0.6, skill=0.02))
    assert table["announced"].all() and (table["high"] < 0).all() and set(table["what"]) == {"rewritten"}
    announced = [caption_claims.claims(*simulated(rng))["announced"].any() for _ in range(40)]
    assert np.mean(announced) <= 0.15  # 6 % and two standard errors


@pytest.mark.parametrize(("n", "level"), [(2, caption_claims.FALSE_ALARMS), (3, 0.06), (5, 0.05)])
@pytest.mark.parametrize("luck", [0.0, 1.0, 20.0, 50.0, 100.0, 1e6])
def test_fourteen_claims_keep_the_level_that_findings_name_however_much_trainings_differ(n, level, luck):
    """luck: the variance over trainings, where that over images is 1. Holm's first step decides if any is announced."""
    rng, shape, images = np.random.default_rng(0), (14, 8000), caption_claims.GROUPS - 1
    of_images, of_trainings = (part * rng.chisquare(k, shape) / k for part, k in ((1.0, images), (luck, n - 1)))
    off = np.abs(rng.normal(0, np.sqrt(1 + luck), shape)) / np.sqrt(of_images + of_trainings)
    announced = (off > caption_claims.limit(0.05 / 14, of_images, of_trainings, n)).any(0)
    assert announced.mean() <= level + 2 * np.sqrt(level * (1 - level) / 8000)


def test_p_is_at_most_5_percent_where_the_interval_excludes_0_and_nowhere_else():
    rng, shown = np.random.default_rng(5), []
    for shift in (0.0, 0.02, 0.05, 0.1, 0.3):
        table = caption_claims.claims(*simulated(rng, shift, skill=0.02))
        assert ((table["p"] <= 0.05) == (table["low"] > 0) | (table["high"] < 0)).all()
        shown += list(table["p"] <= 0.05)
    assert 0 < sum(shown) < len(shown)


def test_with_two_trainings_the_findings_say_that_the_level_is_not_kept_and_with_three_they_need_not():
    for n_seeds, says in ((2, ["With two trainings of each variant a claim is announced in up to 13%"]), (3, [])):
        trained, real = simulated(np.random.default_rng(2), 0.6, n_seeds=n_seeds)
        lines = report_captions.findings(trained, caption_claims.claims(trained, real))[2:]
        assert len(lines) == len(says) and all(line.startswith(begin) for line, begin in zip(lines, says, strict=True))


def test_the_finding_can_come_out_each_way():
    rng = np.random.default_rng(1)
    for shift, says in ((0.6, "yes (scratch-unet+rewritten"), (-0.6, "no, further away ("), (0.0, "not shown (")):
        trained, real = simulated(rng, shift, 0.02, n_seeds=5)
        lines = report_captions.findings(trained, caption_claims.claims(trained, real))
        assert says in lines[1], lines
        assert (
            lines[0].startswith("Caption study: the loss on val changes by -1.0% to -1.0%") and "10 of 10" in lines[0]
        )


def test_the_last_quarter_is_one_of_the_steps_whatever_the_number_of_readings():
    steps = [*range(187, 1500, 187), 1500]  # of 1,500 steps, eight readings and one at the end
    log = pd.DataFrame({"steps": steps, "val_loss": [8.0, 7.0, 6.0, 5.0, 4.0, 1.0, 0.98, 0.96, 0.96]})
    one = captions.Trained("scratch-unet", 0, 100, 0.0, log, 1.0, {})
    assert report_captions.last_quarter(one) == pytest.approx(-0.04)


def test_with_one_training_there_is_no_interval_and_no_claim():
    trained, real = simulated(np.random.default_rng(2), 0.6, n_seeds=1)
    table = caption_claims.claims(trained, real)
    assert table["p"].isna().all() and not table["announced"].any() and table["difference"].lt(0).all()
