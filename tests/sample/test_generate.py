"""Claims about the generation of a plan's images."""

import json
import tracemalloc
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from p2d_lib import images
from p2d_lib.models import generate, lora, pipelines, sampling
from p2d_lib.run import Run

SETTINGS = {
    "guidance_scale": 2.0, "guidance_interval": (1.4, 3.0), "num_inference_steps": 2, "batch_size": 2, "size": 32,
}  # fmt: skip


class Stub:
    """A generator that takes no time: an image is its seed's digits, and keeps the seeds that were requested."""

    def __init__(self, batch_size=4, fails_at=None, size=8):
        self.batch_size, self.fails_at, self.size, self.requested = batch_size, fails_at, size, []

    def __call__(self, requests):
        requests = iter(requests)
        while batch := list(islice(requests, self.batch_size)):
            if any(seed == self.fails_at for _, seed in batch):
                raise RuntimeError("out of memory")
            self.requested += [seed for _, seed in batch]
            sampled = [np.random.default_rng(seed).integers(0, 256, (self.size, self.size, 3)) for _, seed in batch]
            yield np.stack(sampled).astype(np.uint8)


def long_plan(n):
    rows = {"image_id": [f"adapter_nv_{k:05d}" for k in range(n)], "dx": "nv", "generator": "adapter"}
    return pd.DataFrame(rows | {"prompt": [f"nævus {k}" for k in range(n)], "seed": range(1, n + 1)})


def contents(folder, pattern="*.png"):
    return {path.name: path.read_bytes() for path in folder.glob(pattern)}


def test_a_set_that_was_stopped_goes_on_where_it_was(tmp_path):
    plan = long_plan(20)
    with pytest.raises(RuntimeError, match="out of memory"):
        generate.generate({"adapter": Stub(fails_at=13)}, plan, tmp_path / "a")
    assert len(contents(tmp_path / "a")) == 12
    going_on, whole = Stub(), Stub()
    generate.generate({"adapter": going_on}, plan, tmp_path / "a")
    assert going_on.requested == list(range(13, 21))
    generate.generate({"adapter": going_on}, plan, tmp_path / "a")
    assert going_on.requested == list(range(13, 21))
    generate.generate({"adapter": whole}, plan, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_shards_share_the_work_and_add_up_to_what_one_process_samples(tmp_path):
    plan, stubs = long_plan(11), [Stub() for _ in range(4)]
    for i, stub in enumerate(stubs[:3]):
        generate.generate({"adapter": stub}, plan, tmp_path / "three", shard=(i, 3))
    generate.generate({"adapter": stubs[3]}, plan.sample(frac=1, random_state=0), tmp_path / "one")
    assert [stub.requested for stub in stubs[:3]] == [[1, 4, 7, 10], [2, 5, 8, 11], [3, 6, 9]]
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


class Rounding(Stub):
    """A generator whose images depend on what else is in the batch, as float rounding makes them."""

    def __call__(self, requests):
        requests = list(requests)
        batches = [requests[k : k + self.batch_size] for k in range(0, len(requests), self.batch_size)]
        for batch, sampled in zip(batches, super().__call__(requests), strict=True):
            yield sampled + np.uint8(sum(seed for _, seed in batch) % 256)


def test_images_have_the_same_bits_from_one_process_and_from_several_of_which_one_is_interrupted(tmp_path):
    plan = pd.concat([long_plan(11), long_plan(6).assign(generator="base", image_id=[f"b{k}" for k in range(6)])])
    generate.generate({"adapter": Rounding(), "base": Rounding()}, plan, tmp_path / "one", batch_size=4)
    for i in range(3):
        several = {"adapter": Rounding(), "base": Rounding()}
        generate.generate(several, plan, tmp_path / "three", shard=(i, 3), batch_size=4)
        for file in generate.files(generate.share(plan, (i, 3), 4).iloc[1:3], tmp_path / "three"):
            file.unlink()  # as if the process had been ended while it wrote them
        generate.generate(several, plan, tmp_path / "three", shard=(i, 3), batch_size=4)
    assert len(contents(tmp_path / "one")) == 17
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    shares = pd.concat([generate.share(plan, (i, 3), 4) for i in range(3)])
    assert sorted(shares["image_id"]) == sorted(plan["image_id"])


def test_an_image_is_the_same_in_any_batch_shard_and_order(pipe, planned, tmp_path):
    settings = SETTINGS | {"num_inference_steps": 6}
    generate.generate(generate.pipeline_generators(pipe, **settings), planned, tmp_path / "a")
    other = generate.pipeline_generators(pipe, **settings | {"batch_size": 3})
    for i in (1, 0):
        generate.generate(other, planned[::-1], tmp_path / "b", shard=(i, 2))
    one, two = (images.load(generate.files(planned, tmp_path / name)).astype(int) for name in "ab")
    assert np.abs(one - two).max() <= 1


def test_each_file_says_that_it_is_synthetic_and_how_it_was_made(planned, tmp_path):
    plan = planned.assign(prompt=planned["prompt"].replace("nevus", "nævus"))
    generate.generate({"adapter": Stub(), "base": Stub()}, plan, tmp_path, adapter="0a1b")
    texts = []
    for path in generate.files(plan, tmp_path):
        with Image.open(path) as image:
            texts.append(image.text)
    of_adapter = {"synthetic": "true", "prompt": "nævus", "seed": "2", "generator": "adapter", "adapter": "0a1b"}
    assert texts[1] == of_adapter
    assert texts[3] == {"synthetic": "true", "prompt": "melanoma", "seed": "1", "generator": "base"}


def test_a_file_with_the_samplers_settings_holds_all_that_samples_it_again(pipe, planned, tmp_path):
    how = {name: value for name, value in SETTINGS.items() if name != "batch_size"} | {"solver": "euler"}
    generators = generate.pipeline_generators(pipe, **how | {"batch_size": 1})
    generate.generate(generators, planned, tmp_path, adapter="0a1b", settings={"adapter": how, "base": how})
    for path in generate.files(planned, tmp_path)[1:]:
        with Image.open(path) as image:
            text, pixels = image.text, np.asarray(image)
        settings = json.loads(text["settings"])
        request = iter([(text["prompt"], int(text["seed"]))])
        again = next(sampling.samples(lora.merge(pipe, text["generator"] == "adapter"), request, **settings))
        assert np.array_equal(again[0], pixels), path.name


def test_what_cannot_be_written_stops_the_sampling(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        generate.generate({"adapter": Stub()}, long_plan(3), tmp_path / "file")


def test_a_generator_that_samples_too_few_is_no_success(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        generate.generate({"adapter": lambda _: iter([np.zeros((1, 8, 8, 3), np.uint8)])}, long_plan(3), tmp_path)


def test_memory_does_not_grow_with_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "MAX_WAITING", 16)
    monkeypatch.setattr("os.fsync", lambda _: None)
    peaks = []
    for n in (100, 100, 1000):  # the first time, what is imported late is counted too
        plan, stub = long_plan(n), Stub(size=48)
        tracemalloc.start()
        generate.generate({"adapter": stub}, plan, tmp_path / str(len(peaks)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    all_additional_images = 900 * 48 * 48 * 3  # bytes
    assert peaks[2] - peaks[1] < all_additional_images / 6


def test_base_images_are_sampled_without_the_adapter(pipe, planned, tmp_path):
    generate.generate(generate.pipeline_generators(pipe, **SETTINGS), planned, tmp_path)
    sampled = dict(zip(planned["image_id"], images.load(generate.files(planned, tmp_path)), strict=True))
    pipe.disable_lora()
    plain = sampling.sample(pipe, ["melanoma"], [1], **SETTINGS)[0]
    pipe.enable_lora()
    adapted = sampling.sample(pipe, ["melanoma"], [1], **SETTINGS)[0]
    assert np.abs(sampled["base_mel_0"].astype(int) - plain).max() <= 1
    assert np.abs(sampled["adapter_mel_0"].astype(int) - adapted).max() <= 1
    assert np.abs(sampled["adapter_mel_0"].astype(int) - plain).mean() > 1


def test_an_adapter_that_is_not_there_is_an_error(planned, tmp_path):
    with pytest.raises(ValueError, match="load_lora_weights"):
        generate.generate(generate.pipeline_generators(pipelines.load("random"), **SETTINGS), planned, tmp_path)


def test_an_edited_prompt_is_another_file(planned, tmp_path):
    edited = planned.assign(prompt=planned["prompt"].replace("nevus", "mole"))
    same = [a == b for a, b in zip(*(generate.files(plan, tmp_path) for plan in (planned, edited)), strict=True)]
    assert same == [True, False, False, True]


def test_a_base_whose_weights_lie_in_the_run_was_trained_here_and_one_that_is_pointed_to_was_not(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run = Run("demo", "04_sample")
    (run.folder / "base").mkdir(parents=True)
    assert generate.base_trained_here(run)
    (run.folder / "base" / pipelines.POINTER).write_text("{}")
    assert not generate.base_trained_here(run)
