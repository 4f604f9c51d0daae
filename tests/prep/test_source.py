from p2d_lib.params import check, profile
from p2d_lib.prep.source import raw_folder
from p2d_lib.run import Run


def test_a_phantom_is_drawn_once_for_the_same_parameters(tmp_path):
    p = check("01_prep", profile("smoke")["01_prep"] | {"n_images": 2})
    run = Run("t", "01_prep")
    drawn = (raw_folder(run, p) / "truth.csv").stat().st_mtime_ns
    assert (raw_folder(run, p) / "truth.csv").stat().st_mtime_ns == drawn
    other = raw_folder(run, p.model_copy(update={"seed": 1}))
    assert (other / "truth.csv").stat().st_mtime_ns != drawn
