"""read_image: every way an image may come, and every way it may be broken."""

import io
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pose import read_image

Image = pytest.importorskip("PIL.Image")

HEIGHT, WIDTH = 24, 16


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def saved(tmp_path, image, name="photo.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_rgb_comes_back_unchanged_from_every_source(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels))
    planes = np.moveaxis(pixels, -1, 0)
    sources = [path, str(path), Image.fromarray(pixels), pixels, torch.from_numpy(pixels)]
    sources += [torch.from_numpy(planes.copy()), planes, pixels.astype(np.uint16) * 257]
    for source in sources:
        image = read_image(source)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, pixels)


def test_grey_is_repeated(tmp_path, pixels):
    grey = pixels[..., 0]
    expected = np.repeat(grey[..., None], 3, -1)
    sources = [grey, grey[..., None], grey[None], Image.fromarray(grey)]
    sources.append(saved(tmp_path, Image.fromarray(grey)))
    for source in sources:
        np.testing.assert_array_equal(read_image(source), expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_over_white(tmp_path, mode):
    filled = Image.new(mode, (WIDTH, HEIGHT), (40, 0) if mode == "LA" else (40, 40, 40, 0))
    opaque = Image.new(mode, (WIDTH, 8), (40, 255) if mode == "LA" else (40, 40, 40, 255))
    half = Image.new(mode, (WIDTH, 8), (40, 51) if mode == "LA" else (40, 40, 40, 51))
    filled.paste(opaque, (0, 0))
    filled.paste(half, (0, 8))
    for source in (saved(tmp_path, filled), np.asarray(filled), filled):
        image = read_image(source)
        assert (image[:8] == 40).all()
        assert (image[8:16] == 212).all()  # 40 * 0.2 + 255 * 0.8
        assert (image[16:] == 255).all()


def test_palettes_with_and_without_transparency_are_converted(tmp_path):
    palette = Image.new("P", (WIDTH, HEIGHT), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert (read_image(saved(tmp_path, palette)) == (10, 20, 30)).all()
    assert (read_image(saved(tmp_path, palette, "clear.png", transparency=1)) == 255).all()


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "HSV"])
def test_other_colour_spaces_are_converted(mode):
    white = Image.new("RGB", (WIDTH, HEIGHT), (255, 255, 255)).convert(mode)
    assert (read_image(white) >= 254).all()


def test_cmyk_jpeg_is_converted(tmp_path):
    red = Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0)).convert("CMYK")
    image = read_image(saved(tmp_path, red, "photo.jpg"))
    assert (np.abs(image.astype(int) - (255, 0, 0)) < 20).all()


def test_sixteen_bits_are_scaled(tmp_path):
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    path = saved(tmp_path, Image.fromarray(ramp))
    assert Image.open(path).mode.startswith("I")
    image = read_image(path)
    np.testing.assert_array_equal(image[..., 0], np.round(ramp / 257))
    assert image[0, 0, 0] == 0
    assert image[-1, -1, 0] == 255
    np.testing.assert_array_equal(read_image(Image.fromarray(ramp.astype(np.int32))), image)


def test_exif_orientation_is_applied(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    path = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(pixels, -1))
    # 8 rows x 16 columns is too flat, unless EXIF turns it upright.
    lying = saved(tmp_path, Image.fromarray(pixels[:8]), "lying.png", exif=exif)
    assert read_image(lying).shape == (16, 8, 3)
    with pytest.raises(ValueError, match="at least 16 rows"):
        read_image(saved(tmp_path, Image.fromarray(pixels[:8]), "flat.png"))


def test_missing_files_folders_and_empty_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ValueError, match="is a folder: give the files in it"):
        read_image(tmp_path)
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(ValueError, match=r"empty\.jpg is empty"):
        read_image(empty)


def test_files_that_are_no_images_are_refused(tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("not an image")
    with pytest.raises(ValueError, match="Pillow can read"):
        read_image(text)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_truncated_file_is_refused(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (200, 100, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(ValueError, match=rf"cut\.{kind}: the image is damaged or cut off"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_refused_with_a_hint(dtype):
    values = np.zeros((HEIGHT, WIDTH, 3), dtype)
    with pytest.raises(ValueError, match=r"\(image \* 255\)"):
        read_image(values)
    with pytest.raises(ValueError, match=r"\(image \* 255\)"):
        read_image(torch.from_numpy(values))
    with pytest.raises(ValueError, match="32-bit floats"):
        read_image(Image.fromarray(values[..., 0].astype(np.float32)))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((1, 1, 3), np.uint8), "at least 16 rows and 8 columns; got 1 x 1"),
        (np.zeros((15, 40, 3), np.uint8), "at least 16 rows"),
        (np.zeros((40, 7, 3), np.uint8), "at least 16 rows"),
        (np.zeros((2, 40, 20, 3), np.uint8), "one image at a time"),
        (np.zeros((40, 20, 5), np.uint8), "shape"),
        (np.zeros((0, 20, 3), np.uint8), "at least 16 rows"),
        (np.zeros(40, np.uint8), "shape"),
        (np.zeros((40, 20, 3), bool), "bool"),
        (np.zeros((40, 20, 3), np.int64), "int64"),
        (None, "NoneType"),
        (b"bytes", "bytes"),
    ],
)
def test_bad_arrays_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        read_image(source)


def test_a_one_pixel_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 1 x 1"):
        read_image(saved(tmp_path, Image.new("RGB", (1, 1))))


def test_large_images_pass_and_huge_ones_do_not(tmp_path):
    large = saved(tmp_path, Image.new("L", (5000, 4000), 7), "large.png")
    assert read_image(large).shape == (4000, 5000, 3)
    huge = saved(tmp_path, Image.new("1", (10_001, 10_000)), "huge.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # our own error must come, not Pillow's warning
        with pytest.raises(ValueError, match=r"huge\.png: image must have at most 100 megapixels"):
            read_image(huge)
    bomb = saved(tmp_path, Image.new("1", (20_000, 10_000)), "bomb.png")
    with pytest.raises(ValueError, match="at most 100 megapixels"):
        read_image(bomb)


def test_reading_from_many_threads_leaves_the_warning_filters(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((16, 8, 3), 9, np.uint8)).save(path)
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read_image, [path] * 800))
    finally:
        sys.setswitchinterval(interval)
        after, warnings.filters[:] = list(warnings.filters), before
    assert after == before
