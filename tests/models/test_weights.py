"""Claims about weights by name: every kind of model takes id@revision, and a digest names what was loaded."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel, BertTokenizerFast

from p2d_lib.models import bertscore, clip, vlm, weights

sys.path.insert(0, str(Path(__file__).parent))
import tiny_vlm

V1, MAIN = "1" * 40, "2" * 40
CPU = torch.device("cpu")


def fill(hub_cache, save):
    """Writes other weights under each of two commits: save(folder, seed)."""
    for revision, commit, seed in (("v1", V1, 1), ("main", MAIN, 2)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            save(hub_cache(revision, commit))


@pytest.mark.parametrize(
    ("name", "commit"), [("org/derm", MAIN), ("org/derm@main", MAIN), ("org/derm@v1", V1), (f"org/derm@{V1}", V1)]
)
def test_a_name_means_one_commit(hub_cache, name, commit):
    fill(hub_cache, lambda folder: None)
    source = weights.resolve(name)
    assert source == weights.Source("org/derm", commit)
    assert source.options == {"revision": commit}
    assert weights.resolve(str(source)) == source


def test_a_folder_means_itself_even_with_an_at_sign(tmp_path):
    (tmp_path / "derm@home").mkdir()
    source = weights.resolve(tmp_path / "derm@home")
    assert (source.name, source.options) == (str(tmp_path / "derm@home"), {})
    assert weights.download(tmp_path / "derm@home") == tmp_path / "derm@home"


@pytest.mark.parametrize("name", ["org/other", "org/derm@v9", "/nowhere/derm", "a b", ""])
def test_a_name_of_no_weights_is_refused_with_the_valid_forms(hub_cache, name):
    fill(hub_cache, lambda folder: None)
    with pytest.raises(weights.WeightsError, match=rf"^'{name}' cannot be loaded .*give a folder, a Hugging Face id"):
        weights.resolve(name)


def test_a_digest_tells_one_changed_number_and_not_the_type_it_was_loaded_in():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.BatchNorm1d(64)).half()  # as files hold it
    digest = weights.sha256(network)
    assert weights.sha256(network.float()) == digest
    network[0].weight.data[3, 5] += 0.01
    assert weights.sha256(network) != digest


def test_a_digest_tells_names_and_shapes():
    wide, deep = torch.nn.Linear(4, 2, bias=False), torch.nn.Linear(2, 4, bias=False)
    for layer in (wide, deep):
        torch.nn.init.ones_(layer.weight)
    named = torch.nn.ModuleDict({"other": wide})
    assert len({weights.sha256(module) for module in (wide, deep, named)}) == 3


def test_a_model_for_bertscore_is_taken_at_its_commit(hub_cache, tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "brown", "lesion"]
    config = BertConfig(
        vocab_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=1.0,
    )

    def save(folder):
        BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
        BertModel(config).save_pretrained(folder)

    fill(hub_cache, save)
    score = {name: bertscore.f1(["red"], ["brown"], name, "cpu")[0] for name in ("org/derm", "org/derm@v1")}
    assert score["org/derm@v1"] == bertscore.f1(["red"], ["brown"], hub_cache("v1", V1), "cpu")[0]
    assert score["org/derm@v1"] != score["org/derm"]


def test_a_clip_is_taken_at_its_commit(hub_cache):
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)

    def save(folder):
        pixels = np.repeat(image, 4, axis=0)
        seed = int(folder.name[0])
        fitted = clip.fit(pixels, ["red"] * 4, steps=1, batch_size=2, seed=seed, device=CPU)[0]
        clip.save(fitted, folder)

    fill(hub_cache, save)
    pinned, other = (clip.load(f"hf-hub:org/derm@{name}", CPU) for name in ("v1", "main"))
    assert pinned.source == f"hf-hub:org/derm@{V1}"  # which the folder of an alignment model records
    embeddings = clip.embed_images(pinned, image)
    np.testing.assert_array_equal(embeddings, clip.embed_images(clip.load(hub_cache("v1", V1), CPU), image))
    assert not np.array_equal(embeddings, clip.embed_images(other, image))


def test_a_vlm_and_its_adapter_are_taken_at_their_commit_and_answers_are_kept_under_it(hub_cache, tmp_path):
    def save(folder):
        model, processor = tiny_vlm.llava()
        model.save_pretrained(folder)
        processor.save_pretrained(folder)

    fill(hub_cache, save)
    model = vlm.load("org/derm@v1", CPU)
    assert model.name == f"org/derm@{V1}"
    assert weights.sha256(model.model) == weights.sha256(vlm.load(hub_cache("v1", V1), CPU).model)

    adapted = get_peft_model(tiny_vlm.llava()[0], LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained(hub_cache("adapter", "3" * 40))
    assert vlm.load("org/derm@v1", CPU, adapter="org/derm@adapter").name == f"org/derm@{V1} with org/derm@adapter"
