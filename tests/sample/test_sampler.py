"""Claims about drawing a plan and about what passes for a copy."""

import json
import math
import tarfile
import tracemalloc
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from p2d_lib import images
from p2d_lib.finetune import adapter, latents, loop
from p2d_lib.models import classifiers, clip, encoding, pipelines, sampling
from p2d_lib.run import Run
from p2d_lib.sample import sampler
from p2d_lib.vocabulary import DX

GUIDED = {"guidance_scale": 2.0, "guidance_interval": (1.4, 3.0)}
SETTINGS = {**GUIDED, "num_inference_steps": 2, "batch_size": 2, "size": 32}


@pytest.fixture(scope="module")
def pipe():
    """A random tiny pipeline with a random adapter."""
    pipe = pipelines.load("random")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    encoded = latents.Encoded(
        encoding.encode_moments(pipe, pixels)[0][:, None].expand(-1, 2, -1, -1, -1),
        encoding.embed_prompts(pipe, ["a", ""]), torch.zeros(2, dtype=torch.int64),
    )  # fmt: skip
    adapter.fit_adapter(pipe, encoded, loop.Recipe(steps=3, batch_size=2, learning_rate=0.1, seed=0), rank=2)
    return pipe


@pytest.fixture
def planned():
    return pd.DataFrame(
        {
            "image_id": ["adapter_mel_0", "adapter_nv_0", "adapter_nv_1", "base_mel_0"],
            "dx": ["mel", "nv", "nv", "mel"],
            "prompt": ["melanoma", "nevus", "nevus", "melanoma"],
            "seed": [1, 2, 3, 1],
            "generator": ["adapter", "adapter", "adapter", "base"],
        }
    )


class Stub:
    """A generator that takes no time: an image is its seed's digits, and remembers what it was asked for."""

    def __init__(self, batch_size=4, fails_at=None, size=8):
        self.batch_size, self.fails_at, self.size, self.asked = batch_size, fails_at, size, []

    def __call__(self, asked):
        asked = iter(asked)
        while batch := list(islice(asked, self.batch_size)):
            if any(seed == self.fails_at for _, seed in batch):
                raise RuntimeError("out of memory")
            self.asked += [seed for _, seed in batch]
            drawn = [np.random.default_rng(seed).integers(0, 256, (self.size, self.size, 3)) for _, seed in batch]
            yield np.stack(drawn).astype(np.uint8)


def long_plan(n):
    rows = {"image_id": [f"adapter_nv_{k:05d}" for k in range(n)], "dx": "nv", "generator": "adapter"}
    return pd.DataFrame(rows | {"prompt": [f"nævus {k}" for k in range(n)], "seed": range(1, n + 1)})


def contents(folder, pattern="*.png"):
    return {path.name: path.read_bytes() for path in folder.glob(pattern)}


def test_a_set_that_was_stopped_goes_on_where_it_was(tmp_path):
    asked = long_plan(20)
    with pytest.raises(RuntimeError, match="out of memory"):
        sampler.draw({"adapter": Stub(fails_at=13)}, asked, tmp_path / "a")
    assert len(contents(tmp_path / "a")) == 12
    going_on, whole = Stub(), Stub()
    sampler.draw({"adapter": going_on}, asked, tmp_path / "a")
    assert going_on.asked == list(range(13, 21))
    sampler.draw({"adapter": going_on}, asked, tmp_path / "a")
    assert going_on.asked == list(range(13, 21))
    sampler.draw({"adapter": whole}, asked, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_shards_share_the_work_and_add_up_to_what_one_process_draws(tmp_path):
    asked, stubs = long_plan(11), [Stub() for _ in range(4)]
    for i, stub in enumerate(stubs[:3]):
        sampler.draw({"adapter": stub}, asked, tmp_path / "three", shard=(i, 3))
    sampler.draw({"adapter": stubs[3]}, asked.sample(frac=1, random_state=0), tmp_path / "one")
    assert [stub.asked for stub in stubs[:3]] == [[1, 4, 7, 10], [2, 5, 8, 11], [3, 6, 9]]
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


def test_an_image_is_the_same_in_any_batch_shard_and_order(pipe, planned, tmp_path):
    settings = SETTINGS | {"num_inference_steps": 6}
    sampler.draw(sampler.generators(pipe, **settings), planned, tmp_path / "a")
    other = sampler.generators(pipe, **settings | {"batch_size": 3})
    for i in (1, 0):
        sampler.draw(other, planned[::-1], tmp_path / "b", shard=(i, 2))
    one, two = (images.load(sampler.files(planned, tmp_path / name)).astype(int) for name in "ab")
    assert np.abs(one - two).max() <= 1


def test_each_file_says_that_it_is_synthetic_and_how_it_was_made(planned, tmp_path):
    asked = planned.assign(prompt=planned["prompt"].replace("nevus", "nævus"))
    sampler.draw({"adapter": Stub(), "base": Stub()}, asked, tmp_path, adapter="0a1b")
    said = []
    for path in sampler.files(asked, tmp_path):
        with Image.open(path) as image:
            said.append(image.text)
    of_adapter = {"synthetic": "true", "prompt": "nævus", "seed": "2", "generator": "adapter", "adapter": "0a1b"}
    assert said[1] == of_adapter
    assert said[3] == {"synthetic": "true", "prompt": "melanoma", "seed": "1", "generator": "base"}


def test_what_cannot_be_written_stops_the_drawing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        sampler.draw({"adapter": Stub()}, long_plan(3), tmp_path / "file")


def test_a_generator_that_draws_too_few_is_no_success(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        sampler.draw({"adapter": lambda asked: iter([np.zeros((1, 8, 8, 3), np.uint8)])}, long_plan(3), tmp_path)


def test_memory_does_not_grow_with_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "WAITING", 16)
    monkeypatch.setattr("os.fsync", lambda _: None)
    peaks = []
    for n in (100, 100, 1000):  # the first time, what is imported late is counted too
        asked, stub = long_plan(n), Stub(size=48)
        tracemalloc.start()
        sampler.draw({"adapter": stub}, asked, tmp_path / str(len(peaks)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 1e6 < 900 * 48 * 48 * 3 / 6  # a sixth of the images would be more


def test_tars_hold_a_picture_and_a_record_under_one_key_as_webdataset_reads_them(planned, tmp_path):
    sampler.draw({"adapter": Stub(), "base": Stub()}, planned, tmp_path / "drawn", adapter="0a1b")
    sampler.collect(planned, tmp_path / "drawn", tmp_path / "files")
    paths = sampler.pack(planned, tmp_path / "files", tmp_path / "tars", rows_a_tar=3)
    assert [path.name for path in paths] == ["000000.tar", "000001.tar"]
    samples = {}
    for path in paths:
        with tarfile.open(path) as tar:
            for member in tar:
                name, end = member.name.split(".")  # a key ends at the first dot
                samples.setdefault(name, {})[end] = tar.extractfile(member).read()
            keys = [name.split(".")[0] for name in tar.getnames()]
            assert keys[::2] == keys[1::2]
    for row in planned.itertuples():
        assert samples[row.image_id]["png"] == (tmp_path / "files" / f"{row.image_id}.png").read_bytes()
        record = json.loads(samples[row.image_id]["json"])
        assert (record["dx"], record["prompt"], record["seed"]) == (row.dx, row.prompt, row.seed)
        assert record["synthetic"] is True
    assert len(samples) == len(planned)


def test_base_images_are_drawn_without_the_adapter(pipe, planned, tmp_path):
    sampler.draw(sampler.generators(pipe, **SETTINGS), planned, tmp_path)
    drawn = dict(zip(planned["image_id"], images.load(sampler.files(planned, tmp_path)), strict=True))
    pipe.disable_lora()
    plain = sampling.sample(pipe, ["melanoma"], [1], **SETTINGS)[0]
    pipe.enable_lora()
    adapted = sampling.sample(pipe, ["melanoma"], [1], **SETTINGS)[0]
    assert np.abs(drawn["base_mel_0"].astype(int) - plain).max() <= 1
    assert np.abs(drawn["adapter_mel_0"].astype(int) - adapted).max() <= 1
    assert np.abs(drawn["adapter_mel_0"].astype(int) - plain).mean() > 1


def test_an_adapter_that_is_not_there_is_not_drawn_with(planned, tmp_path):
    with pytest.raises(ValueError, match="load_lora_weights"):
        sampler.draw(sampler.generators(pipelines.load("random"), **SETTINGS), planned, tmp_path)


def test_a_sweep_visits_each_point_once_with_the_same_noise_and_times_it(pipe):
    settings = {"size": 32, "guidance_interval": (0, math.inf)}
    found = list(sampler.sweep(pipe, ["melanoma", "nevus"], [1, 2], [1, 3], [2, 8], **settings))
    table = pd.DataFrame([point for point, _ in found])
    assert table[["guidance", "steps"]].to_numpy().tolist() == [[1, 2], [1, 8], [3, 2], [3, 8]]
    assert (table.query("steps == 8")["seconds"].to_numpy() > table.query("steps == 2")["seconds"].to_numpy()).all()
    alone = sampling.sample(pipe, ["nevus"], [2], guidance_scale=3, num_inference_steps=8, **settings)[0]
    assert np.abs(found[-1][1][1].astype(int) - alone).max() <= 1


def measured():
    frame = pd.DataFrame({"dx": ["mel", "nv"] * 50, "generator": "adapter", "alignment": np.linspace(-1, 1, 100)})
    frame.loc[frame["dx"] == "nv", "alignment"] -= 5
    return frame.assign(image_id=[f"x{k}" for k in range(100)], nearest_distance=1.0)


def test_an_image_is_refused_for_the_first_reason_there_is_and_reasons_can_be_counted():
    table = measured()
    table.loc[:1, "nearest_distance"] = [0.5, 0.7]
    audit = pd.DataFrame({"image_id": table["image_id"], "memorised": [True] * 4 + [False] * 96})
    found = sampler.accept(table, {"mel": 0.5, "nv": 0.6}, alignment_quantile=0.1, memorised=audit)
    assert found["reason"][:6].tolist() == ["copy", "memorised", "memorised", "memorised", "alignment", "alignment"]
    assert found["reason"].value_counts().to_dict() == {"": 90, "alignment": 6, "memorised": 3, "copy": 1}
    assert (found["accepted"] == (found["reason"] == "")).all()


def test_a_class_that_the_alignment_model_likes_less_is_not_filtered_away():
    kept = sampler.accept(measured(), {"mel": 0.0, "nv": 0.0}, alignment_quantile=0.2).query("accepted")
    assert kept["dx"].value_counts().to_dict() == {"mel": 40, "nv": 40}


def test_nothing_is_refused_by_alignment_unless_it_is_asked_for():
    assert sampler.accept(measured(), {"mel": 0.0, "nv": 0.0})["accepted"].all()


def test_an_audit_of_other_images_is_refused():
    audit = pd.DataFrame({"image_id": [f"x{k}" for k in range(99)], "memorised": False})
    with pytest.raises(ValueError, match="lacks 1 of the images, x99 first"):
        sampler.accept(measured(), {"mel": 0.0, "nv": 0.0}, memorised=audit)


def test_an_edited_prompt_is_drawn_anew(planned, tmp_path):
    edited = planned.assign(prompt=planned["prompt"].replace("nevus", "mole"))
    same = [a == b for a, b in zip(*(sampler.files(plan, tmp_path) for plan in (planned, edited)), strict=True)]
    assert same == [True, False, False, True]


def test_a_planted_copy_is_found_and_a_new_lesion_is_not():
    rng = np.random.default_rng(0)
    train_vectors, val_vectors = rng.normal(size=(200, 8)), rng.normal(size=(210, 8))
    thresholds = sampler.copy_thresholds(val_vectors, np.repeat(DX, 30), train_vectors)
    index, distance = sampler.nearest(train_vectors[[17, 4]] + 1e-3, train_vectors)
    assert index.tolist() == [17, 4]
    assert (distance < min(thresholds.values())).all()
    fresh = sampler.nearest(rng.normal(size=(1000, 8)), train_vectors)[1]
    assert (fresh < max(thresholds.values())).mean() < 0.15


def test_a_class_without_val_images_takes_the_threshold_of_all():
    rng = np.random.default_rng(0)
    val, dx = rng.normal(size=(60, 4)), np.repeat(DX[:6], 10)
    thresholds = sampler.copy_thresholds(val, dx, rng.normal(size=(50, 4)))
    assert min(thresholds[k] for k in DX[:6]) <= thresholds[DX[6]] <= max(thresholds[k] for k in DX[:6])


def test_a_drawn_train_image_is_measured_at_distance_zero(planned, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, pixels, strict=True):
        images.save(path, image)
    device = torch.device("cpu")
    scout = classifiers.build("tiny_resnet")
    vectors = classifiers.predict(scout, pixels, device)["embedding"]
    aligner, _ = clip.fit(pixels, ["a", "b", "c", "d"], steps=1, batch_size=4, seed=0, device=device)
    names = np.array(["w", "x", "y", "z"])
    measured = sampler.measure(planned, paths, scout, aligner, names, vectors, device)
    assert measured["nearest_case"].tolist() == names.tolist()
    assert measured["nearest_distance"].max() < 1e-3
    assert measured["alignment"].between(-1, 1).all()


def test_as_many_copies_as_asked_for_are_planted_each_of_its_class(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run, drawn = Run("t", "04_sample"), tmp_path / "drawn"
    (run.folder / "images").mkdir(parents=True)
    drawn.mkdir()
    train = pd.DataFrame({"dx": ["mel", "nv", "nv"], "path": [f"images/{k}.png" for k in range(3)]})
    for k, path in enumerate(train["path"]):
        (run.folder / path).write_text(f"real {train['dx'][k]}")
    files = sampler.files(planned, drawn)
    for n in (2, 3):
        for file in files:
            file.write_text("synthetic")
        names = sampler.plant_copies(run, planned, drawn, train, n)
        real = {name: file.read_text() for name, file in zip(planned["image_id"], files, strict=True)}
        assert [name for name, text in real.items() if text != "synthetic"] == names
        assert len(names) == n and all(real[name] == f"real {name.split('_')[1]}" for name in names)
    assert sampler.plant_copies(run, planned, drawn, train, 0) == []
