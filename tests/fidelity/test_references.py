"""A reference file stands for images that stay where they are; any folder or tar file is measured against it."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import CLASSES, eye, lesion

from p2d_lib.fidelity import __main__ as command
from p2d_lib.fidelity import references
from p2d_lib.fidelity.picture_sources import Source, SourceError
from p2d_lib.images import ImageError
from p2d_lib.instruments import distances
from p2d_lib.models import extractors
from p2d_lib.models.extractors.kind import Kind, Loaded

CPU = torch.device("cpu")


def pixels(n, first, change=lambda image: image):
    return [change(lesion(CLASSES[k % 4], first + k)) for k in range(n)]


def put(folder, images):
    """Images as class/number.png; returns the folder."""
    for k, image in enumerate(images):
        (folder / CLASSES[k % 4]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / CLASSES[k % 4] / f"{k:04}.png")
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return put(tmp_path_factory.mktemp("real"), pixels(240, 0))


@pytest.fixture(scope="module", autouse=True)
def embedded():
    """The registry's only extractor of these tests needs no weights; the list counts the images that it embedded."""
    counts = []

    def load(device):
        return Loaded(lambda images: counts.append(len(images)) or eye(images))

    kinds = {
        name: Kind(name.capitalize(), "sees colour and edges", digest * 32, None, "", 12, load)
        for name, digest in (("eye", "ab"), ("other", "cd"))
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, kind in kinds.items():
            patched.setitem(extractors.REGISTRY, name, lambda name, folder, kind=kind: kind)
        yield counts


@pytest.fixture(scope="module")
def stored(real, tmp_path_factory):
    path = tmp_path_factory.mktemp("ref") / "real.npz"
    assert command.main(["ref", str(real), "--out", str(path), "--extractor", "eye"]) == 0
    return path


def measured(folder, path):
    return references.measure(folder, references.load(path), extractors.Extractor("eye", CPU))


def test_the_distance_to_a_reference_file_is_that_to_its_images(stored, tmp_path):
    others = pixels(60, 1000)
    result = measured(put(tmp_path, others), stored)
    expected = distances.frechet(eye(np.stack(pixels(240, 0))), eye(np.stack(others)))
    assert result["frechet"] == pytest.approx(expected, rel=1e-6)
    assert (result["n"], result["reference_n"]) == (60, 240)
    assert result["caption"].startswith("Features: Eye (eye-abababababab, d = 12)")


def test_further_real_images_lie_at_the_floor_and_blue_ones_far_above(stored, tmp_path):
    ratios = [measured(put(tmp_path / f"{k}", pixels(60, 1000 * (k + 1))), stored)["ratio"] for k in range(5)]
    assert 0.6 < np.mean(ratios) < 1.6
    blue = measured(put(tmp_path / "blue", pixels(60, 9000, lambda image: image // np.uint8([2, 2, 1]))), stored)
    assert blue["ratio"] > 20


def test_the_floor_falls_with_n_and_is_given_only_where_the_reference_can_say(stored, tmp_path):
    reference = references.load(stored)
    assert reference.floor_n.tolist() == [10, 20, 47, 77, 80]
    assert (np.diff(reference.floor[:4]) < 0).all()
    assert reference.floor[2] < reference.floor_at(30) < reference.floor[1]
    result = measured(put(tmp_path, pixels(130, 1000)), stored)
    assert result["floor"] is None and "enough for a floor at up to 80 images" in " ".join(result["notes"])


def test_a_tar_file_measures_as_its_folder_does(stored, tmp_path):
    folder = put(tmp_path / "images", pixels(24, 1000))
    (folder / "class.json").write_text("{}")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(folder, arcname=".")
    assert measured(tmp_path / "shard.tar", stored) == measured(folder, stored)


def test_images_of_any_size_and_format_are_measured_and_hidden_ones_are_not(tmp_path):
    Image.fromarray(lesion("nv", 1)).resize((80, 50)).save(tmp_path / "a.JPG")
    Image.fromarray(lesion("nv", 2)).save(tmp_path / "b.webp", lossless=True)
    (tmp_path / ".trash").mkdir()
    for name in (".trash/c.png", "._b.webp", "notes.txt"):
        (tmp_path / name).write_text("no image")
    assert [(name, image.shape) for name, image in Source(tmp_path)] == [
        ("a.JPG", (50, 80, 3)),
        ("b.webp", (64, 64, 3)),
    ]
    reference = references.make(tmp_path, "eye", extractors.Extractor("eye", CPU))
    assert reference.n == 2 and not len(reference.floor_n)


def test_the_references_own_images_and_too_few_images_are_named(stored, real, tmp_path):
    notes = measured(real, stored)["notes"]
    assert "These are the reference's own images." in notes and not any("too few" in note for note in notes)
    notes = measured(put(tmp_path, pixels(11, 1000)), stored)["notes"]
    assert notes == [
        "11 images are too few for a covariance of 12 features: compare this number only with others at the same n; "
        "near or below the floor, it can mean little variety."
    ]


def test_the_file_holds_no_pickle_and_another_file_is_refused(stored, tmp_path):
    with np.load(stored, allow_pickle=False) as content:
        assert {"mean", "covariance", "n", "extractor", "images", "floor"} <= set(content)
        assert len(str(content["images"])) == 64
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    (tmp_path / "text.npz").write_text("no zip")
    for path, message in (
        ("other.npz", "no reference file"),
        ("text.npz", "no reference file"),
        ("none.npz", "no such"),
    ):
        with pytest.raises(SourceError, match=message):
            references.load(tmp_path / path)


@pytest.mark.parametrize(
    "field, value",
    [("mean", np.full(12, np.nan)), ("covariance", -np.eye(12)), ("covariance", np.eye(11)), ("n", "many"), ("n", 1),
     ("floor", np.ones(1)), ("floor", np.full(5, np.inf)), ("kind", 3), ("n", 50.5), ("mean", np.zeros(12, complex)),
     ("covariance", np.triu(np.ones((12, 12)))), ("covariance", 2 - np.eye(12)),
     ("floor_n", lambda of_file: of_file["floor_n"][::-1]), ("floor", lambda of_file: -1 - of_file["floor"])],
)  # fmt: skip
def test_a_reference_that_cannot_be_becomes_no_number(field, value, stored, tmp_path):
    with np.load(stored) as content:
        value = value(content) if callable(value) else np.array(value)
        np.savez(tmp_path / "damaged.npz", **{**content, field: value})
    with pytest.raises(SourceError, match=rf"damaged.npz: is no reference file \(.*{field} "):
        references.load(tmp_path / "damaged.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(SourceError, match=r"array.npy: is no reference file"):
        references.load(tmp_path / "array.npy")


def test_where_no_file_can_be_written_it_is_said_before_an_image_is_looked_at(real, tmp_path, embedded, capsys):
    (tmp_path / "file").write_text("")
    before = sum(embedded)
    for out, message in ((tmp_path, "is a folder; name the file"), (tmp_path / "file" / "a.npz", "cannot be written")):
        assert command.main(["ref", str(real), "--out", str(out), "--extractor", "eye"]) == 1
        assert message in capsys.readouterr().err
    assert sum(embedded) == before


def test_another_extractor_than_the_references_is_refused(stored, real):
    with pytest.raises(SourceError, match="made with eye-abababababab, not with other-cdcdcdcdcdcd"):
        references.measure(real, references.load(stored), extractors.Extractor("other", CPU))


@pytest.mark.parametrize("verb", ["ref", "measure"])
@pytest.mark.parametrize("fault", ["empty", "absent", "one image", "no tar", "broken image"])
def test_what_cannot_be_measured_is_named_and_becomes_no_number(verb, fault, stored, tmp_path, capsys):
    folder = tmp_path / "images"
    if fault != "absent":
        put(folder, pixels({"empty": 0, "one image": 1}.get(fault, 4), 0))
        folder.mkdir(exist_ok=True)
    if fault == "broken image":
        (folder / "nv" / "broken.png").write_bytes((folder / "bcc" / "0000.png").read_bytes()[:200])
    if fault == "no tar":
        folder = folder / "bcc" / "0000.png"
    options = (
        ["--ref", str(stored)] if verb == "measure" else ["--out", str(tmp_path / "new.npz"), "--extractor", "eye"]
    )
    assert command.main([verb, str(folder), *options]) == 1
    output = capsys.readouterr()
    expected = {
        "empty": "holds no image; files that end in .png", "absent": "no such folder or file",
        "one image": "holds one image; a distance needs two", "no tar": "is neither a folder nor a whole tar file",
        "broken image": "broken.png: not a readable image",
    }  # fmt: skip
    assert expected[fault] in output.err and not output.out and not (tmp_path / "new.npz").exists()


def test_a_broken_image_in_a_tar_file_is_named_with_the_file(tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        member = tarfile.TarInfo("bcc/broken.png")
        member.size = 9
        tar.addfile(member, io.BytesIO(b"truncated"))
    with pytest.raises(ImageError, match=r"shard.tar:bcc/broken.png: not a readable image"):
        list(Source(tmp_path / "shard.tar"))


def put_in_tar(path, names, mode="w"):
    """A tar file with an image under each name, or with a link (name, what it links to); returns its path."""
    with tarfile.open(path, mode) as tar:
        for k, name in enumerate(names):
            stream = io.BytesIO()
            Image.fromarray(lesion("nv", k)).save(stream, "PNG")
            member = tarfile.TarInfo(name if isinstance(name, str) else name[0])
            if member.name == name:
                member.size = len(stream.getvalue())
            else:
                member.type, member.linkname = tarfile.LNKTYPE, name[1]
            tar.addfile(member, io.BytesIO(stream.getvalue()))
    return path


def test_no_image_of_a_tar_file_is_passed_over_for_its_name(stored, tmp_path):
    names = ["../up.png", "/root.png", "l\udce4sion.png"]
    shard = put_in_tar(tmp_path / "a.tar", [*names, ("link.png", "/root.png")])
    assert [name for name, _ in Source(shard)] == [*names, "link.png"]
    assert measured(shard, stored)["n"] == 4 and not (tmp_path.parent / "up.png").exists()
    with pytest.raises(ImageError, match=r"b.tar:link.png: is a link to gone.png, which the tar file lacks"):
        list(Source(put_in_tar(tmp_path / "b.tar", ["a.png", ("link.png", "gone.png")])))
    with pytest.raises(SourceError, match=r"c.tar: holds a.png 2 times"):
        Source(put_in_tar(tmp_path / "c.tar", ["a.png", "b.png", "a.png"]))
    for name, advice in (("d.zip", "a zip is not read: unpack it"), ("e.png", "it is one picture: name the folder")):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
        with pytest.raises(SourceError, match=rf"{name}: is neither a folder nor a whole tar file \({advice}"):
            Source(tmp_path / name)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_file_with_broken_bytes_is_named(kind, tmp_path):
    shard = put_in_tar(tmp_path / "shard.tar", ["a.png", "b.png", "c.png"], f"w:{kind}")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2] + bytes(40) + whole[len(whole) // 2 + 40 :])
    with pytest.raises((SourceError, ImageError), match=r"shard.tar: ?\S* ?(is neither a folder|not a readable)"):
        list(Source(shard))


def test_links_in_a_folder_are_followed_or_named(tmp_path):
    folder, other = put(tmp_path / "images", pixels(2, 0)), put(tmp_path / "other", pixels(1, 5))
    (folder / "link.png").symlink_to(other / "bcc" / "0000.png")
    assert len(list(Source(folder))) == 3
    (folder / "gone.png").symlink_to(other / "none.png")
    with pytest.raises(ImageError, match=r"gone.png: no such image"):
        list(Source(folder))
    (folder / "more").symlink_to(other)
    with pytest.raises(SourceError, match=r"more: is a link to a folder, whose images would be passed over"):
        Source(folder)


def test_large_photographs_are_embedded_a_few_at_a_time(real, stored, embedded, monkeypatch):
    whole = measured(real, stored)
    monkeypatch.setattr(references, "PART_BYTES", 5 * 64 * 64 * 3)
    before = len(embedded)
    assert measured(real, stored)["frechet"] == pytest.approx(whole["frechet"], abs=1e-6)
    assert max(embedded[before:]) == 5


def test_stopped_work_is_not_repeated_where_features_are_kept(real, tmp_path, embedded):
    folder = put(tmp_path / "images", pixels(150, 1000))
    (folder / "nv" / "zzz.png").write_bytes(b"broken")
    options = [str(folder), "--out", str(tmp_path / "new.npz"), "--extractor", "eye", "--cache", str(tmp_path / "kept")]
    before = sum(embedded)
    assert command.main(["ref", *options]) == 1  # at its last part
    assert sum(embedded) == before + 128
    (folder / "nv" / "zzz.png").unlink()
    assert command.main(["ref", *options]) == 0
    assert sum(embedded) == before + 150


def test_the_command_prints_distance_n_floor_and_caption(stored, tmp_path, capsys):
    folder = put(tmp_path, pixels(50, 1000))
    assert command.main(["measure", str(folder), "--ref", str(stored), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == measured(folder, stored)
    capsys.readouterr()
    assert command.main(["measure", str(folder), "--ref", str(stored)]) == 0
    printed = capsys.readouterr().out
    assert f"Fréchet distance {result['frechet']:.4g} (n = 50; reference 240 images)" in printed
    assert f"{result['floor']:.4g}, a ratio of {result['ratio']:.2f}" in printed and result["caption"] in printed
