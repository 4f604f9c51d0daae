"""Weights of 4 bits read nearly as those of full precision, and LoRA layers fitted on them fit the full model too."""

import numpy as np
import pytest
from tiny_vlm import CPU, noise

from p2d_lib.models import vlm, vlm_tiny, vlm_training
from p2d_lib.models.vlm_likelihood import log_likelihoods

pytest.importorskip("bitsandbytes", reason="bitsandbytes, which is optional, is not installed")

QUESTION, OPTIONS = "What is it?", ["melanoma", "nv", "red"]
SIDE = 32  # px


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A LLaVA as wide as a block of NF4 has weights, 64: bitsandbytes refuses a narrower one on some CPUs."""
    made = vlm_tiny.build([QUESTION, *OPTIONS], SIDE, 0, CPU)
    folder = tmp_path_factory.mktemp("four bit") / "llava"
    made.model.save_pretrained(folder)
    made.processor.save_pretrained(folder)
    return folder


def likelihoods(model):
    return log_likelihoods(model, noise(6, SIDE), QUESTION, OPTIONS)[0]


def apart(a, b):
    """The largest difference, as a share of the range."""
    return np.abs(a - b).max() / np.ptp(b)


def test_the_language_model_alone_has_weights_of_4_bits_and_its_answers_are_close_to_those_of_full_precision(folder):
    full, four = vlm.load(folder, CPU), vlm.load(folder, CPU, four_bit=True)
    of_kind = {
        name: type(module).__name__ for name, module in four.model.named_modules() if "Linear" in repr(type(module))
    }
    in_four = {name for name, kind in of_kind.items() if kind == "Linear4bit"}
    assert in_four == {name for name in of_kind if "language_model" in name} and len(in_four) == 2 * 7
    of_full, of_four = likelihoods(full), likelihoods(four)
    assert 0 < apart(of_four, of_full) < 0.3  # random weights have a narrow range; fitted ones: below
    other = likelihoods(vlm_tiny.build([QUESTION, *OPTIONS], SIDE, 10, CPU))
    assert apart(other, of_full) > 0.6, "another model would pass too"


def test_a_fit_in_4_bits_lowers_the_loss_and_its_adapter_fits_the_full_model(folder, tmp_path):
    four = vlm_training.with_lora(vlm.load(folder, CPU, four_bit=True), 8, 16, 0.0, seed=0)
    images, recipe = noise(8, SIDE), vlm_training.Recipe(10, 1e-2, 8, 8)
    answers = ["nv", "melanoma"] * 4
    log = vlm_training.fit(four, lambda rows: images[rows], [QUESTION] * 8, answers, recipe, tmp_path / "fit", 0)
    assert log["loss"].iloc[-1] < log["loss"].iloc[0] / 2, log["loss"].tolist()
    four.model.save_pretrained(tmp_path / "adapter")
    full = vlm.load(folder, CPU, adapter=tmp_path / "adapter")
    fitted = likelihoods(four)
    assert apart(likelihoods(full), fitted) < 0.1
    assert apart(likelihoods(vlm.load(folder, CPU)), fitted) > 0.3, "the adapter makes no difference"
