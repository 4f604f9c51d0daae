"""Claims about packed images."""

import json
import tarfile

import numpy as np

from p2d_lib import images
from p2d_lib.models import generate
from p2d_lib.sample import pack


def test_tars_hold_a_picture_and_a_record_under_one_key_as_webdataset_reads_them(planned, tmp_path):
    planned = planned.assign(red=float("nan"))
    (tmp_path / "generated").mkdir()
    for k, file in enumerate(generate.files(planned, tmp_path / "generated")):
        images.save(file, np.full((8, 8, 3), k, np.uint8))
    pack.collect(planned, tmp_path / "generated", tmp_path / "files")
    paths = pack.pack(planned, tmp_path / "files", tmp_path / "tars", rows_a_tar=3)
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
        assert record["red"] is None  # NaN is no JSON
    assert len(samples) == len(planned)
