"""Synthetic images help when there is something in them, and an interrupted comparison goes on where it stopped."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib import images
from p2d_lib.classify import comparison, image_sets, protocol, report, variants
from p2d_lib.models import classifiers
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.wording import Wording

HUES = np.random.default_rng(5).integers(40, 216, (7, 3))
TRAIN = {"nv": 60, "mel": 30, "bkl": 30, "vasc": 6}  # and no df
TEST = {"nv": 20, "mel": 20, "bkl": 20, "vasc": 20, "df": 20}


def disc(rng, dx):
    y, x = np.mgrid[:32, :32] - 16
    colour = np.where((x**2 + y**2 < 100)[..., None], HUES[DX.index(dx)], 200)
    return (colour + rng.normal(0, 15, (32, 32, 3))).clip(0, 255).astype(np.uint8)


def noise(rng, dx):
    return rng.integers(0, 256, (32, 32, 3), np.uint8)


def write(run, folder, counts, picture, **columns):
    rng, rows = np.random.default_rng(len(folder)), []
    (run.folder / folder).mkdir(parents=True)
    for dx, n in counts.items():
        for i in range(n):
            path = f"{folder}/{dx}{i}.png"
            images.save(run.folder / path, picture(rng, dx))
            rows.append(
                {"image_id": f"{folder}_{dx}{i}", "path": path, "sha256": f"{folder}{dx}{i}", "dx": dx, **columns}
            )
    return pd.DataFrame(rows)


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Runs a small comparison in a home of its own, with synthetic images that `picture` makes."""

    def run_it(picture=disc, home="home", others=(), **changes):
        monkeypatch.setenv("P2D_HOME", str(tmp_path / home))
        run = Run("test", "06_classify")
        if not (run.folder / "train").exists():
            cases = [write(run, split, n, disc, split=split) for split, n in (("train", TRAIN), ("test", TEST))]
            made = write(run, "synthetic", dict.fromkeys(TEST, 12), picture, accepted=True, generator="adapter")
            pd.concat(cases).to_pickle(run.folder / "cases.pkl")
            made.to_pickle(run.folder / "made.pkl")
        cases, made = (pd.read_pickle(run.folder / f"{name}.pkl") for name in ("cases", "made"))
        collected = image_sets.collect(run, cases, made, *others)
        settings = {
            "arms": ["real", "mixed"], "backbone": "tiny_resnet", "seeds": 2, "steps": 40, "batch_size": 16,
            "learning_rate": 3e-3, "synthetic_share": 0.5, "seed": 0,
        }  # fmt: skip
        settings = protocol.Protocol(**{**settings, **changes})
        return run, cases, protocol.train_and_read(run, collected, settings, torch.device("cpu"))

    return run_it


def recall_of_df(cases, readings):
    df = readings[readings["image_id"].isin(cases.loc[cases["dx"] == "df", "image_id"])]
    return (df["dx_read"] == "df").groupby(df["arm"]).mean()


def test_synthetic_images_of_a_class_that_train_lacks_help_and_noise_does_not(compare):
    _, cases, readings = compare(disc)
    informed = recall_of_df(cases, readings)
    assert informed["real"] == 0
    assert informed["mixed"] > 0.8
    _, cases, readings = compare(noise, home="noise")
    assert recall_of_df(cases, readings)["mixed"] < 0.3


def test_only_accepted_images_of_the_adapter_are_trained_on(compare, monkeypatch):
    shown = []
    monkeypatch.setattr(classifiers, "fit", lambda model, pixels, labels, batches, **_: shown.append(batches))
    run, cases, _ = compare(steps=20)
    made = pd.read_pickle(run.folder / "made.pkl")
    made.loc[:9, "accepted"], made.loc[10:19, "generator"] = False, "base"
    made.to_pickle(run.folder / "made.pkl")
    compare(steps=20)
    first = len(cases)  # the synthetic images stand behind the cases
    assert set(np.unique(shown[3])) >= {first + 5}, "before, the first ten are among them"
    mixed = np.unique(shown[-1])
    assert set(mixed[mixed >= first] - first) == set(range(40)), "twenty of sixty are not used"


def test_an_interrupted_comparison_goes_on_and_ends_as_an_uninterrupted_one(compare, monkeypatch):
    _, _, whole = compare(home="whole", steps=3)
    fit, fitted = classifiers.fit, []

    def fit_until_interrupted(*arguments, **keywords):
        fitted.append("mixed" if keywords["batches"].max() >= sum(TRAIN.values()) + sum(TEST.values()) else "real")
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return fit(*arguments, **keywords)

    monkeypatch.setattr(classifiers, "fit", fit_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(home="broken", steps=3)
    run, _, resumed = compare(home="broken", steps=3)
    assert fitted == ["real", "mixed", "real", "real", "mixed"]
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), whole.drop(columns="seconds"))
    assert sorted(folder.name for folder in run.path("classifiers").iterdir()) == ["mixed", "real"]
    compare(home="broken", steps=3)
    assert len(fitted) == 5, "an interruption after all trainings costs none of them"


def test_a_saved_classifier_reads_as_its_arm_did(compare):
    run, cases, readings = compare(steps=3)
    test = cases[cases["split"] == "test"]
    model = classifiers.load(run.path("classifiers") / "mixed", torch.device("cpu"))
    p = classifiers.predict(model, run.images(test), torch.device("cpu"))["p"]
    kept = readings[(readings["arm"] == "mixed") & (readings["seed"] == 0)]
    np.testing.assert_allclose(kept[[f"p_{dx}" for dx in DX]].to_numpy(), p, atol=1e-6)


def test_an_image_that_changed_is_trained_on_anew(compare, monkeypatch):
    """The published file's digest, in the column sha256, stays the same when 01 resizes otherwise."""
    fit, fitted = classifiers.fit, []
    fails = {"at": 3}

    def fit_until_interrupted(*arguments, **keywords):
        fitted.append(keywords["seed"])
        if len(fitted) == fails["at"]:
            raise KeyboardInterrupt
        return fit(*arguments, **keywords)

    monkeypatch.setattr(classifiers, "fit", fit_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(steps=1)
    run = Run("test", "06_classify")
    images.save(run.folder / "train" / "nv0.png", np.zeros((32, 32, 3), np.uint8))
    compare(steps=1)
    assert len(fitted) == 3 + 4, "two finished trainings were taken from other pixels"


def test_memory_holds_a_batch_and_not_the_images(compare, monkeypatch):
    """9,000 more images of the same size: what numpy allocates stays under a quarter of their bytes."""
    run, cases, _ = compare(steps=1)
    made = pd.read_pickle(run.folder / "made.pkl")
    many = pd.concat([made] * 150).assign(image_id=[f"m{i}" for i in range(150 * len(made))])
    size = len(many) * 32 * 32 * 3
    monkeypatch.setattr(image_sets, "sha256", lambda path: "")
    monkeypatch.setattr(classifiers, "save", lambda model, folder: folder.mkdir())
    peaks = []
    for steps in (20, 21, 22):  # in some of them, Python's table of strings may double
        settings = protocol.Protocol(["mixed"], 1, 0.5, "tiny_resnet", steps, 16, 3e-3, 0)
        tracemalloc.start()
        protocol.train_and_read(run, image_sets.collect(run, cases, many), settings, torch.device("cpu"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    peak = min(peaks)
    assert size > 15e6
    assert peak < size / 4, f"{peak / 1e6:.1f} MB of {size / 1e6:.1f} MB"


def test_every_arm_of_the_notebook_trains_and_reads_and_published_reads_its_own_fifth(compare):
    arms = ["real", "real+replay", "real+classical", "synthetic", "mixed@0.25x", "pretrain", "published"]
    run, _, _ = compare(steps=1)
    made = pd.read_pickle(run.folder / "made.pkl")
    made[made["dx"] != "df"].to_pickle(run.folder / "made.pkl")  # train has none to replay
    run, cases, readings = compare(arms=arms, steps=2, backbone="three_conv", dropout=0.2, test_time_flips=True)
    assert list(readings["arm"].unique()) == arms[:-1]
    test = set(cases.loc[cases["split"] == "test", "image_id"])
    assert all(set(of) == test for _, of in readings.groupby(["arm", "seed"])["image_id"])
    published = run.read("published_readings")
    n_pool = len(cases) + 48
    assert [len(of) for _, of in published.groupby("seed")] == [round(0.2 * n_pool)] * 2
    sources = published["image_id"].str.split("_").str[0]
    assert set(sources) == {"train", "test", "synthetic"}
    of_seeds = [set(of) for _, of in published.groupby("seed")["image_id"]]
    assert of_seeds[0] != of_seeds[1]
    assert not (run.path("classifiers") / "published").exists(), "it has seen test images"
    assert run.read("external_readings").empty


def test_published_is_trained_on_what_it_does_not_read(compare, monkeypatch):
    fit, shown = classifiers.fit, []
    monkeypatch.setattr(classifiers, "fit", lambda *a, **k: shown.append(k["batches"]) or fit(*a, **k))
    run, cases, _ = compare(arms=["real", "published"], steps=30)
    names = [*cases["image_id"], *pd.read_pickle(run.folder / "made.pkl")["image_id"]]
    published = run.read("published_readings")
    for index in (0, 1):
        trained = {names[row] for row in np.unique(shown[1 + 2 * index])}
        read = set(published.loc[published["seed"] == index, "image_id"])
        assert not trained & read
        assert trained | read == set(names)


def test_classical_weighs_classes_and_augments_in_full_and_others_as_the_protocol_says(compare, monkeypatch):
    options = {}
    monkeypatch.setattr(classifiers, "fit", lambda *a, **k: options.setdefault(len(options), k))
    compare(arms=["real", "real+classical"], steps=20, seeds=2)
    real, classical = options[0], options[1]
    assert real["weights"] is None and list(real["augmentation"]) == ["flip", "colour"]
    assert classical["weights"].max() == 3.0 and len(classical["augmentation"]) == 5
    np.testing.assert_array_equal(real["batches"], classical["batches"])


def test_an_arm_of_one_describer_is_trained_on_the_images_of_its_prompts(compare, monkeypatch):
    run, cases, _ = compare(steps=1)
    made = pd.read_pickle(run.folder / "made.pkl")
    made["prompted_by"] = np.where(np.arange(len(made)) % 4 == 0, "train_nv1", "train_nv0")
    made.to_pickle(run.folder / "made.pkl")
    descriptions = pd.DataFrame(
        {"image_id": ["train_nv0", "train_nv1"], "describer": ["template", "captioner"], "valid": True, "reviewer": ""}
    )
    shown = []
    monkeypatch.setattr(classifiers, "fit", lambda *a, batches, **k: shown.append(batches))
    compare(arms=["real", "mixed:captioner"], steps=20, others=(None, descriptions))
    synthetic = np.unique(shown[1][shown[1] >= len(cases)]) - len(cases)
    assert set(synthetic) == set(range(0, 60, 4))
    with pytest.raises(
        ValueError,
        match="no accepted synthetic image is by 'vlm'; there are images by adapter, captioner, template: take",
    ):
        compare(arms=["real", "mixed:vlm"], steps=1, others=(None, descriptions))


def test_networks_of_arms_by_prompt_kind_learn_what_their_own_prompts_have_made(compare):
    """Only prompts that name a ruler, as the captioner's do, make images of df; prompts by skin tone make noise."""
    run, cases, _ = compare(steps=1)
    cases = pd.concat([cases, write(run, "one", {"df": 1}, noise, split="train")], ignore_index=True)
    cases = cases.assign(localization="back", age=50.0, sex="female")
    cases.to_pickle(run.folder / "cases.pkl")
    made = pd.read_pickle(run.folder / "made.pkl")
    first = cases[cases["split"] == "train"].drop_duplicates("dx").set_index("dx")["image_id"]
    made = made.assign(prompted_by=made["dx"].map(first), **dict.fromkeys(FEATURES, 0.0))
    of_captioner = dict.fromkeys(FEATURES, 0.0) | {"ruler_presence": 0.9}
    descriptions = cases[["image_id"]].assign(describer="captioner", valid=True, reviewer="", **of_captioner)

    def sampler(rows):
        rng, asked = np.random.default_rng(1), rows["prompt"].str.contains("ruler")
        for image_id, dx, ruler in zip(rows["image_id"], rows["dx"], asked, strict=True):
            images.save(run.folder / f"{image_id}.png", (disc if ruler else noise)(rng, dx))
        return rows.assign(path=rows["image_id"] + ".png", accepted=True)

    arms = ["real", "mixed:captioner", "mixed:skin-tones"]
    sampled = variants.sampled(
        ["captioner", "skin-tones"], made.groupby("dx").head(4), cases, sampler, Wording("phrases", 8, 62),
        lambda text: len(text.split()), descriptions,
    )  # fmt: skip
    _, cases, readings = compare(arms=arms, seeds=1, others=(None, None, sampled, arms))
    recall = recall_of_df(cases, readings)
    assert recall["mixed:captioner"] > 0.8 and recall[["real", "mixed:skin-tones"]].max() < 0.3
    printed = report.arms_table(comparison.replicates(readings, cases.assign(lesion_id=cases["image_id"]), 0))
    assert list(printed.index) == arms


def test_replay_by_skin_tone_repeats_train_images_by_the_tone_of_the_description_that_their_prompt_follows(
    compare, monkeypatch
):
    """One mel of train is said to be dark, by the describer that prompts follow; the other one says so of test's."""
    run, cases, _ = compare(steps=1)
    made = pd.read_pickle(run.folder / "made.pkl").assign(prompted_by="train_nv0")
    made = made[made["dx"] != "df"]  # train has none to replay
    made.to_pickle(run.folder / "made.pkl")
    about = cases[["image_id"]].assign(valid=True, reviewer="", background_skin_tone=0.1)
    first, second = about.assign(describer="template"), about.assign(describer="captioner")
    first.loc[first["image_id"] == "train_mel3", "background_skin_tone"] = 0.9
    second.loc[cases["split"] == "test", "background_skin_tone"] = 0.9
    shown = []
    monkeypatch.setattr(classifiers, "fit", lambda *a, batches, **k: shown.append(batches))
    arms = ["real+replay", "real+replay:skin-tones"]
    compare(arms=arms, steps=20, others=(None, pd.concat([first, second])))
    plain, by_tone = (of_arm[:, 8:] for of_arm in shown[:2])
    train = cases["split"] == "train"
    assert plain.shape == by_tone.shape and by_tone.max() < train.sum(), "no image of test, none that is synthetic"
    mel = np.flatnonzero((train & (cases["dx"] == "mel")).to_numpy())
    of_mel = by_tone[np.isin(by_tone, mel)]
    assert (of_mel == mel[3]).sum() == len(of_mel) / 2 == np.isin(plain, mel).sum() / 2 == 20
    assert (plain == mel[3]).sum() <= 2
    contents = [image_sets.collect(run, cases, made, descriptions=of).contents() for of in (first, second)]
    assert contents[0] != contents[1], "a training with other tones is no finished one"


def test_early_stopping_reads_val_and_never_test(compare, monkeypatch):
    run, cases, _ = compare(steps=1)
    cases = cases.assign(split=np.where(cases["image_id"].isin(["train_nv0", "train_mel0"]), "val", cases["split"]))
    cases.to_pickle(run.folder / "cases.pkl")
    seen, note = [], protocol.EarlyStopping
    monkeypatch.setattr(protocol, "EarlyStopping", lambda images, *rest: seen.append(images) or note(images, *rest))
    compare(steps=4, patience=1, evaluate_every=2)
    val = run.images(cases[cases["split"] == "val"])
    assert all(np.array_equal(images, val) for images in seen) and len(seen) == 4


def test_images_of_pairs_are_read_by_each_network_and_trained_on_by_none(compare):
    """Their pixels are noise: whoever had been trained on them would read the test images worse."""
    run, _, alone = compare(disc, home="alone", steps=10)
    paired = write(Run("pairs", "06_classify"), "counterfactual", {"mel": 3, "nv": 3}, noise)
    assert run.read("pair_readings").empty
    folder = run.folder / "counterfactual"
    (Run("pairs", "06_classify").folder / "counterfactual").rename(folder)
    _, _, beside = compare(disc, home="alone", steps=10, others=(None, None, None, (), [paired]))
    read = run.read("pair_readings")
    assert (
        read.groupby(["arm", "seed"])["image_id"].apply(set).map(lambda names: names == set(paired["image_id"])).all()
    )
    assert read[["arm", "seed"]].drop_duplicates().shape[0] == 4
    pd.testing.assert_frame_equal(alone.drop(columns="seconds"), beside.drop(columns="seconds"))


def test_an_arm_of_another_generator_or_of_a_variant_is_trained_on_its_images_alone(compare, monkeypatch):
    run, cases, _ = compare(steps=1)
    made = pd.read_pickle(run.folder / "made.pkl")
    made.loc[40:, "generator"] = "base"
    made.to_pickle(run.folder / "made.pkl")
    shown = []
    monkeypatch.setattr(classifiers, "fit", lambda *a, batches, **k: shown.append(batches))
    arms = ["mixed", "mixed:base", "mixed:guidance-2"]
    variant = made.head(10).assign(variant="guidance-2", accepted=[False] + [True] * 9)
    compare(arms=arms, steps=20, others=(None, None, variant, arms))
    mixed, base, guidance = (np.unique(of_arm[of_arm >= len(cases)]) - len(cases) for of_arm in shown[:3])
    assert set(mixed) == set(range(40)) and set(base) == set(range(40, 60))
    assert set(guidance) == set(range(60, 69)), "nine accepted ones behind the sixty"
    with pytest.raises(ValueError, match="no accepted synthetic image is by 'cascade'; there are images by adapter"):
        compare(arms=["real", "synthetic:cascade"], steps=1, others=(None, None, None, ["synthetic:cascade"]))


def test_every_arm_with_real_images_shows_each_of_them_and_none_twice_as_often_as_another(compare, monkeypatch):
    """A review of a mixed arm once found 78 of 327 real images unseen: counted here in what the training gets."""
    shown = []
    monkeypatch.setattr(classifiers, "fit", lambda *a, batches, **k: shown.append(batches))
    arms = ["real", "real+classical", "mixed", "mixed@0.25x", "mixed@3x", "pretrain"]
    compare(arms=arms, steps=100, seeds=2)
    n = sum(TRAIN.values())
    for arm, of_arm in zip(arms, shown[: len(arms)], strict=True):
        times = np.bincount(of_arm[of_arm < n], minlength=n)
        assert times.min() >= 1 and times.max() - times.min() <= 1, arm


def test_a_choice_is_read_on_val_and_test_is_neither_read_nor_trained_on(compare, monkeypatch):
    run, cases, _ = compare(steps=1)
    made = pd.read_pickle(run.folder / "made.pkl")
    in_val = cases["image_id"].isin(["train_nv0", "train_mel0", "train_bkl0"])
    cases = cases.assign(split=np.where(in_val, "val", cases["split"]))
    collected = image_sets.collect(run, cases, made)
    settings = protocol.Protocol(["real", "mixed"], 2, 0.5, "tiny_resnet", 3, 16, 3e-3, 0)
    readings = protocol.train_and_read_val(run, collected, settings, torch.device("cpu"))
    assert {name: set(of) for name, of in readings.groupby(["arm", "seed"])["image_id"]} == {
        (arm, seed): {"train_nv0", "train_mel0", "train_bkl0"} for arm in ("real", "mixed") for seed in (0, 1)
    }
    monkeypatch.setattr(classifiers, "fit", None)  # which a later call does not need
    again = protocol.train_and_read_val(run, collected, settings, torch.device("cpu"))
    assert again.reset_index(drop=True).equals(readings.reset_index(drop=True))
