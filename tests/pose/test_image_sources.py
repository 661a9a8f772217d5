"""read_image: bytes, file objects, addresses, odd codecs, and memory."""

import io
import subprocess
import sys
import threading
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pose import read_image
from pose.image import image_size

Image = pytest.importorskip("PIL.Image")
HEIGHT, WIDTH = 24, 16
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
LOSSLESS = ("PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "GIF", "ICO", "SGI", "PCX", "IM", "DIB")


def encoded(format: str, pixels: np.ndarray = PIXELS, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_read(kind):
    np.testing.assert_array_equal(read_image(kind(encoded("PNG"))), PIXELS)


def test_binary_file_objects_are_read_from_where_they_stand(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"head" + encoded("PNG"))
    with path.open("rb") as file:
        file.read(4)
        np.testing.assert_array_equal(read_image(file), PIXELS)
    np.testing.assert_array_equal(read_image(io.BytesIO(encoded("PNG"))), PIXELS)


class Stream:
    """A response of a server: it can be read but not be turned back."""

    def __init__(self, content):
        self.content = content

    def read(self, size=-1):
        return self.content


def test_streams_that_cannot_seek_are_read():
    np.testing.assert_array_equal(read_image(Stream(encoded("PNG"))), PIXELS)


def test_other_objects_than_binary_files_are_named(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with (
        (tmp_path / "a.png").open() as file,
        pytest.raises(ValueError, match=r"binary mode \('rb'\)"),
    ):
        read_image(file)
    with pytest.raises(ValueError, match="read\\(\\) gave NoneType"):
        read_image(Stream(None))
    with pytest.raises(ValueError, match="0 bytes"):
        read_image(io.BytesIO())
    with pytest.raises(ValueError, match="0 bytes"):
        read_image(b"")
    with pytest.raises(ValueError, match="image bytes: must be an image that Pillow can read"):
        read_image(b"no image")
    with pytest.raises(ValueError, match="image bytes: the image is damaged or cut off"):
        read_image(encoded("PNG")[:-200])


def test_an_asynchronous_file_object_is_refused():
    class Upload:
        async def read(self, size=-1):
            return encoded("PNG")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"gave coroutine.*await file\.read\(\)"):
            read_image(Upload())


@pytest.mark.parametrize(
    "address",
    ["https://example.org/a.jpg", "HTTP://example.org/a.jpg", "s3://bucket/a.jpg",
     "file:///a/b.jpg", "data:image/png;base64,iVBORw0KGgo="],
)  # fmt: skip
def test_urls_are_refused_with_advice(address, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(urllib.request, "urlopen", never)
    with pytest.raises(ValueError, match="download it first") as caught:
        read_image(address)
    assert address[:20] in str(caught.value)


def test_a_file_that_looks_like_an_address_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data:1.png").write_bytes(encoded("PNG"))
    np.testing.assert_array_equal(read_image("data:1.png"), PIXELS)


def test_an_embedded_nul_is_no_file():
    with pytest.raises(FileNotFoundError, match="existing file"):
        read_image("image\0.png")


@pytest.mark.parametrize("format", LOSSLESS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossless_codecs_give_the_pixels(tmp_path, format, mode):
    """GIF has a palette of 256 colours: few colours survive."""
    pixels = PIXELS // 86 * 100 if format == "GIF" else PIXELS
    pixels = pixels if mode == "RGB" else pixels[..., 0]
    options = {"lossless": True} if format == "WEBP" else {}
    if format == "ICO":
        pixels = np.ascontiguousarray(np.resize(pixels, (16, 16, *pixels.shape[2:])))
        options["sizes"] = [(16, 16)]
    content = encoded(format, pixels, **options)
    expected = pixels if mode == "RGB" else np.repeat(pixels[..., None], 3, -1)
    np.testing.assert_array_equal(read_image(content), expected)
    path = tmp_path / "photo"
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize("format", ["JPEG", "AVIF", "JPEG2000", "MPO"])
def test_lossy_codecs_give_about_the_pixels(format):
    smooth = np.zeros((64, 32, 3), np.uint8)
    smooth[..., 0] = np.arange(64)[:, None] * 3
    try:
        content = encoded(format, smooth)
    except (KeyError, OSError):
        pytest.skip(f"Pillow without {format}")
    assert np.abs(read_image(content).astype(int) - smooth).mean() < 6


def test_postscript_is_not_run():
    with pytest.raises(ValueError, match="another program would have to draw"):
        read_image(encoded("EPS"))


def test_the_size_of_a_turned_image_is_the_one_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.png").write_bytes(encoded("PNG", exif=exif))
    assert image_size(tmp_path / "a.png") == read_image(tmp_path / "a.png").shape[:2] == (16, 24)
    assert image_size(tmp_path / "missing.png") is None
    (tmp_path / "text.png").write_text("no image")
    assert image_size(tmp_path / "text.png") is None


@pytest.mark.parametrize("kind", ["rgba", "palette", "grey16", "la"])
def test_rows_at_a_time_equal_all_at_once(monkeypatch, kind):
    generator = np.random.default_rng(1)
    if kind == "palette":
        image = Image.new("P", (16, 24))
        image.putdata((PIXELS[..., 0] // 8).flatten().tolist())
        image.putpalette(generator.integers(0, 256, 96).tolist())
        image.info["transparency"] = 3
    elif kind == "grey16":
        image = Image.fromarray(generator.integers(0, 65536, (24, 16)).astype(np.uint16))
    else:
        channels = 4 if kind == "rgba" else 2
        image = Image.fromarray(generator.integers(0, 256, (24, 16, channels), dtype=np.uint8))
    whole = read_image(image)
    arrays = None if kind == "palette" else read_image(np.asarray(image))
    monkeypatch.setattr("pose.image._AT_A_TIME", 5 * 16)
    np.testing.assert_array_equal(read_image(image), whole)
    if arrays is not None:
        np.testing.assert_array_equal(read_image(np.asarray(image)), arrays)
        np.testing.assert_array_equal(arrays, whole)


def test_a_given_pil_image_is_not_changed():
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = 6
    assert read_image(image).shape == (16, 24, 3)
    assert image.size == (WIDTH, HEIGHT)
    assert image.getexif()[0x0112] == 6


def test_a_large_transparent_image_takes_little_more_than_its_pixels(tmp_path):
    """36 megapixels: 144 MB of RGBA and 108 MB of RGB; it was 1.6 GB."""
    Image.new("RGBA", (6000, 6000), (10, 20, 30, 128)).save(tmp_path / "a.png", compress_level=1)
    program = (
        "import resource, sys; from pose import read_image; import PIL.Image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak(); image = read_image(sys.argv[1]); print(peak() - before)\n"
        "assert image.shape == (6000, 6000, 3) and (image == image[0, 0]).all()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.png")], capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    assert float(done.stdout) < 450


def test_threads_leave_the_warning_filters_as_they_were(tmp_path):
    content = encoded("PNG")
    before = list(warnings.filters)
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        for _ in range(30):
            read_image(content)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert list(warnings.filters) == before
