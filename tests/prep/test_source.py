from p2d_lib.parameters import check, profile
from p2d_lib.prep import plants
from p2d_lib.prep.source import phantoms, raw_set
from p2d_lib.run import Run


def test_a_phantom_is_rendered_once_for_the_same_parameters():
    p = check("01_prep", profile("smoke")["01_prep"] | {"n_images": 2})
    run, label = Run("t", "01_prep"), "made_of.json"
    first = raw_set(run, p)
    written = (first.folder / label).stat().st_mtime_ns
    raw_set(run, p)
    assert (first.folder / label).stat().st_mtime_ns == written
    raw_set(run, p.model_copy(update={"seed": 1}))
    assert (first.folder / label).stat().st_mtime_ns != written


def test_plants_are_in_the_set_that_is_read():
    planted = {"duplicated_lesions": 2, "mislabelled": 1}
    p = check("01_prep", profile("smoke")["01_prep"] | {"n_images": 14, "tail": 0.0, "plants": planted})
    raw = raw_set(Run("t", "01_prep"), p)
    assert len(raw.metadata) == 16
    assert (raw.folder / "plants.csv").exists() and set(planted) < set(plants.KINDS)


def test_the_phantoms_beside_real_images_are_always_the_same():
    assert (phantoms("mel", 2, 48) == phantoms("mel", 2, 48)).all()
    assert phantoms("df", 3, 48).shape == (3, 48, 48, 3)
