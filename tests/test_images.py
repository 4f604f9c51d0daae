import numpy as np
import pytest
from PIL import Image

from p2d_lib import images


@pytest.fixture
def jpeg(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


def test_png_keeps_every_pixel(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
    images.save(tmp_path / "x.png", image)
    assert (images.read(tmp_path / "x.png") == image).all()


def test_a_square_is_the_centre_of_the_image(tmp_path):
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200  # the central square
    images.save(tmp_path / "wide.png", wide)
    square = images.read(tmp_path / "wide.png", size=20)
    assert square.shape == (20, 20, 3) and abs(square[:, 2:-2].astype(int) - 200).max() <= 1 and square.min() > 150


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_colour_mode_is_read_as_rgb(tmp_path, mode):
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new("RGB", (8, 8), (102, 102, 102)).convert(mode).save(path)
    assert images.read(path).shape == (8, 8, 3)
    assert abs(images.read(path).astype(int) - 102).max() <= 2


@pytest.mark.parametrize("keep", [0, 10, 300, 0.5, 0.95])
def test_a_truncated_jpeg_is_an_error_that_names_it(jpeg, keep):
    data = jpeg.read_bytes()
    jpeg.write_bytes(data[: keep if keep == 0 or keep > 1 else int(keep * len(data))])
    with pytest.raises(images.ImageError, match=r"photo\.jpg: not a readable image .*; replace the file"):
        images.read(jpeg)


def test_a_text_named_like_an_image_and_a_missing_one_are_named(tmp_path):
    (tmp_path / "fake.png").write_text("<html>404</html>")
    with pytest.raises(images.ImageError, match=r"fake\.png: not a readable image \(no known format\)"):
        images.read(tmp_path / "fake.png")
    with pytest.raises(images.ImageError, match=r"gone\.png: no such image"):
        images.read(tmp_path / "gone.png")


def test_images_of_two_sizes_are_refused_by_name(tmp_path):
    for name, size in (("a", 8), ("b", 16)):
        images.save(tmp_path / f"{name}.png", np.zeros((size, 2 * size, 3), np.uint8))
    with pytest.raises(ValueError, match=r"b\.png is 32 x 16 px, .*a\.png is 16 x 8 px"):
        images.load([tmp_path / "a.png", tmp_path / "b.png"])
