"""Any model reads as an artefact's rows, a server as well; LoRA teaches a tiny LLaVA planted classes, and resumes."""

import os
import signal
import socket
import traceback

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from p2d_lib.models import vlm, vlm_tiny
from p2d_lib.models.vlm_likelihood import log_likelihoods
from p2d_lib.models.vlm_training import IGNORED, Recipe, batch, fit, with_lora
from p2d_lib.readers import vlm_reading, vlm_tuning
from p2d_lib.readers.vlm_reading import FIRST, LocalReader, ServerReader
from p2d_lib.readers.vqa_records import QUESTIONS
from p2d_lib.schemas import READINGS, VLM_ANSWERS
from p2d_lib.vocabulary import DX, FEATURES

CPU = torch.device("cpu")
SIDE, LONG = 32, "mel, nv or another lesion"  # px, and a planted answer of several tokens
SHADES = {"mel": 40, "nv": 210, LONG: 125}  # of the planted classes


def table(n):
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "dx": [("mel", "nv")[k % 2] for k in range(n)]})


def images_of(rows):
    noise = np.random.default_rng(0).integers(-30, 30, (999, SIDE, SIDE, 3))
    return np.stack(
        [(SHADES[dx] + noise[int(i[1:])]).astype(np.uint8) for i, dx in zip(rows["image_id"], rows["dx"], strict=True)]
    )


@pytest.fixture(scope="module")
def base():
    """It has learnt to write "mel" and "nv" at random."""
    train, rng = table(64), np.random.default_rng(0)
    made = vlm_tiny.build([*QUESTIONS.values(), *(f" {dx}" for dx in DX)], SIDE, 0, CPU)
    vlm_tiny.teach_sight(made, lambda rows: images_of(train.iloc[rows]), (train[["dx"]] == "mel").to_numpy(), 40, 0)
    return made, train, rng.choice(["mel", "nv"], 64).tolist()


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    made, train, at_random = base
    folder = tmp_path_factory.mktemp("base")
    questions = [QUESTIONS[FIRST]] * 64
    fit(
        made, lambda rows: images_of(train.iloc[rows]), questions, at_random, Recipe(2, 2e-3, 16, 16), folder / "fit", 0
    )
    made.model.save_pretrained(folder / "model")
    made.processor.save_pretrained(folder / "model")
    return folder / "model"


def tuned(folder, train, scratch, epochs=6.0, at_once=16, dropout=0.05):
    model = with_lora(vlm.load(folder, CPU), 8, 16, dropout, 0)
    recipe = Recipe(epochs, 5e-3, 16, at_once)
    log = fit(
        model,
        lambda rows: images_of(train.iloc[rows]),
        [QUESTIONS[FIRST]] * len(train),
        train["dx"].tolist(),
        recipe,
        scratch,
        0,
    )
    return model, log


def test_lora_learns_planted_classes_that_the_base_does_not_know_and_the_adapter_opens_again(folder, base, tmp_path):
    model, log = tuned(folder, base[1], tmp_path / "fit")
    test = table(40)
    images = images_of(test)
    right = {}
    for name, one in (("base", vlm.load(folder, CPU)), ("LoRA", model)):
        sums, _ = log_likelihoods(one, images, QUESTIONS[FIRST], DX, 40)
        right[name] = (np.array(DX)[sums.argmax(1)] == test["dx"]).mean()
        reader = LocalReader(name, model, tmp_path / "a.jsonl", 3, 40, base_digest="b" if name == "base" else None)
        read = reader.log_likelihoods(test, images_of, FIRST)[0]  # the base: LoRA layers, switched off
        np.testing.assert_array_equal(read.astype(np.float32), sums)
    assert right["base"] <= 0.75 and right["LoRA"] >= 0.9, right
    assert log["loss"].iloc[-3:].mean() < log["loss"].iloc[:3].mean()
    model.model.save_pretrained(tmp_path / "adapter")
    again = vlm.load(folder, CPU, adapter=tmp_path / "adapter")
    expected = log_likelihoods(model, images[:4], QUESTIONS[FIRST], DX)[0]
    np.testing.assert_allclose(log_likelihoods(again, images[:4], QUESTIONS[FIRST], DX, 1)[0], expected, atol=1e-5)
    trained = [name for name, _ in model.model.named_parameters() if "lora_" in name]
    assert trained and not any("vision_tower" in name or "lm_head" in name for name in trained)


def test_the_tower_that_learnt_to_see_is_fixed_while_the_rest_learns_to_write(tmp_path):
    made, rows = vlm_tiny.build(DX, SIDE, 0, CPU), table(16)
    vlm_tiny.teach_sight(made, lambda k: images_of(rows.iloc[k]), np.eye(16, dtype=bool), 2, 0)
    before = {name: parameter.clone() for name, parameter in made.model.named_parameters()}
    fit(made, lambda k: images_of(rows.iloc[k]), ["What?"] * 16, rows["dx"], Recipe(3, 2e-3, 16, 16), tmp_path / "f", 0)
    moved = {name for name, parameter in made.model.named_parameters() if not parameter.equal(before[name])}
    assert any("projector" in name for name in moved) and any("language_model" in name for name in moved), moved
    assert not any("vision_tower" in name for name in moved), moved


def test_a_fit_that_was_stopped_ends_with_the_same_weights(folder, base, tmp_path, monkeypatch):
    monkeypatch.setattr("p2d_lib.models.vlm_training.SAVE_EVERY", 3)
    whole, log = tuned(folder, base[1], tmp_path / "whole", epochs=2.0)

    batches = iter(range(99))

    def stopped(images):
        if next(batches) == 5:
            raise KeyboardInterrupt
        return images

    real = images_of
    monkeypatch.setitem(globals(), "images_of", lambda rows: stopped(real(rows)))
    with pytest.raises(KeyboardInterrupt):
        tuned(folder, base[1], tmp_path / "cut", epochs=2.0)
    monkeypatch.setitem(globals(), "images_of", real)
    resumed, log_again = tuned(folder, base[1], tmp_path / "cut", epochs=2.0)
    for name, parameter in whole.model.named_parameters():
        torch.testing.assert_close(resumed.model.get_parameter(name), parameter, atol=1e-5, rtol=1e-4)
    monkeypatch.setitem(globals(), "images_of", None)  # a finished fit is taken as it is
    finished, _ = tuned(folder, base[1], tmp_path / "whole", epochs=2.0)
    for name, parameter in whole.model.named_parameters():
        torch.testing.assert_close(finished.model.get_parameter(name), parameter)
    assert log["step"].tolist() == log_again["step"].tolist() == list(range(1, 9))


def test_a_finished_fit_of_part_of_an_epoch_takes_no_further_step(folder, base, tmp_path, monkeypatch):
    whole, log = tuned(folder, base[1], tmp_path / "fit", epochs=0.25)
    monkeypatch.setitem(globals(), "images_of", None)
    finished, log_again = tuned(folder, base[1], tmp_path / "fit", epochs=0.25)
    for name, parameter in whole.model.named_parameters():
        torch.testing.assert_close(finished.model.get_parameter(name), parameter)
    pd.testing.assert_frame_equal(log, log_again)


def test_a_step_in_parts_is_the_step_at_once_and_a_batch_that_cannot_be_divided_is_refused(folder, base, tmp_path):
    one, _ = tuned(folder, base[1], tmp_path / "one", epochs=0.25)
    parts, _ = tuned(folder, base[1], tmp_path / "parts", epochs=0.25, at_once=4)
    a, b = (log_likelihoods(m, images_of(table(4)), QUESTIONS[FIRST], DX)[0] for m in (one, parts))
    np.testing.assert_allclose(a, b, atol=0.05)  # dropout differs
    with pytest.raises(ValueError, match="a batch of 16 images is no multiple of 5 images at once"):
        tuned(folder, base[1], tmp_path / "odd", at_once=5)


def in_two_processes(work):
    """Does work(rank) in two processes as torchrun starts them; they have this one's imports, which saves a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        torchrun = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    children = []
    for rank in range(2):
        if (child := os.fork()) == 0:
            signal.alarm(120)  # a process that waits for a dead one would wait for half an hour
            os.environ.update(torchrun, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2")
            AcceleratorState._reset_state(reset_partial_state=True)
            torch.set_num_threads(1)
            try:
                work(rank)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def test_two_processes_fit_what_one_does(folder, base, tmp_path):
    train = base[1].assign(dx=[("mel", "nv", LONG)[k % 3] for k in range(64)])

    def half(rank):
        assert PartialState(cpu=True).num_processes == 2
        model, log = tuned(folder, train, tmp_path / "two", epochs=1.0, at_once=4, dropout=0.0)
        save_file(get_peft_model_state_dict(model.model), tmp_path / f"{rank}.safetensors")
        log.to_parquet(tmp_path / f"{rank}.parquet")

    in_two_processes(half)
    one, log = tuned(folder, train, tmp_path / "one", epochs=1.0, dropout=0.0)
    weights = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    expected = get_peft_model_state_dict(one.model)
    for name, tensor in expected.items():
        assert torch.equal(weights[0][name], weights[1][name]), "both processes end with the same weights"
        torch.testing.assert_close(weights[0][name], tensor, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(pd.read_parquet(tmp_path / "0.parquet")["loss"], log["loss"], rtol=1e-3)
    assert len(log) == 4


def test_only_the_answer_and_its_end_are_learnt(base):
    made, tokenizer = base[0], base[0].processor.tokenizer
    questions, answers = [QUESTIONS[FIRST], "Which?", QUESTIONS[FIRST]], ["nv", "mel", "akiec"]
    made_of = batch(made, images_of(table(3)), questions, answers)
    texts = [tokenizer.decode(row[row != IGNORED]).strip() for row in made_of["labels"]]
    assert texts == ["nv</s>", "akiec</s>", "mel</s>"], "images with one question stand together"
    learnt = made_of["labels"] != IGNORED
    assert (made_of["labels"][learnt] == made_of["input_ids"][learnt]).all() and made_of["attention_mask"][learnt].all()


def test_a_local_model_reads_as_rows_of_the_artefacts_and_asks_nothing_again(folder, tmp_path, monkeypatch):
    reader, rows = LocalReader("tiny, zero-shot", vlm.load(folder, CPU), tmp_path / "a.jsonl", 3, 8), table(10)
    read = vlm_reading.read(reader, rows, images_of, "minus prior")
    answers = VLM_ANSWERS.validate(vlm_reading.answers_of({"a": read}))
    assert len(answers) == 30 and set(answers["template_id"]) == set(QUESTIONS)
    assert READINGS.validate(read.readings)["kind"].eq("vlm").all()
    np.testing.assert_allclose(read.readings[[f"p_{dx}" for dx in DX]], read.ways["minus prior"])
    first = answers[answers["template_id"] == FIRST]
    assert first["likeliest"].tolist() == read.readings["dx_read"].tolist()

    def never(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr(vlm_reading.vlms, "generate", never)
    again = vlm_reading.read(reader, rows, images_of, "minus prior")
    pd.testing.assert_frame_equal(again.answers, read.answers)


class Server:
    """A client that refuses every third image in words."""

    def __init__(self):
        self.anew = 0

    def ask(self, question, image, anew):
        self.anew += anew
        text = "I cannot help with that." if image.mean() > 100 else "It is a melanoma."
        return type("Answer", (), {"text": text, "seconds": 0.1})()

    def each(self, work, items):
        return map(work, items)


def test_a_server_reads_by_its_words_and_an_abstention_stays_one():
    client = Server()
    read = vlm_reading.read(ServerReader("s", client), table(6), images_of, anew=["i3"])
    assert read.ways == {} and client.anew == len(QUESTIONS)
    assert READINGS.validate(read.readings)["dx_read"].tolist() == ["mel", ""] * 3
    assert set(VLM_ANSWERS.validate(read.answers)["rule"]) == {"assertion", "refusal"}


def test_captions_name_what_is_seen_and_no_diagnosis():
    scores = dict.fromkeys(FEATURES, 0.0) | {"asymmetry": 0.9, "red": np.nan}
    described = pd.DataFrame(
        [{"image_id": "a", "valid": True, **scores}, {"image_id": "b", "valid": True, **dict.fromkeys(FEATURES, 0.1)}]
    ).assign(reviewer="")
    texts, seen = vlm_tuning.captions(described, pd.Series(["b", "a", "unknown"]))
    assert texts == ["no marked feature", "asymmetric shape", "no marked feature"]
    assert seen.sum() == 1 and seen.shape == (3, 22)
