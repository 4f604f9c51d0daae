"""External sets hold nothing that the run has already; what is left out is counted."""

import os
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from p2d_lib import images, parameters
from p2d_lib.classify import external_sets, image_sets, protocol
from p2d_lib.images import square
from p2d_lib.prep import phantom, raw, second_phantom
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

N = 21


@dataclass(frozen=True)
class Held:
    """A picture in memory."""

    picture: Image.Image

    def image(self, at_least: int = 0) -> Image.Image:
        return self.picture


@pytest.fixture(scope="module")
def pictures():
    """3 x N phantoms of 3 x N lesions, the classes in turn."""
    rendered = []
    for k in range(3 * N):
        rng = np.random.default_rng(derive(3, "external", k))
        lesion = phantom.make_lesion(rng, DX[k % len(DX)])
        rendered.append(Image.fromarray(phantom.render(lesion, phantom.make_view(rng, "clinic"), (96, 72))[0]))
    return rendered


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    return Run("test", "06_classify")


@pytest.fixture
def cases(run, pictures):
    """The first N pictures as a run's cases of 48 px."""
    (run.folder / "cases").mkdir(parents=True)
    rows = metadata(range(N))
    rows["path"], rows["split"] = "cases/" + rows["image_id"] + ".png", ["train", "val", "test"] * (N // 3)
    for path, picture in zip(rows["path"], pictures, strict=False):
        images.save(run.folder / path, square(picture, 48))
    return rows


def metadata(numbers, prefix="a"):
    return pd.DataFrame(
        {
            "image_id": [f"{prefix}{k}" for k in numbers], "lesion_id": [f"{prefix}-lesion{k}" for k in numbers],
            "dx": [DX[k % len(DX)] for k in numbers], "age": 50.0, "sex": "female", "localization": "back",
            "dataset": "phantom",
        }
    )  # fmt: skip


def raw_set(pictures, table, at):
    return SimpleNamespace(
        metadata=table, images={name: Held(pictures[k]) for name, k in zip(table["image_id"], at, strict=True)}
    )


def changed(picture):
    """A copy: mirrored, brighter, cropped by 4 %."""
    w, h = picture.size
    cropped = picture.crop((2, 1, w - 2, h - 2)).resize(picture.size)
    return Image.fromarray((np.asarray(cropped)[:, ::-1] * 1.08).clip(0, 255).astype(np.uint8))


def test_planted_names_lesions_and_copies_are_left_out_and_counted_and_nothing_else(run, cases, pictures):
    numbers = range(N, 2 * N)
    table, shown = metadata(numbers, "b"), list(pictures)
    table.loc[0, "image_id"] = "a3"
    table.loc[[1, 2], "lesion_id"] = "a-lesion5"
    shown[N + 3], shown[N + 4] = changed(pictures[7]), pictures[8]
    kept, removed = external_sets.admit(run, {"b": raw_set(shown, table, numbers)}, cases)
    assert list(removed["reason"]) == ["same image_id", "same lesion_id", "same lesion_id", "copy", "copy"]
    assert list(removed["of"]) == ["a3", "", "", "a7", "a8"]
    assert list(kept["image_id"]) == [f"b{k}" for k in numbers][5:]
    assert external_sets.counts(kept, removed).to_dict("records") == [
        {"set": "b", "images": N, "same image_id": 1, "same lesion_id": 2, "copy": 2, "read": N - 5, "lesions": N - 5}
    ]
    assert sorted(path.stem for path in run.path("external_images").iterdir()) == sorted(kept["image_id"])
    assert run.images(kept).shape == (N - 5, 48, 48, 3)


def test_what_an_earlier_set_has_is_left_out_of_a_later_one(run, cases, pictures):
    first, second = (raw_set(pictures, metadata(at, "b"), at) for at in (range(N, 2 * N), range(2 * N - 4, 3 * N)))
    kept, removed = external_sets.admit(run, {"first": first, "second": second}, cases)
    assert list(removed["set"]) == ["second"] * 4
    assert list(external_sets.counts(kept, removed)["read"]) == [N, N]


@pytest.mark.parametrize(("column", "name"), [("lesion_id", "A-Lesion5"), ("image_id", "A3")])
def test_an_id_of_the_run_in_other_letters_is_the_same(run, cases, pictures, column, name):
    table = metadata(range(N, 2 * N), "b")
    table.loc[0, column] = name
    _, removed = external_sets.admit(run, {"b": raw_set(pictures, table, range(N, 2 * N))}, cases)
    assert removed[["image_id", "reason"]].to_numpy().tolist() == [[table["image_id"][0], f"same {column}"]]


def test_a_set_that_the_run_has_already_is_refused(run, cases, pictures):
    with pytest.raises(ValueError, match="again: all of its 21 images are in this run already"):
        external_sets.admit(run, {"again": raw_set(pictures, metadata(range(N), "c"), range(N))}, cases)


def test_where_lesions_are_numbered_alike_the_refusal_says_how_to_tell_them_apart(run, cases, pictures):
    numbered = raw_set(pictures, metadata(range(N, 2 * N), "b").assign(lesion_id=list(map(str, range(N)))), range(N))
    with pytest.raises(
        ValueError, match=r"already \(21 as same lesion_id\): take the set out; lesions that are only num"
    ):
        external_sets.admit(run, {"b": numbered}, cases.assign(lesion_id=list(map(str, range(N)))))


def test_without_external_sets_the_artefacts_are_empty(run, cases):
    kept, removed = external_sets.admit(run, {}, cases)
    assert kept.empty and removed.empty
    assert list(run.path("external_images").iterdir()) == []


def test_external_images_are_read_by_each_classifier_and_trained_on_by_none(run, cases, pictures, monkeypatch):
    kept, _ = external_sets.admit(run, {"b": raw_set(pictures, metadata(range(N, 2 * N), "b"), range(N, 2 * N))}, cases)
    made = cases[cases["split"] == "train"].assign(accepted=True, generator="adapter")
    made["image_id"] = "made" + made["image_id"]
    fit, shown = protocol.classifiers.fit, []
    monkeypatch.setattr(protocol.classifiers, "fit", lambda *a, **k: shown.append(k["batches"].max()) or fit(*a, **k))
    settings = protocol.Protocol(["real", "mixed", "published"], 2, 0.5, "tiny_resnet", 12, 8, 1e-3, 0)
    protocol.train_and_read(run, image_sets.collect(run, cases, made, kept), settings, torch.device("cpu"))
    readings = run.read("external_readings")
    assert {name: set(of) for name, of in readings.groupby(["arm", "seed"])["image_id"]} == {
        (arm, seed): set(kept["image_id"]) for arm in ("real", "mixed") for seed in (0, 1)
    }
    assert max(shown) < len(cases) + len(made)


def test_an_entry_names_a_folder_or_a_layout_and_a_folder():
    assert external_sets.layout_and_folder("/data/ham") == ("ham10000", "/data/ham")
    assert external_sets.layout_and_folder("isic2019=/data/isic") == ("isic2019", "/data/isic")
    assert external_sets.layout_and_folder("/data/year=2020/ham") == ("ham10000", "/data/year=2020/ham")
    assert external_sets.layout_and_folder(" isic2019 = ../a=b ") == ("isic2019", "../a=b")
    assert external_sets.layout_and_folder("/own/my.yaml=/data/x") == ("/own/my.yaml", "/data/x")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("isic2091=/data/isic", "no layout 'isic2091': did you mean 'isic2019'"),
        ("isic2019=", "'isic2019=' names no folder"),
        ("", "'' names no folder"),
        ("/data/a/test", "/data/b/test and /data/a/test would have one name in tables: rename a folder"),
        ("phantom=attic", "the phantom has no camera 'attic'; there are clinic, atlas, both"),
    ],
)
def test_an_entry_that_names_none_is_refused_before_anything_runs(entry, message):
    with pytest.raises(parameters.ParameterError, match=message):
        parameters.check("06_classify", {"external": ["/data/b/test", entry]})


def test_a_phantom_from_elsewhere_is_read_but_for_the_train_images_planted_in_it(run, cases):
    run.parameters["seed"] = 0
    cases = cases.assign(split=["train"] * 15 + ["test"] * (N - 15))
    raw_set = second_phantom.second_phantom(run, cases, "atlas", 20, 3)
    kept, removed = external_sets.admit(run, {"phantom=atlas": raw_set}, cases)
    assert list(removed["reason"]) == ["copy"] * 3
    assert list("planted_" + removed["of"]) == list(removed["image_id"]), "each is found as a copy of its original"
    assert set(removed["of"]) <= set(cases["image_id"][:15])
    assert len(kept) == 20 and kept["image_id"].str.startswith("atlas_").all()
    (line,) = external_sets.sentences({"phantom=atlas": raw_set}, removed)
    assert "found 3 of them, and left out 0 other" in line
    missed = external_sets.sentences({"phantom=atlas": raw_set}, removed.head(1))
    assert "found 1 of them" in missed[0]


def test_a_phantom_is_no_external_set_of_real_images(run, cases):
    with pytest.raises(second_phantom.DataError, match="the images of this run are real"):
        second_phantom.second_phantom(run, cases.assign(dataset="rosendahl"), "atlas", 20, 0)


@pytest.mark.skipif(not os.environ.get("P2D_ISIC2018"), reason="P2D_ISIC2018 names no ISIC 2018 test set")
def test_the_test_set_of_isic_2018_is_read_by_its_layout():
    read = raw.read(raw.find(os.environ["P2D_ISIC2018"], "ham10000_test"), "ham10000_test")
    assert len(read.metadata) == 754
    assert set(read.metadata["dx"]) == set(DX)
    assert read.metadata["lesion_id"].str.startswith("HAMTEST_").all()
