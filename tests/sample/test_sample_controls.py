"""Claims about planted copies."""

import pandas as pd

from p2d_lib.models import generate
from p2d_lib.run import Run
from p2d_lib.sample import controls


def test_as_many_copies_as_asked_for_are_planted_each_of_its_class(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run, generated = Run("t", "04_sample"), tmp_path / "generated"
    (run.folder / "images").mkdir(parents=True)
    generated.mkdir()
    train = pd.DataFrame({"dx": ["mel", "nv", "nv"], "path": [f"images/{k}.png" for k in range(3)]})
    for k, path in enumerate(train["path"]):
        (run.folder / path).write_text(f"real {train['dx'][k]}")
    files = generate.files(planned, generated)
    for n in (2, 3):
        for file in files:
            file.write_text("synthetic")
        names = controls.plant_copies(run, planned, generated, train, n)
        real = {name: file.read_text() for name, file in zip(planned["image_id"], files, strict=True)}
        assert [name for name, text in real.items() if text != "synthetic"] == names
        assert len(names) == n and all(real[name] == f"real {name.split('_')[1]}" for name in names)
    assert controls.plant_copies(run, planned, generated, train, 0) == []
