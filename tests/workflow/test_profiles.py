"""params/*.yaml: complete, valid, and checked before anything runs."""

from pathlib import Path

import pytest
import yaml

from p2d_lib import parameters
from p2d_lib.artefacts import NOTEBOOKS

FILES = {path.stem: path for path in (Path(__file__).resolve().parents[2] / "params").glob("*.yaml")}


def test_the_three_profiles_are_there_and_valid_and_name_their_run():
    assert {"smoke", "mini", "paper"} <= set(FILES)
    for name in FILES:
        values = parameters.profile(name)
        assert tuple(values) == NOTEBOOKS
        assert {given["run"] for given in values.values()} == {name}


def test_smoke_gives_every_parameter_and_the_others_only_what_differs():
    smoke = yaml.safe_load(FILES["smoke"].read_text())
    for notebook, model in parameters.MODELS.items():
        assert set(smoke[notebook]) | {"run", "seed"} == set(model.model_fields), notebook
    for path in set(FILES.values()) - {FILES["smoke"]}:
        given = yaml.safe_load(path.read_text())
        assert given.pop("extends") == "smoke"
        same = [f"{n}.{p}" for n in given for p, value in given[n].items() if smoke[n].get(p) == value]
        assert not same, f"{path.name} repeats smoke's {same}"


def test_full_sizes_read_ham10000_with_five_seeds_and_the_published_split():
    for name in ("mini", "paper"):
        values = parameters.profile(name)
        assert values["01_prep"]["source"] == "ham10000"
        assert values["06_classify"]["seeds"] >= 5
        split = {key: values["01_prep"][key] for key in ("test_size", "val_size", "split_seed")}
        assert split == {"test_size": 0.2, "val_size": 1 / 9, "split_seed": 42}


def test_an_exponent_that_yaml_reads_as_text_is_refused_by_name():
    with pytest.raises(parameters.ParameterError, match=r"06_classify\.learning_rate: '5e-4'"):
        parameters.profile("smoke", overrides=("06_classify.learning_rate=5e-4",))
    values = parameters.profile("smoke", overrides=("06_classify.learning_rate=5.0e-4",))
    assert values["06_classify"]["learning_rate"] == 0.0005


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


def test_rules_rewrite_phrases_alone():
    rewritten = ("02_describe.caption_mode=rewritten", "02_describe.worded_as=json")
    with pytest.raises(parameters.ParameterError, match="worded_as: 'json': the rules rewrite phrases alone"):
        parameters.profile("smoke", overrides=rewritten)
    asked = (*rewritten, "02_describe.rewriter=api", "02_describe.api_model=any")
    assert parameters.profile("smoke", overrides=asked)["02_describe"]["worded_as"] == "json"
