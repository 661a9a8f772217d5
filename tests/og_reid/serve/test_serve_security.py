"""Requests that are refused: with 4xx, and a line in the log."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("httpx")
pytest.importorskip("lancedb")

import httpx

from og_reid.serve.image_bytes import check_container
from rendered_people import one_person
from running_service import TOKEN, Running, encoded, fill, person, running


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of two images, with small limits."""
    limits = {"max_pixels": 1_000_000, "max_image_bytes": 1 << 20, "max_batch_bytes": 4 << 20}
    with running(tmp_path_factory.mktemp("service") / "gallery", **limits) as service:
        fill(service, 1)
        yield service


def refused(service: Running, answer: httpx.Response, *status: int) -> str:
    """Reason of a refusal, which the log has, too."""
    assert answer.status_code in status, (answer.status_code, answer.text[:300])
    reason = answer.json()["detail"]
    line = service.logged(answer.headers["x-request-id"])
    assert line["status"] == answer.status_code
    assert line["reason"] == reason
    assert answer.headers["x-content-type-options"] == "nosniff"
    return reason


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    start = b"\x89PNG\r\n\x1a\n" + header
    return start + b"".join(more) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", "text")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "path",
    ["/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.css/../../settings.py",
     "/static/../guard.py", "//etc/passwd", "/..%2f..%2fetc%2fpasswd", "/page.js%00.html"],
)  # fmt: skip
def test_no_path_of_a_request_is_opened(filled: Running, path: str) -> None:
    with socket.create_connection(("127.0.0.1", filled.port), 20) as raw:
        request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        raw.sendall(request.encode())
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert b" 404 " in answer.split(b"\r\n")[0]
    assert b"root:" not in answer


def test_names_and_labels_are_texts_alone(filled: Running, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(person(5))
    for name in (str(secret), "../../secret.png", "a\\..\\b.png", "x" * 400, "\x00.png"):
        answer = filled.client.post("/items", files={"image": (name, person(1))},
                                    data={"options": '{"id": "named"}'})  # fmt: skip
        assert answer.status_code == 200, answer.text
        found = filled.post("/search", person(1), where={"id": "named"}).json()["matches"][0]
        assert "/" not in found["name"]
        assert "\\" not in found["name"]
        assert len(found["name"]) <= 120
    gone = filled.client.post("/forget", json={"item": "named"})
    assert gone.json() == {"forgotten": 1}
    # An image is always bytes: a text in its place is no path.
    text = filled.client.post("/search", data={"image": str(secret)})
    assert text.status_code in (415, 422)
    wanted = filled.client.post("/search", files={"image": ("a.png", str(secret).encode())})
    refused(filled, wanted, 422)


def test_decompression_bombs_are_refused_before_they_are_decoded(filled: Running) -> None:
    wide = png(60_000, 60_000, bytes(1000))
    assert "megapixels" in refused(filled, filled.post("/search", wide), 413)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20)))
    refused(filled, filled.post("/search", png(8, 16, bytes(16 * 25), text)), 413, 422)
    frames = encoded(np.zeros((999, 999, 3), np.uint8), "WEBP")
    assert filled.post("/search", frames).status_code == 200
    assert filled.service.decoder.lost == 0


def test_memory_and_time_of_decoding_are_limited(tmp_path: Path) -> None:
    large = encoded(np.zeros((5000, 5000, 3), np.uint8))
    assert len(large) < 100_000
    with running(tmp_path / "one", decode_megabytes=40) as service:
        assert "too much memory" in refused(service, service.post("/search", large), 413)
        refused(service, service.post("/search", person(1)), 409)
        assert service.post("/items", person(1)).status_code == 200
    with running(tmp_path / "two", decode_seconds=0.02) as service:
        assert "more than 0.02 s" in refused(service, service.post("/search", large), 422)
        assert "more than 0.02 s" in refused(service, service.post("/items", large), 422)
        assert service.service.decoder.lost > 0
        assert service.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        person(1) + archive(), person(1, "JPEG") + archive(), person(1, "WEBP") + archive(),
        person(1, "JPEG") + b"<script>alert(1)</script>", b"GIF89a" + person(1),
        b"%PDF-1.7\n" + person(1),
        archive(), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"",
        *(encoded(one_person(1), kind) for kind in ("GIF", "BMP", "TIFF")),
        b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\xff\xff\xffWEBP", bytes(1000),
        png(8, 16, b""), png(0, 0, b""), png(4, 4, bytes(52)), person(1)[:-20], person(1)[:2000],
        person(1, "JPEG")[:-2], person(1, "JPEG")[:900], person(1, "WEBP")[:-9],
    ],
    ids=lambda content: f"{len(content)} bytes",
)  # fmt: skip
def test_polyglot_and_damaged_images_are_refused(filled: Running, content: bytes) -> None:
    refused(filled, filled.post("/search", content), 422)
    refused(filled, filled.post("/items", content), 422)
    assert filled.client.get("/stats").json()["items"] == 2


def test_images_of_cameras_are_taken(filled: Running) -> None:
    for content in (
        person(0, "JPEG"), person(0, "JPEG", progressive=True), person(0, "WEBP"),
        person(0, "WEBP", lossless=True), person(0, "JPEG", comment=b"a comment"),
        person(0, "JPEG") + bytes(100),  # padded
        person(0, "JPEG") + person(1, "JPEG"),  # with a preview, as cameras write them
    ):  # fmt: skip
        assert filled.post("/search", content).status_code == 200


def test_damaged_bytes_never_end_the_service(filled: Running) -> None:
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = np.frombuffer(person(1, kind), np.uint8)
        for _ in range(25):
            bad = whole.copy()
            bad[rng.integers(0, len(bad), 8)] = rng.integers(0, 256, 8)
            answer = filled.post("/search", bad.tobytes(), why=False)
            assert answer.status_code in (200, 413, 422), answer.text


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0\x00", b"\xff\xd8\xff" + b"\xff" * 50])
def test_containers_that_end_early_are_named(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|must be JPEG|damaged"):
        check_container(content)


def test_without_a_token_nothing_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "gallery", token=TOKEN) as service:
        assert service.post("/items", person(1)).status_code == 200
        bare = httpx.Client(base_url=service.address, timeout=60)
        for given in (None, f"Bearer {TOKEN[:-1]}x", "Bearer", f"Basic {TOKEN}",
                      TOKEN, f"Bearer {TOKEN}{TOKEN}"):  # fmt: skip
            headers = {} if given is None else {"authorization": given}
            for method, path in (("POST", "/search"), ("POST", "/items"), ("POST", "/forget"),
                                 ("POST", "/build"), ("GET", "/stats"), ("GET", "/metrics"),
                                 ("POST", "/view"), ("GET", "/none")):  # fmt: skip
                answer = bare.request(method, path, headers=headers)
                refused(service, answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        for path in ("/", "/page.css", "/page.js", "/health", "/openapi.json"):
            assert bare.get(path).status_code == 200
        # With a token, any name of the machine will do.
        assert service.client.get("/stats", headers={"host": "example.org"}).status_code == 200
        assert all(TOKEN not in json.dumps(each) for each in service.lines)


def test_pages_of_other_origins_are_refused(filled: Running) -> None:
    rebound = filled.client.get("/stats", headers={"host": "evil.example"})
    refused(filled, rebound, 400)
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        answer = filled.client.post("/forget", json={"before": 1e9}, headers={"origin": origin})
        refused(filled, answer, 403)
    same = filled.client.post("/forget", json={"item": "x"}, headers={"origin": filled.address})
    assert same.status_code == 200
    assert filled.client.get("/stats").json()["items"] == 2


def test_large_bodies_are_refused(filled: Running) -> None:
    huge = bytes(3 << 20)
    assert "MB" in refused(filled, filled.post("/search", huge), 413)

    def parts() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(64):
            yield bytes(1 << 16)
        yield b"\r\n--x--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=x"}  # no length: counted as it comes
    refused(filled, filled.client.post("/search", content=parts(), headers=kind), 413)
    refused(filled, filled.client.post("/forget", content=bytes(1 << 17)), 413)
    long = json.dumps({"metadata": {"a": "x" * (1 << 18)}})
    text = filled.client.post("/items", files={"image": person(1)}, data={"options": long})
    refused(filled, text, 400, 413, 422)


def test_slow_clients_are_let_go(tmp_path: Path) -> None:
    with running(tmp_path / "gallery", body_seconds=1.0) as service:
        for start in (b"GET /stats HTTP/1.1\r\nhost: 127.0.0.1\r\n", b""):
            with socket.create_connection(("127.0.0.1", service.port), 20) as raw:
                raw.sendall(start)
                began = time.monotonic()
                answer = raw.recv(1000)
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert time.monotonic() - began < 10
        assert [e["status"] for e in service.lines] == [408, 408]
        with socket.create_connection(("127.0.0.1", service.port), 20) as raw:
            raw.sendall(
                b"POST /search HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n"
                b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            raw.settimeout(20)
            answer = raw.recv(4000)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert service.lines[-1]["reason"] == "the body takes too long"
        assert service.client.get("/health").status_code == 200


def test_filters_are_values_and_never_queries(filled: Running) -> None:
    for text in ("' OR 1=1 --", "north' OR camera != '", "%", "_", "*", "north\x00", "\\", '"',
                 "') OR (1=1", "NULL", "north; DROP TABLE items"):  # fmt: skip
        for options in ({"where": {"camera": text}}, {"cameras": [text]},
                        {"where": {"metadata.zone": text}}, {"where": {"id": [text, text]}},
                        {"where": {"path": {"min": text, "max": text}}}):  # fmt: skip
            answer = filled.post("/search", person(1), why=False, **options)
            assert answer.status_code == 200, answer.text
            assert answer.json()["matches"] == []
    assert filled.client.post("/forget", json={"item": "' OR 1=1 --"}).json() == {"forgotten": 0}
    for where in ({"camera = 'north' OR 1": 1}, {"packed": 1}, {"digest": "x"}, {"": 1},
                  {"camera": {"like": "%"}}, {"camera": {"min": {"a": 1}}}, {"camera": [[1]]},
                  {"time": "soon"}, {"time": 1e300}, {"metadata.a": [[1]]},
                  {"camera": True}):  # fmt: skip
        refused(filled, filled.post("/search", person(1), where=where), 422)
    for text in ("{", "[]", "1", '{"k": "5"}', '{"k": 0}', '{"k": 1000000}', '{"other": 1}',
                 '{"where": {"camera": NaN}}', '{"where": ' + '{"a":' * 5000, '{"k": 1e400}',
                 '{"where": {"metadata.a": "\\ud800"}}', '{"after": 1e999}',
                 '{"where": {"time": ' + "9" * 400 + "}}"):  # fmt: skip
        answer = filled.client.post("/search", files={"image": person(1)}, data={"options": text})
        refused(filled, answer, 422)
    assert filled.client.get("/stats").json()["items"] == 2


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"), ("text/plain", b"x"), ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b""), ("multipart/form-data; boundary=x", b"--y\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\nc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 500, b"--x--\r\n"),
        ("multipart/form-data; boundary=\xff", b"--x--\r\n"),
        ("application/x-www-form-urlencoded", b"image=a"),
    ],
)  # fmt: skip
def test_damaged_forms_are_refused(filled: Running, kind: str, body: bytes) -> None:
    headers = {b"content-type": kind.encode("latin-1")}
    for path in ("/search", "/items", "/person", "/view"):
        refused(filled, filled.client.post(path, content=body, headers=headers), 400, 415, 422)


def test_a_client_has_a_rate(tmp_path: Path) -> None:
    with running(tmp_path / "gallery", requests_per_minute=20) as service:
        status = [service.client.get("/health").status_code for _ in range(14)]
        assert status[:10] == [200] * 10
        assert status[-1] == 429
        answer = service.client.get("/stats")
        refused(service, answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 3


def test_the_log_holds_no_images_names_and_labels(filled: Running) -> None:
    filled.client.post("/items", files={"image": ("holiday-in-rome.png", person(7))},
                       data={"options": '{"identity": "Ada Lovelace", "id": "gone"}'})  # fmt: skip
    filled.client.post("/forget", json={"item": "gone"})
    filled.client.get("/stats?secret=hunter2", headers={"authorization": "Bearer hunter3"})
    time.sleep(0.2)
    text = json.dumps(filled.lines)
    for each in ("holiday", "Ada", "hunter", "base64", "IHDR"):
        assert each not in text
    assert all(isinstance(each["milliseconds"], float) for each in filled.lines)
