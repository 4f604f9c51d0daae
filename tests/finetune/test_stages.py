"""A run of 03 that is killed in each of its trainings goes on from there, and leaves what an undisturbed one leaves."""

import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from kills import killed_or_finished
from tiny_run import make_run, tiny_parameters

from p2d_lib.files import sha256
from p2d_lib.finetune import loop, report
from p2d_lib.finetune.adapter import save_adapter
from p2d_lib.finetune.stages import Stages
from p2d_lib.models import classifier_training, classifiers, clip, pipelines
from p2d_lib.parameters import ParameterError
from p2d_lib.run import ArtefactError, Run

TRAININGS = ("base", "adapter", "scratch-unet", "textual-inversion", "scout", "alignment")
LEFT = ("base", "adapter", "baselines", "scout", "alignment")


def _all_stages(home: Path, victim: str = "") -> None:
    """What the notebook does; its process ends by SIGKILL before the fourth step of the training `victim`."""
    os.environ["P2D_HOME"] = str(home)
    run = Run("tiny", "03_finetune")
    _count_steps(home / "steps.txt", victim)
    stages = Stages(run, tiny_parameters(), torch.device("cpu"))
    pipe = stages.base()
    with run.writing("base") as folder:
        pipelines.save_or_point(pipe, folder, trained=True)
    stages.adapter(pipe)
    with run.writing("adapter") as folder:
        save_adapter(pipe, folder, stages.logs["adapter"], {}, data=stages.encoded.key)
    with run.writing("baselines") as folder:
        folder.mkdir(parents=True)
        for name, model in stages.baselines(stages.p.baselines):
            model.save(folder / name)
    with run.writing("scout") as folder:
        classifiers.save(stages.scout(), folder)
    with run.writing("alignment") as folder:
        clip.save(stages.alignment(), folder)
    stages.finish()


def _count_steps(file: Path, victim: str) -> None:
    """Notes the name of the training at each of its steps."""
    loop.SYNC_EVERY = 2

    def noted(name: str) -> None:
        taken.append(name)
        if name == victim and taken.count(name) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        with file.open("a") as lines:
            lines.write(f"{name}\n")

    taken, honest = [], {"step": loop._Training.step, "scout": classifier_training.augment, "alignment": clip._turned}
    loop._Training.step = lambda self, step: (noted(self.name), honest["step"](self, step))
    classifier_training.augment = lambda *arguments: (noted("scout"), honest["scout"](*arguments))[1]
    clip._turned = lambda *arguments: (noted("alignment"), honest["alignment"](*arguments))[1]


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> dict[str, Path]:
    """Two homes with the same run: one in which nothing happened, one killed once in each training."""
    homes = {name: tmp_path_factory.mktemp(name) for name in ("undisturbed", "killed")}
    for home in homes.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("P2D_HOME", str(home))
            make_run("tiny")
    assert killed_or_finished(lambda: _all_stages(homes["undisturbed"])) == 0
    for victim in TRAININGS:
        assert killed_or_finished(lambda victim=victim: _all_stages(homes["killed"], victim)) == signal.SIGKILL
    assert killed_or_finished(lambda: _all_stages(homes["killed"])) == 0
    return homes


@pytest.mark.parametrize("artefact", LEFT)
def test_a_run_killed_in_every_training_leaves_the_same_bytes_as_one_that_was_not(homes, artefact):
    undisturbed, killed = (sha256(home / "data" / "runs" / "tiny" / artefact) for home in homes.values())
    assert killed == undisturbed


def test_only_the_steps_after_the_last_checkpoint_are_taken_again(homes):
    steps = {name: Counter((home / "steps.txt").read_text().split()) for name, home in homes.items()}
    assert steps["undisturbed"] == dict.fromkeys(TRAININGS, 6)
    # three steps are taken before the kill; the loop's checkpoint holds two of them, the networks' all three
    assert steps["killed"] == dict.fromkeys(TRAININGS[:4], 7) | dict.fromkeys(TRAININGS[4:], 6)


def test_what_is_finished_leaves_no_checkpoints_and_no_pixels_behind(homes):
    scratch = homes["killed"] / "data" / "runs" / "tiny" / "scratch" / "03_finetune"
    assert [path.name for path in scratch.iterdir() if any(path.iterdir())] == ["latents"]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    make_run("tiny")
    return Run("tiny", "03_finetune")


def test_a_checkpoint_of_other_parameters_is_named_and_not_taken_up(run, capsys):
    for learning_rate in (1e-3, 2e-3):
        p = tiny_parameters(base_steps=2, base_learning_rate=learning_rate)
        Stages(run, p, torch.device("cpu")).base()
    assert "base: begins at step 0; a checkpoint of step 2 (base.pt) belongs to other data or parameters" in (
        capsys.readouterr().out
    )


def test_the_cascade_may_have_a_recipe_of_its_own(run):
    common = Stages(run, tiny_parameters(), torch.device("cpu"))
    assert common.baseline_recipe("cascade") == common.baseline_recipe("scratch-unet")
    own = {"cascade_steps": 60, "cascade_batch_size": 2, "cascade_learning_rate": 1e-5}
    stages = Stages(run, tiny_parameters(**own), torch.device("cpu"))
    recipe = stages.baseline_recipe("cascade")
    assert (recipe.steps, recipe.batch_size, recipe.learning_rate) == (60, 2, 1e-5)
    assert stages.baseline_recipe("scratch-unet") == common.baseline_recipe("scratch-unet")


def test_images_whose_prompts_name_an_emphasised_feature_are_trained_on_so_many_times_as_often(run, monkeypatch):
    import p2d_lib.finetune.stages as stages_module

    table = run.read("descriptions")
    ends = [", hair, face", ", chair", ", atypical vessels"]  # hair itself, a word that holds it, another feature
    table["prompt"] = [f"{prompt}{ends[k % 3]}" for k, prompt in enumerate(table["prompt"])]
    Run("tiny", "02_describe").write("descriptions", table)
    given = []
    monkeypatch.setattr(stages_module.Split, "weights", property(lambda split: np.arange(1.0, len(split) + 1)))
    monkeypatch.setattr(stages_module, "fit_base", lambda *arguments: given.append(arguments[6]))
    factors = {"hair_amount": 3.0, "blue_whitish_veil": 9.0}  # no prompt names the veil: without effect
    stages = Stages(run, tiny_parameters(emphasis=factors), torch.device("cpu"))
    named = np.array([", hair" in prompt for prompt in stages.train.prompts])
    assert 0 < named.sum() < len(named)
    stages.base()
    of_class = np.arange(1.0, len(named) + 1)
    assert given[0].tolist() == (of_class * np.where(named, 3.0, 1.0)).tolist()
    assert stages.weights.tolist() == given[0].tolist()  # of the base as of the adapter and the baselines
    plain = Stages(run, tiny_parameters(emphasis={}), torch.device("cpu"))
    assert plain.weights.tolist() == plain.train.weights.tolist()
    with pytest.raises(ParameterError, match=r"03_finetune\.emphasis"):
        tiny_parameters(emphasis={"hairs": 3.0})


def test_prior_images_are_sampled_once_and_change_the_fit(run, monkeypatch):
    from p2d_lib.finetune import prior

    sampled, honest = [], prior.sampling.sample
    monkeypatch.setattr(prior.sampling, "sample", lambda *a, **k: sampled.append(k) or honest(*a, **k))
    losses = {}
    for again in (False, True):
        stages = Stages(run, tiny_parameters(base_steps=0, lora_steps=2, prior_per_class=1), torch.device("cpu"))
        stages.adapter(stages.base())
        losses[again] = stages.logs["adapter"]["loss"].tolist()
    prior_calls = [call for call in sampled if call.get("batch_size") == prior.BATCH]
    assert len(prior_calls) == 1
    assert prior_calls[0]["guidance_scale"] == 5.0 and prior_calls[0]["num_inference_steps"] == 2
    assert losses[False] == losses[True]
    run.discard("checkpoints")
    plain = Stages(run, tiny_parameters(base_steps=0, lora_steps=2), torch.device("cpu"))
    plain.adapter(plain.base())
    assert losses[True][0] > plain.logs["adapter"]["loss"][0] + 0.1


def test_every_image_is_sampled_with_the_guidance_that_the_parameters_give(run, monkeypatch):
    from p2d_lib.models import pixel_baselines, sampling, textual_inversion

    settings = []

    def images(prompts, seeds, size, **arguments):
        settings.append(arguments)
        return np.zeros((len(prompts), size, size, 3), np.uint8)

    monkeypatch.setattr(
        sampling, "sample", lambda pipe, prompts, seeds, **arguments: images(prompts, seeds, **arguments)
    )
    for model in (pixel_baselines.Baseline, textual_inversion.LearnedToken):
        monkeypatch.setattr(
            model, "sample", lambda self, prompts, seeds, **arguments: images(prompts, seeds, **arguments)
        )
    p = tiny_parameters(
        base_steps=0, lora_steps=1, baseline_steps=1, guidance_scale=1.5, guidance_interval=[0.5, 2.0],
        baseline_guidance=3.5, num_inference_steps=7,
    )  # fmt: skip
    stages = Stages(run, p, torch.device("cpu"))
    pipe = stages.base()
    with run.writing("base") as folder:
        pipelines.save_or_point(pipe, folder, trained=True)
    stages.adapter(pipe)
    stages.sample("adapter", pipe)
    for name, model in stages.baselines(p.baselines):
        stages.sample(name, model)
    ours = {"guidance_scale": 1.5, "guidance_interval": (0.5, 2.0), "num_inference_steps": 7}
    scratch = {"guidance_scale": 3.5, "guidance_interval": (0.0, np.inf), "num_inference_steps": 7}
    assert settings == [ours, ours, scratch, ours]  # a preview, the adapter, scratch-unet, textual inversion


def test_a_precision_that_does_not_exist_is_refused_and_one_that_does_reaches_every_diffusion_training(run):
    with pytest.raises(ParameterError, match=r"03_finetune\.precision: 'float16': input should be 'auto', "):
        tiny_parameters(precision="float16")
    stages = Stages(run, tiny_parameters(precision="bfloat16"), torch.device("cpu"))
    assert stages.recipe(1, 0.1).precision == "bfloat16"


def test_a_train_split_without_descriptions_stops_with_a_sentence(run):
    descriptions = run.read("descriptions").assign(valid=False)
    Run("tiny", "02_describe").write("descriptions", descriptions)
    with pytest.raises(ArtefactError, match="no image of the train split has a valid description"):
        Stages(run, tiny_parameters(), torch.device("cpu"))


def test_without_val_images_all_is_fitted_and_the_report_says_so(run):
    cases = run.read("cases").assign(split="train")
    Run("tiny", "01_prep").write("cases", cases)
    p = tiny_parameters(base_steps=0, lora_steps=2, baselines=[], scout_steps=2, alignment_steps=2)
    stages = Stages(run, p, torch.device("cpu"))
    pipe = stages.base()
    stages.sample("base", pipe)
    stages.adapter(pipe)
    stages.sample("adapter", pipe)
    scores, chance = report.validation_scores(stages.scout(), stages.alignment(), stages.val, stages.device)
    table = report.training_table(stages, scores)
    assert table[["val loss", "val score"]].isna().all(axis=None)
    lines = " ".join([*report.findings(stages, table, scores, chance), report.training_caption(stages, chance)])
    assert "no val images" in lines and "nan" not in lines
