"""params/*.yaml: complete, valid, and checked before anything runs."""

import re
from pathlib import Path

import outside
import pytest
import request
import yaml

from p2d_lib import parameters
from p2d_lib.artefacts import NOTEBOOKS
from p2d_lib.models.augmentation import TRANSFORMS
from p2d_lib.parameters import generate, profiles
from p2d_lib.parameters.prep import SOURCES
from p2d_lib.suggest import did_you_mean

FOLDER = Path(__file__).resolve().parents[2] / "params"
X = "x" * 2000
FILES = {path.stem: path for path in FOLDER.glob("*.yaml")}


def test_the_profiles_are_there_and_valid_and_name_their_run():
    assert {"smoke", "mini", "night", "paper", "base"} <= set(FILES)
    for name in FILES:
        values = parameters.profile(name)
        assert tuple(values) == NOTEBOOKS
        assert {section["run"] for section in values.values()} == {name}


def test_smoke_gives_every_parameter_and_the_others_only_what_differs():
    smoke = yaml.safe_load(FILES["smoke"].read_text())
    for notebook, model in parameters.MODELS.items():
        assert set(smoke[notebook]) | {"run", "seed"} == set(model.model_fields), notebook
    for path in set(FILES.values()) - {FILES["smoke"]}:
        content = yaml.safe_load(path.read_text())
        inherited = parameters.profile(content.pop("extends"))
        by_model = {(n, p) for n, model in parameters.MODELS.items() for p in model.BY_MODEL}
        same = [
            f"{n}.{p}"
            for n in content
            for p, value in content[n].items()
            if n != "common" and inherited[n][p] == value and (n, p) not in by_model
        ]
        assert not same, f"{path.name} repeats what it extends: {same}"


def test_paper_takes_nothing_that_depends_on_the_model_from_smokes_tiny_ones():
    content = yaml.safe_load(FILES["paper"].read_text())
    for notebook, model in parameters.MODELS.items():
        assert set(model.BY_MODEL) <= set(model.model_fields), notebook
        inherited = set(model.BY_MODEL) - set(content.get(notebook, {}))
        assert not inherited, f"paper.yaml inherits smoke's {notebook}: {sorted(inherited)}"


@pytest.mark.parametrize("name", FILES)
def test_03_and_04_sample_with_the_same_guidance(name):
    """Else the previews of 03 are images that 04 never samples."""
    finetune, sample = (parameters.profile(name)[notebook] for notebook in ("03_finetune", "04_sample"))
    for parameter in ("guidance_scale", "guidance_interval", "baseline_guidance", "num_inference_steps"):
        assert finetune[parameter] == sample[parameter], parameter


def test_full_sizes_read_ham10000_with_five_seeds_and_the_published_split():
    for name in ("mini", "night", "paper"):
        values = parameters.profile(name)
        assert values["01_prep"]["source"] == "ham10000"
        assert values["06_classify"]["seeds"] >= 5
        split = {key: values["01_prep"][key] for key in ("test_size", "val_size", "split_seed")}
        assert split == {"test_size": 0.2, "val_size": 1 / 9, "split_seed": 42}


def test_all_arms_of_a_profile_train_for_all_steps_and_real_plus_classical_differs_from_real():
    for name in FILES:
        values = parameters.profile(name)["06_classify"]
        assert values["patience"] == 0, name
        if "real+classical" in values["arms"]:
            assert values["class_weights"] == "none" and len(values["augmentation"]) < len(TRANSFORMS), name


@pytest.mark.parametrize(("text", "number"), [("5e-4", 5e-4), ("5.0e-4", 5e-4), ("1e-05", 1e-5), (".5", 0.5)])
def test_a_number_in_any_common_notation_is_a_number(text, number):
    values = parameters.profile("smoke", overrides=(f"06_classify.learning_rate={text}",))
    assert values["06_classify"]["learning_rate"] == number
    intervals = parameters.profile("smoke", overrides=(f"04_sample.guidance_interval=[{text}, 3e1]",))
    assert intervals["04_sample"]["guidance_interval"] == [number, 30.0]


def test_text_that_only_resembles_a_number_stays_text():
    values = parameters.profile("smoke", overrides=("02_describe.api_model=5e-4b", "02_describe.vlm_model=e5"))
    assert (values["02_describe"]["api_model"], values["02_describe"]["vlm_model"]) == ("5e-4b", "e5")


@pytest.mark.parametrize(
    ("run", "overrides", "sentence"),
    [
        (None, ("06_classify.seeds=1",), "--set 06_classify.seeds=1: 06_classify.seeds: 1: input should be"),
        (
            None,
            ("06_classify.run=other",),
            "--set 06_classify.run=other: 06_classify.run: 'other': all notebooks of a r",
        ),
        (None, ("06_classify.arms=[real",), "--set 06_classify.arms=[real: a value that YAML cannot read"),
        (None, ("04_sample.shard=[2, 2]",), "--set 04_sample.shard=[2, 2]: 04_sample.shard: [2, 2]: write [i, n]"),
        (None, ("04_sample.per_class=10",), "--set 04_sample.per_class=10: 04_sample.per_class: 10: 07_readers"),
        ("a b", (), "--run 'a b': 01_prep.run: 'a b': write a name of letters"),
        ("", (), "--run '': 01_prep.run: '': write a name of letters"),
        (None, ("03_finetune.snr_gamma=.inf",), "--set 03_finetune.snr_gamma=.inf: 03_finetune.snr_gamma: inf: input"),
        (None, ("03_finetune.lora_alpha=.nan",), "--set 03_finetune.lora_alpha=.nan: 03_finetune.lora_alpha: nan: inp"),
        (None, ("04_sample.sweep_guidance=[.inf]",), "--set 04_sample.sweep_guidance=[.inf]: 04_sample.sweep_guidance"),
        (
            None,
            ('01_prep.data="a\\0b"',),
            "--set 01_prep.data=\"a\\0b\": 01_prep.data: 'a\\x00b': holds a control char",
        ),
        (None, ('06_classify.external=["a\\nb"]',), '--set 06_classify.external=["a\\nb"]: 06_classify.external: '),
        (None, (f"01_prep.data={X}",), f"--set 01_prep.data={X}: 01_prep.data: '{X[:199]}: is 2000 l"),
    ],
)
def test_an_error_names_the_option_that_gave_the_value_and_shows_no_regular_expression(run, overrides, sentence):
    with pytest.raises(parameters.ParameterError) as refused:
        parameters.profile("smoke", run, overrides)
    assert str(refused.value).startswith(sentence)
    assert "params/" not in str(refused.value) and "^[" not in str(refused.value)


def test_an_error_names_the_file_that_gave_the_value(tmp_path, monkeypatch):
    (tmp_path / "parent.yaml").write_text("06_classify:\n  seeds: 1\n")
    (tmp_path / "child.yaml").write_text("extends: parent\n06_classify:\n  steps: 9\n")
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    with pytest.raises(parameters.ParameterError, match=r"^params/parent\.yaml: 06_classify\.seeds: 1: "):
        parameters.profile("child")
    (tmp_path / "child.yaml").write_text("extends: parent\n06_classify: {seeds: 2}\n06_clasify: {steps: 9}\n")
    with pytest.raises(parameters.ParameterError, match=r"^params/child\.yaml: no notebook '06_clasify': did you mean"):
        parameters.profile("child")


def test_smoke_yaml_and_the_parameters_cells_are_what_the_command_writes():
    assert generate.outdated() == [], "run: python -m p2d_lib.parameters"


def test_every_parameter_has_one_short_sentence():
    for notebook, model in parameters.MODELS.items():
        for name, field in model.model_fields.items():
            assert field.description and field.description.endswith("."), f"{notebook}.{name}"
            assert len(field.description) <= 100, f"{notebook}.{name}"
        assert set(model.HEADINGS) <= set(model.model_fields)


def test_what_is_generated_is_read_back_as_the_defaults():
    smoke = yaml.safe_load(generate.smoke())
    for notebook, model in parameters.MODELS.items():
        defaults = model().model_dump()
        assert smoke[notebook] == {name: value for name, value in defaults.items() if name not in ("run", "seed")}
        namespace = {}
        exec(generate.cell(notebook), namespace)
        assert {name: namespace[name] for name in defaults} == defaults


def test_the_sources_of_01_are_the_phantom_and_the_layouts_that_ship():
    layouts = {path.stem for path in (FOLDER.parent / "p2d_lib" / "prep" / "layouts").glob("*.yaml")}
    assert set(SOURCES) == {"phantom"} | layouts


def test_a_parameter_that_papermill_injects_and_nobody_knows_is_refused():
    values = parameters.profile("smoke")["08_fairness"]
    notebook = {**values, "min_m": 3, "In": ["", "# Parameters\nmin_m = 3\n"]}
    with pytest.raises(parameters.ParameterError, match="min_m: there is no such parameter: did you mean 'min_n'"):
        parameters.of_notebook("08_fairness", notebook)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("02_describe.describers=[template, vlm]", r"02_describe\.vlm_model: .* give a hub id or a folder"),
        ("02_describe.describers=[api]", r"02_describe\.api_model: .* give a model of your server"),
        ("02_describe.api_max_cost=0.5", r"02_describe\.api_usd_per_million: without prices"),
    ],
)
def test_a_describer_without_what_it_needs_is_refused(override, message):
    with pytest.raises(parameters.ParameterError, match=message):
        parameters.profile("smoke", overrides=(override,))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("06_classify.arms=[real, mixed:sentense]",), r"06_classify\.arms: .*'sentense': did you mean 'sentence'"),
        (("06_classify.arms=[real, mixed:guidance-31]",), "'guidance-31': write guidance-2 .* from 0 to 30"),
        (("06_classify.arms=[real, mixed@0.01x]",), r"arms: arm 'mixed@0\.01x': a batch of 32 images is too small"),
        (("06_classify.arms=[real, mixed, mixed:adapter@1x]",), "mixed and mixed:adapter@1x are the same arm"),
        (("06_classify.arms=[real, mixed:guidance-2, mixed:guidance-2.0]",), "guidance-2.0 are the same arm: take one"),
        (("06_classify.arms=[real, mixed:vlm]",), r"mixed:vlm: vlm describes nothing in this run \(captioner, meas"),
        (
            ("06_classify.arms=[real, mixed:cascade]", "03_finetune.baselines=[]"),
            r"mixed:cascade: add cascade to 03_finetune\.baselines, or take this arm out",
        ),
        (("06_classify.prompt_sources=[captoner]",), "'captoner': input should be 'class-name', 'random', 'captioner'"),
        (("01_prep.source=ph2", "02_describe.template_source=truth"), "'truth': only phantoms know their truth"),
        (("01_prep.source=ph2", "06_classify.arms=[real, mixed:truth]"), "mixed:truth: truth describes nothing"),
    ],
)
def test_an_arm_or_a_source_of_words_that_no_run_has_is_refused_before_anything_is_sampled(overrides, message):
    with pytest.raises(parameters.ParameterError, match=message):
        parameters.profile("smoke", overrides=overrides)


def test_every_kind_of_arm_that_06_knows_is_accepted():
    arms = "real, mixed:base, synthetic:captioner, mixed:sentence@2x, pretrain:guidance-3.5, mixed:truth, mixed:cascade"
    arms += ", mixed:class-name, mixed:json"
    profile = parameters.profile("smoke", overrides=(f"06_classify.arms=[{arms}]",))
    assert profile["06_classify"]["arms"] == arms.split(", ")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("edits_file", "image_id,reviewer,red\na,Dr,5\n", "line 2: red is '5'"),
        ("descriptions_file", "{}\n", "line 1: image is None"),
        ("memorisation_table", "image_id,memorised\na,0.5\n", "line 2: memorised is '0.5'"),
        ("published", "image_id\na\n", "column 'user_dx_without_interaction_akiec' is missing"),
    ],
)
def test_a_table_that_no_run_could_use_is_refused_before_anything_runs(tmp_path, name, content, problem):
    (tmp_path / "t.csv").write_text(content)
    assert problem in outside.misfit(name, tmp_path / "t.csv")
    right = {"edits_file": "image_id,reviewer\na,Dr\n", "memorisation_table": "image_id,memorised\na,no\n"}
    if name in right:
        (tmp_path / "t.csv").write_text(right[name])
        assert outside.misfit(name, tmp_path / "t.csv") == ""


def test_a_folder_without_a_filled_sheet_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    assert outside.misfit("sheets", tmp_path).endswith("there is no filled sheet (*.xlsx, *.csv) here")
    (tmp_path / "ada.csv").write_text("not opened")
    assert outside.misfit("sheets", tmp_path) == ""
    (tmp_path / "bob.ods").write_text("")
    assert "bob.ods: may hold a reader's answers and is no .xlsx or .csv" in outside.misfit("sheets", tmp_path)


def test_a_short_name_is_that_of_the_one_that_begins_so():
    assert did_you_mean("03", NOTEBOOKS) == ": did you mean '03_finetune'?"
    assert did_you_mean("", NOTEBOOKS) == did_you_mean("9", NOTEBOOKS) == ""


def test_rules_rewrite_phrases_alone():
    rewritten = ("02_describe.caption_mode=rewritten", "02_describe.worded_as=json")
    with pytest.raises(parameters.ParameterError, match="worded_as: 'json': the rules rewrite phrases alone"):
        parameters.profile("smoke", overrides=rewritten)
    with_api = (*rewritten, "02_describe.rewriter=api", "02_describe.api_model=any")
    assert parameters.profile("smoke", overrides=with_api)["02_describe"]["worded_as"] == "json"


def test_folders_of_extractors_and_clips_are_among_what_a_stage_reads_from_outside(tmp_path):
    values = parameters.profile("smoke")["05_fidelity"] | {
        "extractors": ["scout", f"clip:{tmp_path}", "clip:org/model"]
    }
    assert outside.files("05_fidelity", values, tmp_path) == [tmp_path]
    readers = parameters.profile("smoke")["07_readers"] | {"clip_models": ["alignment", str(tmp_path)]}
    assert outside.files("07_readers", readers, tmp_path) == [tmp_path]


def test_whatever_names_a_hub_id_or_a_folder_of_weights_is_known_to_the_driver():
    described = {
        (notebook, name)
        for notebook, model in parameters.MODELS.items()
        for name, field in model.model_fields.items()
        if any(word in field.description for word in ("ub id", "open_clip", "clip:"))
    }
    assert described <= set(parameters.naming_weights())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"params/own\.yaml: is empty; write NOTEBOOK: and its parameters below"),
        ("- 01_prep", "params/own.yaml: holds list in place of sections"),
        ("extends: smoke\n06_classify:\n", "params/own.yaml: 06_classify: holds None in place of parameters"),
        ("extends: smoke\n06_classify: 5\n", "params/own.yaml: 06_classify: holds 5 in place of parameters"),
        ("extends: smoke\n06_classify: {seeds: 2, seeds: 5}\n", "'seeds' comes twice; remove one of them"),
        ("extends: smoke\n06_classify: {seeds: 2\n", "params/own.yaml: a value that YAML cannot read"),
        ("extends: own\n", r"params/own\.yaml: extends itself \(own -> own\); cut the circle"),
        ("extends: ../params/smoke\n", r"no profile '\.\./params/smoke': did you mean 'smoke'"),
        ("extends: smok\n", r"no profile 'smok': did you mean 'smoke'\?"),
        (
            "extends: smoke\n06_classify:\n\tseeds: 2\n",
            "line 3: found character .* start any token; write blanks in place of tabs",
        ),
        (
            "extends: smoke\n06_classify:\n  class_weights: no\n",
            "False: input should be 'none'.*; write words in quotes",
        ),
        ("extends: smoke\n06_classify:\n  seeds: 010\n", "06_classify.seeds: '010': input should be a valid integer"),
        ("extends: smoke\n06_classify:\n  seeds: 1:30\n", "'1:30': input should be a valid integer"),
        ("extends: smoke\n06_classify:\n  seeds: 2024-99-99\n", "'2024-99-99': input should be a valid integer"),
        ("extends: smoke\n06_classify:\n  steps: " + "9" * 30 + "\n", "is too large a number; write less than 9,223"),
        ("extends: smoke\n06_classify:\n  steps: " + "9" * 5000 + "\n", "a value that YAML cannot read: Exceeds the"),
        ("extends: smoke\n06_classify:\n  arms: " + "[" * 500 + "\n", "its brackets are nested too deeply"),
        ("extends: no\n", "params/own.yaml: extends: False is no profile; name one, or take the line out"),
        ("extends: smoke\n# M\xfcller\n", "params/own.yaml: is no UTF-8 text"),
    ],
)
def test_a_profile_that_is_damaged_or_of_another_form_is_refused_by_its_file(tmp_path, monkeypatch, text, sentence):
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    (tmp_path / "smoke.yaml").write_bytes(FILES["smoke"].read_bytes())
    (tmp_path / "own.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(parameters.ParameterError) as refused:
        parameters.profile("own")
    assert re.search(sentence, str(refused.value)) and "\n" not in str(refused.value)


def test_a_profile_that_was_copied_from_a_web_page_or_holds_a_date_is_read_as_it_is_meant(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    (tmp_path / "smoke.yaml").write_bytes(FILES["smoke"].read_bytes())
    text = "\ufeffextends: smoke\ncommon:\n  run: 2024-01-01\n06_classify:\n\u00a0 seeds:\u00a04\n"
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    values = parameters.profile("own")["06_classify"]
    assert (values["run"], values["seeds"]) == ("2024-01-01", 4)


def test_a_profile_whose_name_no_run_can_have_is_told_once_to_give_the_run_another(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    text = (FOLDER / "smoke.yaml").read_text(encoding="utf-8")
    (tmp_path / "my study.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(profiles.ParameterError) as refused:
        profiles.profile("my study")
    (line,) = str(refused.value).split("\n")
    assert line.startswith("params/my study.yaml: ") and line.endswith("--run NAME gives the run of this file a name")
    assert profiles.profile("my study", "mine")["01_prep"]["run"] == "mine"


@pytest.mark.parametrize("name", ["CON", "nul.txt", "com1", "a.", "reference", "README.md", "..", "a/b", "a b", "é"])
def test_a_run_has_a_name_that_is_free_and_that_a_folder_can_have_on_every_system(name):
    with pytest.raises(parameters.ParameterError, match=f"--run {name!r}: 01_prep.run: {name!r}: "):
        parameters.profile("smoke", name)


def test_an_external_set_is_looked_at_before_anything_runs_and_its_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test set").mkdir()
    problems = []
    request._external("test set", problems)
    assert len(problems) == 1 and problems[0].startswith(
        f"06_classify.external: {tmp_path}/test set: there is no HAM10"
    )
    (tmp_path / "test set" / "HAM10000_images_part_1").mkdir()
    (tmp_path / "test set" / "HAM10000_images_part_1" / "a.jpg").write_text("not opened")
    header = "image_id,lesion_id,dx,dx_type,age,sex,localization\n"
    (tmp_path / "test set" / "ham10000_metadata.csv").write_text(f"{header}a,b,mel,histo,old,male,back\n")
    request._external("test set", found := [])
    assert len(found) == 1 and "line 2 (a): age is 'old', expected years from 0 to 120" in found[0]
    (tmp_path / "test set" / "ham10000_metadata.csv").write_text(f"{header}a,b,mel,histo,5,male,back\n")
    assert request._external("test set", found := []) == str(tmp_path / "test set") and found == []
    request._external("test set", of_01 := [], str(tmp_path / "test set"))
    assert of_01 == [
        f"06_classify.external: {tmp_path}/test set is the set of 01_prep, of which nothing would be left; take it out"
    ]
    assert request._external("phantom=atlas", found) == "phantom=atlas"
    (tmp_path / "year=2020").symlink_to("test set")
    assert request._external("ham10000=year=2020", found) == f"ham10000={tmp_path}/test set"
    assert found == []
    assert request._external("ph2=~/no such", found) == f"ph2={Path.home()}/no such"
    assert found == [f"there is no folder {Path.home()}/no such (06_classify.external)"]


@pytest.mark.parametrize("name", ["ham10000_METADATA.csv", "HAM10000_metadata.xlsx", "HAM10000_Metadata.XLSX"])
def test_the_table_that_01_reads_counts_as_read_in_whatever_letters_and_as_a_workbook(tmp_path, name):
    prep = parameters.profile("smoke")["01_prep"] | {"source": "ham10000", "data": str(tmp_path)}
    assert outside.files("01_prep", prep, tmp_path) == []
    (tmp_path / name).write_text("a table")
    (tmp_path / "notes.xlsx").write_text("another")
    assert outside.files("01_prep", prep, tmp_path) == [tmp_path / name]
