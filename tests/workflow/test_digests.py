"""Digests follow contents, and a file is read again only when it may have changed."""

import os
import shutil
import time
from pathlib import Path

import digests
import pytest

from p2d_lib.files import sha256


@pytest.fixture
def images(tmp_path, monkeypatch) -> Path:
    """A folder of two files that were written long ago."""
    monkeypatch.setattr(digests, "SETTLED", -60.0)
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        (folder / name).write_text(name * 100)
    return folder


@pytest.fixture
def read(monkeypatch) -> list[Path]:
    """The files whose contents were read."""
    paths = []
    original = digests.file_sha256
    monkeypatch.setattr(digests, "file_sha256", lambda path: (paths.append(path), original(path))[1])
    return paths


def digest(path: Path) -> str:
    known = digests.Digests(path.parent / "store.json")
    result = known(path)
    known.save()
    return result


def test_a_folder_is_read_once_and_its_digest_is_that_of_its_contents(images, read):
    assert digest(images) == digest(images) == sha256(images)
    assert sorted(read) == [images / "a", images / "b"]


def test_an_edit_of_equal_size_and_with_its_old_date_is_noticed(images, read):
    before, stat = digest(images), (images / "a").stat()
    time.sleep(0.02)
    (images / "a").write_text("c" * 100)
    os.utime(images / "a", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (images / "a").stat().st_mtime_ns == stat.st_mtime_ns
    assert digest(images) != before
    assert read[2:] == [images / "a"]


def test_a_copy_is_read_anew_and_has_the_same_digest(images, read):
    before = digest(images)
    shutil.copytree(images, images.with_name("copied"), copy_function=shutil.copyfile)
    assert digest(images.with_name("copied")) == before
    assert len(read) == 4


def test_a_file_that_was_changed_just_now_is_digested_again(images, read, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED", 2.0)
    digest(images)
    digest(images)
    assert len(read) == 4


def test_an_unreadable_store_costs_time_and_nothing_else(images):
    before = digest(images)
    (images.parent / "store.json").write_text("{half")
    assert digest(images) == before
