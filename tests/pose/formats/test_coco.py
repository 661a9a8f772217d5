"""Keypoint files: round trips and everything that can be wrong with a file."""

import json
import tracemalloc

import numpy as np
import pytest
import torch

from pose import (
    COCO_17,
    COCO_17_FEET,
    CocoKeypoints,
    Keypoints,
    read_coco,
    read_npz,
    write_coco,
    write_npz,
)

FLAT = [v for j in range(17) for v in (j + 0.5, 2 * j, j % 3)]


def written(tmp_path, content, name="people.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_flags_map_to_score_and_visibility(tmp_path):
    people = read_coco(written(tmp_path, [{"keypoints": FLAT}, {"keypoints": FLAT, "score": 0.5}]))
    keypoints = people.keypoints
    assert keypoints.names == COCO_17
    assert keypoints.shape == (2,)
    assert keypoints.xy[0, 4].tolist() == [4.5, 8]
    assert keypoints.score[0, :3].tolist() == [0, 1, 1]  # v = 0, 1, 2
    assert keypoints.visibility[0, :3].tolist() == [0, 0, 1]
    assert keypoints.score[1, :3].tolist() == [0, 0.5, 0.5]
    assert keypoints.visibility[1, :3].tolist() == [0, 0, 1]
    assert people.images == ("", "")


def test_scores_are_taken_only_when_asked_for(tmp_path):
    flat = [v for j in range(17) for v in (j, j, j / 20)]
    path = written(tmp_path, [{"keypoints": flat, "image_id": 7}])
    with pytest.raises(ValueError, match=r'annotation 0: v must be 0, 1 or 2.*values="scores"'):
        read_coco(path)
    people = read_coco(path, values="scores")
    torch.testing.assert_close(people.keypoints.score[0], torch.arange(17) / 20)
    torch.testing.assert_close(people.keypoints.visibility[0], torch.arange(17) / 20)
    assert people.images == ("7",)
    with pytest.raises(ValueError, match="values must be"):
        read_coco(path, values="guess")
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        read_coco(written(tmp_path, [{"keypoints": FLAT}]), values="scores")


def test_a_dict_with_images_gives_their_names(tmp_path):
    content = {
        "images": [{"id": 3, "file_name": "b.jpg"}, {"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"keypoints": FLAT, "image_id": 1}, {"keypoints": FLAT, "image_id": 3}],
    }
    assert read_coco(written(tmp_path, content)).images == ("a.jpg", "b.jpg")


def test_no_annotations_is_an_empty_batch(tmp_path):
    people = read_coco(written(tmp_path, []))
    assert people.keypoints.xy.shape == (0, 17, 2)
    assert people.keypoints.found.shape == (0,)


def test_coco_round_trip(tmp_path):
    people = read_coco(
        written(tmp_path, [{"keypoints": FLAT, "image_id": n} for n in ("b.jpg", "a.jpg")])
    )
    write_coco(tmp_path / "again.json", people)
    again = read_coco(tmp_path / "again.json")
    assert again.images == people.images
    for field in ("xy", "score", "visibility"):
        assert torch.equal(getattr(again.keypoints, field), getattr(people.keypoints, field))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.json", "people.json"]


def test_other_layouts_are_read_by_names(tmp_path):
    flat = [0.0, 1.0, 2] * 21
    people = read_coco(written(tmp_path, [{"keypoints": flat}]), names=COCO_17_FEET)
    assert people.keypoints.names == COCO_17_FEET
    with pytest.raises(ValueError, match=r"flat list of 51 numbers.*got 63 values"):
        read_coco(tmp_path / "people.json")


def with_value(value, index=5):
    return json.dumps([{"keypoints": [*FLAT[:index], value, *FLAT[index + 1 :]]}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('[{"keypoints": [1, 2', "whole JSON file"),
        ("not json", "whole JSON file"),
        ("[" * 100_000, "whole JSON file"),
        ("3", "must hold a list of annotations or a dict; got int"),
        ("{}", 'a list under "annotations"'),
        ('{"annotations": {}}', 'a list under "annotations"'),
        ('{"annotations": [], "images": [{}]}', "image 0"),
        ('{"annotations": [], "images": 5}', '"images" must be a list'),
        ("[5]", "annotation 0: must be a dict"),
        ("[{}]", "annotation 0.*got NoneType"),
        ('[{"keypoints": [1, 2, 2]}]', "annotation 0.*got 3 values"),
        (with_value(float("nan"), 3), r'annotation 0: "keypoints\[3\]" must be finite; got nan'),
        (with_value(float("inf"), 4), "must be finite"),
        (with_value(10**400, 4), r'"keypoints\[4\]" must be in'),
        (with_value("7", 4), "must be a number; got '7'"),
        (with_value(None, 4), "must be a number; got None"),
        (with_value(True, 5), "must be a number; got True"),
        (with_value(3, 5), "v must be 0, 1 or 2; got 3"),
        (json.dumps([{"keypoints": FLAT, "score": 1.5}]), r'"score" must be in \[0, 1\]'),
        (json.dumps([{"keypoints": FLAT, "image_id": [1]}]), '"image_id"'),
    ],
)
def test_broken_json_names_file_entry_and_rule(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_coco(path)
    assert str(path) in str(caught.value)


def test_binary_and_missing_files_are_refused(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match="whole JSON file"):
        read_coco(tmp_path / "binary.json")
    with pytest.raises(FileNotFoundError):
        read_coco(tmp_path / "nowhere.json")
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match="is a folder"):
        read_npz(tmp_path)


@pytest.mark.parametrize("batch", [(), (0,), (2, 3)])
@pytest.mark.parametrize("xyz", [False, True])
def test_npz_round_trip_is_exact(tmp_path, batch, xyz):
    generator = torch.Generator().manual_seed(1)
    shape = (*batch, 21)
    keypoints = Keypoints(
        torch.randn(*shape, 2, generator=generator, dtype=torch.float64),
        torch.rand(shape, generator=generator),
        torch.rand(shape, generator=generator),
        COCO_17_FEET,
        torch.randn(*shape, 3, generator=generator) if xyz else None,
    )
    write_npz(tmp_path / "k.npz", keypoints)
    again = read_npz(tmp_path / "k.npz")
    assert again.names == keypoints.names
    for field in ("xy", "score", "visibility"):
        assert torch.equal(getattr(again, field), getattr(keypoints, field))
        assert getattr(again, field).dtype == getattr(keypoints, field).dtype
    assert (again.xyz is None) == (not xyz)
    assert not xyz or torch.equal(again.xyz, keypoints.xyz)


def test_broken_npz_files_are_refused(tmp_path):
    path = tmp_path / "k.npz"
    good = {"xy": np.zeros((17, 2)), "score": np.zeros(17), "names": np.array(COCO_17)}

    def refused(message, **arrays):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=message) as caught:
            read_npz(path)
        assert str(path) in str(caught.value)

    refused("lacks.*score", xy=good["xy"], names=good["names"])
    refused("xy must have shape", **good | {"xy": np.zeros((16, 2))})
    refused("xy must be finite", **good | {"xy": np.full((17, 2), np.nan)})
    refused("score must be in", **good | {"score": np.full(17, 3.0)})
    refused("names must be a list of texts", **good | {"names": np.zeros(17)})
    refused("plain arrays", **good | {"xy": np.array([object()], dtype=object)})
    refused("floating point", **good | {"xy": np.zeros((17, 2), np.int32)})
    refused("xy must be floating point", **good | {"xy": np.array(["a"] * 17)})

    write_npz(path, Keypoints.none())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="plain arrays"):
        read_npz(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        read_npz(path)
    path.write_text("no archive")
    with pytest.raises(ValueError, match="plain arrays"):
        read_npz(path)
    np.save(tmp_path / "bare.npy", np.zeros(3))
    with pytest.raises(ValueError, match="bare array"):
        read_npz(tmp_path / "bare.npy")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "k.npz"
    write_npz(path, Keypoints.none())
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_npz(path, Keypoints.none(COCO_17_FEET))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["k.npz"]


def test_coco_keypoints_check_themselves():
    with pytest.raises(ValueError, match="same number of people"):
        CocoKeypoints(Keypoints.stack([Keypoints.none()]), ())


def zipped(path, members, **options):
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, **options)


def npy(array) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_small_npz_of_many_names_is_refused_before_they_are_made(tmp_path):
    path = tmp_path / "k.npz"
    names = np.zeros(1 << 22, "<U1")
    np.savez_compressed(path, xy=np.zeros((1, 2)), score=np.zeros(1), names=names)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"k\.npz: names must be at most"):
            read_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 96 << 20
    finally:
        tracemalloc.stop()


def test_npz_of_another_byte_order_is_read(tmp_path):
    np.savez(tmp_path / "k.npz", xy=np.arange(34, dtype=">f8").reshape(17, 2),
             score=np.full(17, 0.5, ">f4"), names=np.array(COCO_17))  # fmt: skip
    found = read_npz(tmp_path / "k.npz")
    assert found.xy[3].tolist() == [6, 7]
    assert found.score.eq(0.5).all()


def test_npz_with_false_sizes_takes_no_memory(tmp_path):
    path = tmp_path / "k.npz"
    header = npy(np.zeros((1, 1), np.float64)).replace(b"(1, 1)", b"(9999999999999, 17, 2)")
    zipped(path, {"xy.npy": header[:200], "score.npy": npy(np.zeros(17)), "names.npy": b""})
    with pytest.raises(ValueError, match="plain arrays"):
        read_npz(path)


def test_npz_of_a_gigabyte_of_zeros_is_refused_unread(tmp_path):
    import zipfile

    path = tmp_path / "k.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key in ("xy", "score", "visibility"):
            with archive.open(f"{key}.npy", "w") as file:
                for _ in range(45):
                    file.write(bytes(8 << 20))
    with pytest.raises(ValueError, match=r"k\.npz: must hold arrays of at most 1024 MiB"):
        read_npz(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.replace(b"\x50\x4b\x01\x02\x14\x03\x14\x00\x00\x00\x08",
                                b"\x50\x4b\x01\x02\x14\x03\x14\x00\x01\x00\x08"),  # encrypted
        lambda raw: raw.replace(b"\x08\x00", b"\x63\x00"),  # unknown compression
        lambda raw: raw.replace(b"descr", b"descx"),
        lambda raw: raw[: len(raw) // 2] + b"\xff" * 20 + raw[len(raw) // 2 + 20 :],
    ],
)  # fmt: skip
def test_damaged_archives_are_named(tmp_path, damage):
    path = tmp_path / "k.npz"
    write_npz(path, Keypoints.none())
    raw = damage(path.read_bytes())
    path.write_bytes(raw)
    try:
        read_npz(path)
    except ValueError as error:
        text = str(error)
    else:
        text = str(path)  # the damage hit nothing that is read
    assert text.startswith(str(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_any_encoding(tmp_path, encoding):
    content = {
        "images": [{"id": 1, "file_name": "Jörg/雪.jpg"}],
        "annotations": [{"keypoints": FLAT, "image_id": 1}],
    }
    path = tmp_path / "people.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False, indent=1).encode(encoding))
    assert read_coco(path).images == ("Jörg/雪.jpg",)


@pytest.mark.parametrize("order", ["<", ">"])
def test_names_of_bytes_that_are_no_characters_are_refused(tmp_path, order):
    path = tmp_path / "k.npz"
    names = np.frombuffer(b"\xff" * 8, f"{order}U1")
    np.savez(path, xy=np.zeros((2, 2), "f4"), score=np.zeros(2, "f4"), names=names)
    with pytest.raises(ValueError, match=r"k\.npz: must hold text of Unicode"):
        read_npz(path)
