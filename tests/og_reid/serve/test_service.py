"""Service of a gallery: search, enrol, forget, people in images, progress, stop."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("httpx")
pytest.importorskip("lancedb")

import og_reid
from og_reid.serve import ServeSettings, application, find_token
from rendered_people import one_person
from running_service import TOKEN, Running, encoded, fill, person, running


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of eight images that tests search."""
    with running(tmp_path_factory.mktemp("service") / "gallery") as service:
        fill(service)
        yield service


def test_an_image_finds_its_person_with_reasons(filled: Running) -> None:
    answer = filled.post("/search", person(2), k=3)
    assert answer.status_code == 200
    found = answer.json()
    assert [each["identity"] for each in found["matches"][:2]] == ["p2", "p2"]
    first = found["matches"][0]
    assert first["camera"] == "north"
    assert first["image"].startswith("data:image/webp;base64,")
    assert first["name"] == "a.png"
    total = sum(each["contribution"] for each in first["parts"])
    assert total == pytest.approx(first["score"], abs=0.02)
    assert len(first["lines"]) > 3
    for line in first["lines"]:  # an image and itself: matches join equal places
        assert abs(line["query"][1] - line["item"][1]) < 0.2
    assert found["items"] == 8


def test_filters_leave_out_items(filled: Running) -> None:
    def found(**options: object) -> list[dict]:
        answer = filled.post("/search", person(2), k=100, why=False, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["matches"]

    assert {each["camera"] for each in found(cameras=["south"])} == {"south"}
    assert {each["identity"] for each in found(identities=["p1", "p3"])} == {"p1", "p3"}
    assert {each["time"] for each in found(after=1002, before=1003)} == {1002.0}
    other = found(exclude_same_camera=True, camera="north")
    assert {each["camera"] for each in other} == {"south"}
    assert found(where={"identity": "p0", "time": {"max": 1000}})[0]["identity"] == "p0"
    assert found(where={"metadata.zone": 3}) == []
    refused = filled.post("/search", person(2), exclude_same_camera=True)
    assert refused.status_code == 422
    assert "query_cameras" in refused.json()["detail"] or "camera" in refused.json()["detail"]


def test_the_answer_is_that_of_the_gallery(filled: Running) -> None:
    gallery = og_reid.Gallery.open(filled.service.gallery.path)  # a reader beside the writer
    wanted = gallery.search(one_person(1), k=5)
    found = filled.post("/search", person(1), k=5).json()["matches"]
    assert [each["id"] for each in found] == [each.id for each in wanted.ranked()]
    scores = [each["score"] for each in found]
    assert scores == pytest.approx(wanted.scores[0].tolist(), abs=1e-5)


def test_a_second_writer_is_refused(filled: Running) -> None:
    from og_reid.serve.service import GalleryService

    with pytest.raises(ValueError, match="written to"):
        GalleryService(filled.service.gallery.path).start()
    with pytest.raises(ValueError, match="written to"):
        og_reid.Gallery.open(filled.service.gallery.path).forget(item="x")
    assert filled.client.get("/stats").json()["items"] == 8


def test_images_are_enrolled_and_forgotten_with_their_bytes(tmp_path: Path) -> None:
    with running(tmp_path / "gallery") as service:
        empty = service.post("/search", person(1))
        assert empty.status_code == 409
        assert service.client.post("/build").status_code == 409
        assert service.client.post("/forget", json={"identity": "x"}).json() == {"forgotten": 0}
        named = {"identity": "Zoë", "metadata": {"zone": 3, "word": "unmistakable-4711"}}
        made = service.post("/items", person(1), **named).json()
        assert (made["new"], len(made["ids"])) == (1, 1)
        again = service.post("/items", person(1), **named).json()
        assert (again["unchanged"], again["ids"]) == (1, made["ids"])
        (match,) = service.post("/search", person(1)).json()["matches"]
        assert match["identity"] == "Zoë"
        assert match["metadata"] == {"zone": 3, "word": "unmistakable-4711"}
        gone = service.client.post("/forget", json={"item": made["ids"][0]}).json()
        assert gone == {"forgotten": 1}
        assert service.client.get("/stats").json()["items"] == 0
        assert service.post("/search", person(1)).status_code == 409
        for file in (tmp_path / "gallery").rglob("*"):
            assert file.is_dir() or b"unmistakable-4711" not in file.read_bytes(), file
        refused = service.post("/items", person(1), metadata={"thumbnail": "x"})
        assert refused.status_code == 422


def _events(answer: object) -> list[tuple[str, dict]]:
    blocks = "".join(answer.iter_text()).strip().split("\n\n")  # type: ignore[attr-defined]
    pairs = [each.split("\ndata: ") for each in blocks]
    return [(name.removeprefix("event: "), json.loads(data)) for name, data in pairs]


def test_many_images_are_enrolled_with_progress(tmp_path: Path) -> None:
    with running(tmp_path / "gallery", max_batch_images=30) as service:
        files = [("image", (f"{n}.png", person(n % 10))) for n in range(19)]
        files.insert(7, ("image", ("broken.png", b"\x89PNG")))
        streamed = {"accept": "text/event-stream"}
        with service.client.stream("POST", "/items", files=files, headers=streamed) as answer:
            events = _events(answer)
        assert [name for name, _ in events] == ["progress"] * 3 + ["done"]
        assert [value["done"] for _, value in events[:-1]] == [8, 16, 20]
        outcome = events[-1][1]
        assert outcome["new"] == 10
        assert [each["name"] for each in outcome["failed"]] == ["broken.png"]
        assert len(outcome["ids"]) == 10
        with service.client.stream("POST", "/build", headers=streamed) as answer:
            events = _events(answer)
        assert events[-1][0] == "done"
        assert events[-1][1]["items"] == 10
        many = [("image", ("a.png", person(1)))] * 32
        assert service.client.post("/items", files=many).status_code in (400, 413)
        twice = service.client.post("/items", files=files[:2], data={"options": '{"id": "x"}'})
        assert twice.status_code == 422


def test_thresholds_and_verdicts(tmp_path: Path) -> None:
    with running(tmp_path / "gallery") as service:
        fill(service, 6)
        early = service.post("/search", person(1), false_accept_rate=0.2).json()
        assert early["verdict"] is None
        assert "build" in early["notes"][0]
        assert service.client.get("/threshold").status_code == 422
        assert service.client.post("/build").json()["measured"]
        limit = service.client.get("/threshold", params={"false_accept_rate": 0.2}).json()
        assert limit["threshold"] == pytest.approx(service.service.gallery.threshold(0.2))
        rate = {"false_accept_rate": 0.09}
        limit = service.client.get("/threshold", params=rate).json()
        known = service.post("/search", person(1), **rate).json()["verdict"]
        assert (known["answer"], known["identity"]) == ("match", "p1")
        assert known["threshold"] == limit["threshold"]
        others = [
            service.post("/search", person(n), **rate).json()["verdict"] for n in (41, 42, 43)
        ]
        assert "not in the gallery" in {each["answer"] for each in others}


def test_people_in_images_have_keypoints_and_a_cloud(filled: Running) -> None:
    pytest.importorskip("mediapipe")
    found = filled.post("/person", person(2)).json()
    assert (found["width"], found["height"]) == (128, 256)
    assert len(found["keypoints"]) > 10
    assert all(0 <= each["x"] <= 128 and 0 <= each["y"] <= 256 for each in found["keypoints"])
    assert set(found["visible"]) == {"head", "torso", "arms", "thighs", "calves", "feet"}
    assert found["hidden"].startswith("data:image/png;base64,")
    page = filled.post("/view", person(2), dark=True)
    assert page.status_code == 200
    assert "<canvas" in page.text
    assert filled.post("/view", encoded(one_person(2)[:40, :40] * 0 + 90)).status_code == 422


def test_readers_do_not_wait_for_each_other(filled: Running) -> None:
    status: list[int] = []

    def search(seed: int) -> None:
        status.append(filled.post("/search", person(seed)).status_code)

    threads = [threading.Thread(target=search, args=(n % 4,)) for n in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert status == [200] * 12


def test_too_many_waiting_requests_are_told_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path / "gallery", most_waiting=2) as service:
        held = threading.Event()
        jobs = [service.service.write(held.wait) for _ in range(2)]
        answer = service.post("/search", person(1))
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        held.set()
        assert all(each.result() for each in jobs)
        assert service.post("/search", person(1)).status_code == 409


def test_a_stopping_service_keeps_what_it_has_enrolled(tmp_path: Path) -> None:
    with running(tmp_path / "gallery") as service:
        files = [("image", (f"{n}.png", person(n))) for n in range(24)]
        streamed = {"accept": "text/event-stream"}
        with service.client.stream("POST", "/items", files=files, headers=streamed) as answer:
            lines = answer.iter_text()
            first = next(lines)
            service.service.stopping.set()
            rest = "".join(lines)
        outcome = json.loads((first + rest).rsplit("data: ", 1)[1])
        assert 8 <= len(outcome["ids"]) < 24
        assert {each["reason"] for each in outcome["failed"]} == {"the service stops"}
        assert service.client.get("/health").json()["status"] == "stopping"
    gallery = og_reid.Gallery.open(tmp_path / "gallery")
    assert len(gallery) == len(outcome["ids"])
    gallery.forget(item=outcome["ids"][0])  # the writer's place is free again


def test_metrics_count_requests_by_route(filled: Running) -> None:
    filled.client.get("/does/not/exist")
    filled.client.get("/health")
    text = filled.client.get("/metrics").text
    assert 'og_reid_requests_total{route="/health",method="GET",status="200"}' in text
    assert 'route="other",method="GET",status="404"' in text
    assert "does/not" not in text
    assert "og_reid_items 8" in text
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rsplit(" ", 1)[1]) >= 0


def test_thumbnails_of_files_come_from_their_folder_alone(tmp_path: Path) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    (images / "1.png").write_bytes(person(1))
    (tmp_path / "secret.png").write_bytes(person(3))
    gallery = og_reid.Gallery(tmp_path / "gallery")
    gallery.add([one_person(1)], ["in"], paths=["1.png"])
    gallery.add([one_person(2)], ["up"], paths=["../secret.png"])
    gallery.add([one_person(3)], ["root"], paths=[str(tmp_path / "secret.png")])
    (images / "link.png").symlink_to(tmp_path / "secret.png")
    gallery.add([one_person(4)], ["link"], paths=["link.png"])
    with running(tmp_path / "gallery", images=images) as service:
        found = service.post("/search", person(1)).json()["matches"]
        assert {each["id"] for each in found if each["image"]} == {"in"}


def test_settings_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="without a token"):
        ServeSettings(host="0.0.0.0")
    assert ServeSettings(host="0.0.0.0", token=TOKEN).token == TOKEN
    assert TOKEN not in repr(ServeSettings(token=TOKEN))
    for bad in ({"token": "short"}, {"token": "ä" * 20}, {"port": -1}, {"max_pixels": 0},
                {"body_seconds": float("nan")}, {"images": tmp_path / "none"}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(bad))):
            ServeSettings(**bad)
    monkeypatch.setenv("OG_REID_TOKEN", f"{TOKEN}\n")
    assert find_token(None) == TOKEN
    file = tmp_path / "token"
    file.write_text(f"{TOKEN[::-1]}\n")
    assert find_token(file) == TOKEN[::-1]
    file.write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match="must hold a token"):
        find_token(file)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(ValueError, match="is no gallery"):
        application(tmp_path / "other")


def test_the_command_checks_its_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from og_reid.cli import main

    monkeypatch.delenv("OG_REID_TOKEN", raising=False)
    assert main(["serve", str(tmp_path / "gallery"), "--host", "0.0.0.0"]) == 1
    assert "token" in capsys.readouterr().err
    assert not (tmp_path / "gallery").exists()
