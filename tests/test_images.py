import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

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


def test_a_png_carries_its_text_and_keeps_every_pixel(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
    text = {"synthetic": "true", "prompt": "nævus, 1–2 colours\nnext line", "seed": str(2**62)}
    images.save(tmp_path / "x.png", image, text)
    with Image.open(tmp_path / "x.png") as read:
        assert read.text == text  # before any pixel is decoded
        assert (np.asarray(read) == image).all()


@pytest.mark.parametrize("keyword", ["", "k" * 80, "two\0words", "é"])
def test_a_keyword_that_png_does_not_allow_is_refused(keyword):
    with pytest.raises(ValueError, match="no keyword"):
        images.encode(np.zeros((2, 2, 3), np.uint8), {keyword: "x"})


def test_a_square_is_the_centre_of_the_image(tmp_path):
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200  # the central square
    images.save(tmp_path / "wide.png", wide)
    square = images.read(tmp_path / "wide.png", size=20)
    assert square.shape == (20, 20, 3) and abs(square[:, 2:-2].astype(int) - 200).max() <= 1 and square.min() > 150


@pytest.mark.parametrize("mode", ["1", "L", "RGBA", "P"])
def test_every_colour_mode_of_a_screen_is_read_as_rgb(tmp_path, mode):
    path = tmp_path / "x.png"
    Image.new("RGB", (8, 8), (102, 102, 102)).convert(mode).save(path)
    assert images.read(path).shape == (8, 8, 3)
    assert mode == "1" or abs(images.read(path).astype(int) - 102).max() <= 2


def tilted(image: Image.Image) -> dict:
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: turn it by 90 degrees
    return {"exif": exif}


@pytest.mark.parametrize(
    ("name", "image", "how", "problem"),
    [
        ("print.jpg", Image.new("CMYK", (8, 8)), lambda _: {}, "is in CMYK.*convert it to RGB"),
        ("deep.png", Image.new("I;16", (8, 8)), lambda _: {}, "more than 8 bits a channel; convert it"),
        ("float.tif", Image.new("F", (8, 8)), lambda _: {}, "more than 8 bits a channel; convert it"),
        ("tilted.jpg", Image.new("RGB", (8, 8)), tilted, "orientation 6.*save it upright"),
        ("poster.png", Image.new("RGB", (300, 200)), lambda _: {}, "has 300 x 200 px, more than 0 million; reduce it"),
    ],
)
def test_what_would_not_be_shown_as_it_was_taken_is_refused(tmp_path, monkeypatch, name, image, how, problem):
    monkeypatch.setattr(images, "MAX_PIXELS", 50_000)
    image.save(tmp_path / name, **how(image))
    with pytest.raises(images.ImageError, match=rf"{name}: .*{problem}"):
        images.read(tmp_path / name)


def test_16_bits_a_channel_in_colour_are_refused_too():  # a PNG of 4 x 4 px, which Pillow cannot write
    rows = b"".join(b"\0" + bytes(range(24)) for _ in range(4))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    with pytest.raises(images.ImageError, match="more than 8 bits a channel"):
        images.decode(data, "deep.png")


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_8_bits_a_channel_are_read_whatever_the_width(kind):
    for mode, width in [("RGB", width) for width in (505, 540, 638, 640, 672, 720, 772)] + [("L", 160), ("L", 168)]:
        stream = BytesIO()
        Image.new(mode, (width, 4)).save(stream, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
        assert images.decode(stream.getvalue(), "x").size == (width, 4)


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch, jpeg):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(images.ImageError, match=r"photo\.jpg: not a readable image"):
        images.read(jpeg)


def test_a_jpeg_decoded_small_is_the_same_picture(tmp_path):
    y, x = np.mgrid[0:1:480j, 0:1:640j]
    picture = np.stack([200 * x, 200 * y, 100 + 80 * np.sin(12 * x)], -1).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "big.jpg", quality=95)
    data = (tmp_path / "big.jpg").read_bytes()
    small, full = images.decode(data, "big", at_least=64), images.decode(data, "big")
    assert (small.size, full.size) == ((160, 120), (640, 480))
    difference = np.subtract(*(np.asarray(images.square(image, 56), int) for image in (small, full)))
    assert abs(difference).mean() < 2


@pytest.mark.parametrize("keep", [0, 10, 300, 0.5, 0.95])
def test_a_truncated_jpeg_is_an_error_that_names_it(jpeg, keep):
    data = jpeg.read_bytes()
    jpeg.write_bytes(data[: keep if keep == 0 or keep > 1 else int(keep * len(data))])
    with pytest.raises(images.ImageError, match=r"photo\.jpg: (is empty|not a readable image).*; replace the file"):
        images.read(jpeg)


def test_a_text_named_like_an_image_and_a_missing_one_are_named(tmp_path):
    (tmp_path / "fake.png").write_text("<html>404</html>")
    with pytest.raises(images.ImageError, match=r"fake\.png: not a readable image \(no known format\)"):
        images.read(tmp_path / "fake.png")
    with pytest.raises(images.ImageError, match=r"gone\.png: no such image"):
        images.read(tmp_path / "gone.png")
    (tmp_path / "itself.png").symlink_to("itself.png")
    with pytest.raises(images.ImageError, match=r"itself\.png: cannot be read \(Too many levels of symbolic links\)"):
        images.read(tmp_path / "itself.png")


def test_images_of_two_sizes_are_refused_by_name(tmp_path):
    for name, size in (("a", 8), ("b", 16)):
        images.save(tmp_path / f"{name}.png", np.zeros((size, 2 * size, 3), np.uint8))
    with pytest.raises(ValueError, match=r"b\.png is 32 x 16 px, .*a\.png is 16 x 8 px"):
        images.load([tmp_path / "a.png", tmp_path / "b.png"])


def encoded(image: Image.Image, kind: str = "PNG", **how) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


ADOBE = (1, round(2.2 * 256))  # one number: a gamma
LEVELS = np.linspace(0, 1, 256)
SRGB = np.where(LEVELS <= 0.04045, LEVELS / 12.92, ((LEVELS + 0.055) / 1.055) ** 2.4)


def profile(green: tuple[float, float] = (0.21, 0.71), curve: tuple[int, ...] = ADOBE) -> bytes:
    """An ICC profile of an RGB space under D50, with matrix and curve: by default Adobe RGB's."""
    to_xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in ((0.64, 0.33), green, (0.15, 0.06))]).T
    white = np.array([0.9505, 1, 1.089])
    bradford = np.array([[1.0478, 0.0229, -0.0501], [0.0295, 0.9905, -0.0171], [-0.0092, 0.0150, 0.7521]])
    columns = bradford @ (to_xyz * np.linalg.solve(to_xyz, white))
    tags = {f"{name}XYZ": b"XYZ \0\0\0\0" + s15(*columns[:, k]) for k, name in enumerate("rgb")}
    tags["wtpt"] = b"XYZ \0\0\0\0" + s15(0.9642, 1, 0.8249)
    words = struct.pack(f">I{len(curve) - 1}H", *curve)
    tags |= {f"{name}TRC": b"curv\0\0\0\0" + words.ljust(-(-len(words) // 4) * 4, b"\0") for name in "rgb"}
    table, body = b"", b""
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    size = 132 + 12 * len(tags) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + s15(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def s15(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def test_a_picture_in_a_wider_colour_space_is_converted_to_srgb():
    wide = encoded(Image.new("RGB", (8, 8), (150, 110, 90)), icc_profile=profile())
    colour = images.decode(wide, "wide.png").getpixel((0, 0))
    # Adobe RGB (1998) to sRGB, both under D65: linear light, the two matrices, the curve of sRGB
    linear = (np.array([150, 110, 90]) / 255) ** 2.2
    adobe = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    back = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    light = back @ adobe @ linear
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(np.array(colour) - expected).max() <= 2 and np.abs(expected - (150, 110, 90)).max() > 8


def test_a_profile_that_is_srgbs_changes_no_pixel():
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rounded = profile(
        green=(0.3001, 0.60), curve=(256, *(round(65535 * light) for light in SRGB))
    )  # as cameras write it
    for icc in (srgb, rounded):
        assert images.decode(encoded(pixels, icc_profile=icc), "x").tobytes() == pixels.tobytes()
    grey = pixels.convert("L")  # with the profile of colours, as many programs save it
    assert images.decode(encoded(grey, icc_profile=srgb), "x").tobytes() == grey.convert("RGB").tobytes()


@pytest.mark.parametrize("orientation", [0, 1, 9, 255])
def test_an_orientation_that_is_no_turn_is_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert images.decode(encoded(Image.new("RGB", (8, 6)), "JPEG", exif=exif), "x.jpg").size == (8, 6)


def adobe_by_exif() -> bytes:
    """The EXIF of a camera that was set to Adobe RGB: its interoperability index is R03, and no profile is embedded."""
    tags = ((0x8769, 4, 1, struct.pack("<I", 26)), (0xA005, 4, 1, struct.pack("<I", 44)), (1, 2, 4, b"R03\0"))
    directories = [struct.pack("<HHHI", 1, *tag[:3]) + tag[3] + bytes(4) for tag in tags]
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + b"".join(directories)
    return encoded(Image.new("RGB", (8, 8)), "JPEG", exif=exif)


def png_with(name: bytes, content: bytes) -> bytes:
    """A PNG that says of its colours what a chunk holds."""
    data, body = encoded(Image.new("RGB", (8, 8))), name + content
    return data[:33] + struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def primaries(*values: int) -> bytes:
    """Those of a PNG: x and y of white, red, green and blue, in units of 0.00001."""
    return png_with(b"cHRM", struct.pack(">8I", *values))


LINEAR = png_with(b"gAMA", struct.pack(">I", 100_000))
WIDE = primaries(31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)
HDR = png_with(b"cICP", bytes([9, 16, 0, 1]))


CLEAR = Image.fromarray(np.full((8, 8, 4), (9, 9, 9, 0), np.uint8))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (encoded(Image.new("RGB", (8, 8)), icc_profile=b"junk" * 50), "has a broken colour profile .*save it in sRGB"),
        (adobe_by_exif(), "is in Adobe RGB by its EXIF data"),
        (LINEAR, r"has a gamma of 1\.00"),
        (WIDE, "has other primaries than sRGB; convert it"),
        (HDR, "is in the colour space 9-16 of ITU-T H.273; convert it"),
        (encoded(CLEAR), "has transparent pixels"),
        (encoded(Image.new("P", (8, 8)), transparency=0), "has transparent pixels"),
        (encoded(Image.new("LA", (8, 8), (255, 200))), "has transparent pixels"),
        (
            encoded(Image.new("L", (8, 8)), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 9)]),
            "holds 2 pictures",
        ),
    ],
    ids=["broken profile", "Adobe RGB", "gamma", "primaries", "HDR", "RGBA", "palette", "grey and alpha", "animation"],
)
def test_colours_that_nobody_knows_are_refused(data, problem):
    with pytest.raises(images.ImageError, match=rf"x: {problem}"):
        images.decode(data, "x")


@pytest.mark.parametrize(
    "data",
    [primaries(31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000), png_with(b"cICP", bytes([1, 13, 0, 1]))],
    ids=["primaries", "codes"],
)
def test_a_png_that_says_it_is_in_srgb_is_read(data):
    assert images.decode(data, "x").getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it skips
@pytest.mark.parametrize("kind", ["DDS", "PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000"])
def test_broken_bytes_of_any_format_are_an_image_error(kind):
    rng = np.random.default_rng(0)
    whole = encoded(Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)), kind)
    for _ in range(60):
        broken = bytearray(whole)
        for at in rng.integers(0, min(160, len(broken)), 3):
            broken[at] = rng.integers(256)
        try:
            images.decode(bytes(broken), "x")
        except images.ImageError as error:
            assert str(error).startswith("x: ")
