"""06 names what the base was trained on, from the run's own record of it."""

import json

import numpy as np
import pandas as pd
import pytest

from p2d_lib import parameters
from p2d_lib.classify import outside
from p2d_lib.models import discriminator
from p2d_lib.prep import splits
from p2d_lib.prep.phantom import patients
from p2d_lib.run import Run
from p2d_lib.seeds import derive


@pytest.fixture
def sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))

    def of(base, base_steps=0, decoder_steps=0):
        steps = {"base_steps": base_steps, "decoder_steps": decoder_steps}
        with Run("t", "03_finetune", {"base": base} | steps).writing("base") as folder:
            folder.mkdir()
        return outside.base_data(Run("t", "06_classify"), 1010)

    return of


def test_the_shipped_base_is_named_with_its_number_of_phantom_images(sentence):
    assert "(tiny) was trained elsewhere, on 30,418 phantom images of 20,126 other lesions" in sentence("tiny")
    assert "train split of this run has 1,010 images" in sentence("tiny")


def test_a_base_from_a_hub_is_named_as_one_of_unknown_images(sentence):
    assert "(org/model@abc) was trained elsewhere, on images of which this run has no record" in sentence(
        "org/model@abc"
    )


def test_a_base_of_random_weights_knows_nothing_from_elsewhere(sentence):
    assert "in this run on the 1,010 images of the train split, from random weights" in sentence("random", base_steps=9)
    assert "is untrained, from random weights: synthetic images carry no knowledge" in sentence("random")


def test_a_decoder_brings_what_the_network_knows_that_it_was_fitted_against(sentence):
    network = discriminator.NETWORK.replace("efficientnet_lite", "EfficientNet-Lite")
    for text in (sentence("random", base_steps=9, decoder_steps=9), sentence("tiny")):
        assert f"Its decoder was fitted against the features of {network}" in text and "no knowledge" not in text


def test_a_base_that_was_trained_on_here_says_so(sentence):
    assert ", and then on the train split;" in sentence("tiny", base_steps=9)
    assert ", and then on the train split;" not in sentence("tiny")


def test_the_shipped_record_is_what_the_recipe_makes():
    """params/base.yaml without rendering: lesions, views and splits."""
    recipe = parameters.profile("base")
    prep, fit = recipe["01_prep"], recipe["03_finetune"]
    shares, rows, lesion = patients.class_shares(prep["tail"]), [], 0
    while len(rows) < prep["n_images"]:
        rng = np.random.default_rng(derive(prep["seed"], "phantom", lesion))
        dx = patients.pick(rng, shares)
        rows += [(lesion, dx)] * (1 + rng.choice(6, p=patients.VIEWS[dx]))
        lesion += 1
    table = pd.DataFrame(rows[: prep["n_images"]], columns=["lesion_id", "dx"])
    train = table[splits.split(table, prep["test_size"], prep["val_size"], prep["split_seed"]) == "train"]
    record = json.loads(outside.TINY_RECORD.read_text())
    assert (record["images"], record["lesions"]) == (len(train), train["lesion_id"].nunique())
    assert abs(record["images_seen"] - fit["base_steps"] * fit["batch_size"]) < fit["batch_size"]
