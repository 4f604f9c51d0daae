import pytest
import torch
from PIL import Image
from small_sets import cases, lesion

from p2d_lib.models import classifiers
from p2d_lib.models.extractors import Extractor
from p2d_lib.run import Run


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """A run that holds 20 lesions a class of train and test as images, and a scout that was fitted on train."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("P2D_HOME", str(home))
        run = Run("tests", "05_fidelity")
    (run.folder / "images").mkdir(parents=True)
    (run.folder / "baselines").mkdir()
    table = cases(20)
    for k, row in enumerate(table.itertuples()):
        Image.fromarray(lesion(row.dx, k)).save(run.folder / "images" / f"{row.image_id}.png")
    run.table = table.assign(path="images/" + table["image_id"] + ".png")
    train = run.table[run.table["split"] == "train"]
    labels = train["dx"].map(classifiers.DX.index).to_numpy()
    model = classifiers.build("tiny_resnet")
    classifiers.fit(
        model, run.images(train), labels, steps=60, batch_size=32, learning_rate=2e-3, seed=1,
        device=torch.device("cpu"), progress=False,
    )  # fmt: skip
    classifiers.save(model, run.folder / "scout")
    return run


@pytest.fixture(scope="session")
def scout(run) -> Extractor:
    return Extractor("scout", torch.device("cpu"), run.folder / "features", run.folder / "scout")
