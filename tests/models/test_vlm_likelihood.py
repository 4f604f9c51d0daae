"""How likely a model finds each option: exact, whatever the batch, and only of a model that sees."""

import numpy as np
import pytest
import tiny_vlm
from tiny_vlm import ARCHITECTURES, CPU, QUESTION, noise, whole_forward

from p2d_lib.models import vlm
from p2d_lib.models.vlm_likelihood import blank, log_likelihoods, probabilities, refuse_blind

OPTIONS = ["melanoma", "melanocytic nevus", "red"]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlm") / request.param
    return vlm.load(tiny_vlm.save(folder, *getattr(tiny_vlm, request.param)()), CPU)


def test_an_option_counts_by_the_sum_over_its_tokens_given_image_question_and_tokens_before(model):
    images = noise(2)
    sums, lengths = log_likelihoods(model, images, QUESTION, OPTIONS)
    for k, option in enumerate(OPTIONS):
        tokens = vlm.answer_tokens(model, QUESTION, option).repeat(len(images), 1)
        assert model.processor.tokenizer.decode(tokens[0]).strip() == option and lengths[k] == tokens.shape[1]
        logits = whole_forward(model, images, QUESTION, tokens)[:, :-1]
        expected = logits.log_softmax(-1).gather(-1, tokens[..., None]).sum((1, 2))
        np.testing.assert_allclose(sums[:, k], expected, atol=1e-4)


def test_likelihoods_do_not_depend_on_batch_size_or_order_of_the_options(model):
    images = noise(5)
    sums, _ = log_likelihoods(model, images, QUESTION, OPTIONS)
    for size in (1, 2):
        np.testing.assert_allclose(log_likelihoods(model, images, QUESTION, OPTIONS, size)[0], sums, atol=1e-4)
    np.testing.assert_allclose(log_likelihoods(model, images, QUESTION, OPTIONS[::-1])[0][:, ::-1], sums, atol=1e-4)


def test_a_model_that_sees_passes_and_one_without_its_vision_is_refused(tmp_path):
    model, images = vlm.load(tiny_vlm.save(tmp_path / "llava", *tiny_vlm.llava()), CPU), noise(3)
    refuse_blind(model, images, QUESTION, OPTIONS)
    for parameter in model.model.model.multi_modal_projector.parameters():
        parameter.zero_()
    with pytest.raises(vlm.VlmError, match=r"3 images and a blank one alike.*vision tower loaded"):
        refuse_blind(model, images, QUESTION, OPTIONS)


def test_the_three_ways_take_off_what_they_should():
    sums, lengths = np.log([[0.2, 0.1, 0.1], [0.3, 0.3, 0.1]]), np.array([1, 2, 1])
    ways = probabilities(sums, lengths, np.log([0.2, 0.1, 0.1]))
    np.testing.assert_allclose(ways["sum"], [[0.5, 0.25, 0.25], [3 / 7, 3 / 7, 1 / 7]])
    assert ways["per token"][1].argmax() == 1 and ways["sum"][0].argmax() == 0
    np.testing.assert_allclose(ways["minus prior"][0], 1 / 3), "an image like the blank one says nothing"
    np.testing.assert_allclose(ways["minus prior"][1], np.array([1.5, 3, 1]) / 5.5)


def test_options_that_are_no_choice_are_refused(model):
    with pytest.raises(ValueError, match="at least two, all different"):
        log_likelihoods(model, noise(1), QUESTION, ["melanoma", "melanoma"])
    assert blank(noise(2)).shape == (1, 40, 40, 3)
