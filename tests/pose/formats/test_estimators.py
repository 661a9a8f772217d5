"""Files of other programs: what they mean, round trips, and everything that can be wrong."""

import json

import pytest
import torch

from pose import (
    COCO_17,
    OPENPOSE_18,
    OPENPOSE_25,
    CocoKeypoints,
    Keypoints,
    part_visibility,
    read_alphapose,
    read_kpr,
    read_mmpose,
    read_openpose,
    read_sep_json,
    select_person,
    write_alphapose,
    write_kpr,
    write_mmpose,
    write_openpose,
    write_sep_json,
)
from pose.layouts import HALPE_26, WHOLEBODY_23


def written(tmp_path, content, name="people.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def nested(count: int, shift: float = 0.0) -> list[list[float]]:
    """Keypoint j at (j + shift, 2 j) with score (j + 1) / (count + 1)."""
    return [[j + shift, 2.0 * j, (j + 1) / (count + 1)] for j in range(count)]


def flat(count: int, shift: float = 0.0) -> list[float]:
    return [value for row in nested(count, shift) for value in row]


def people(count: int, names: tuple[str, ...], dtype: torch.dtype = torch.float32) -> Keypoints:
    generator = torch.Generator().manual_seed(0)
    xy = 100 * torch.rand(count, len(names), 2, generator=generator, dtype=dtype)
    return Keypoints(xy, torch.rand(count, len(names), generator=generator).to(dtype), names=names)


def assert_rows(found: Keypoints, shifts: list[float], names: tuple[str, ...], count: int) -> None:
    assert found.names == names
    assert found.shape == (len(shifts),)
    for i, shift in enumerate(shifts):
        expected = torch.tensor(nested(count, shift))[: len(names)].to(found.xy.dtype)
        torch.testing.assert_close(found.xy[i], expected[:, :2])
        torch.testing.assert_close(found.score[i], expected[:, 2])
    assert torch.equal(found.visibility, found.score)


@pytest.mark.parametrize(("count", "names"), [(18, OPENPOSE_18), (25, OPENPOSE_25)])
@pytest.mark.parametrize(
    ("group", "key"),
    [("people", "pose_keypoints_2d"), ("people", "pose_keypoints"), ("bodies", "joints")],
)
def test_openpose_files_are_read(tmp_path, count, names, group, key):
    content = {"version": 1.3, group: [{key: flat(count, s), "person_id": [-1]} for s in (0, 5)]}
    assert_rows(read_openpose(written(tmp_path, content)), [0, 5], names, count)


def test_a_mark_of_the_byte_order_is_no_fault(tmp_path):
    path = tmp_path / "from_windows.json"
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": flat(18)}]}), encoding="utf-8-sig")
    assert_rows(read_openpose(path), [0], OPENPOSE_18, 18)


def test_openpose_order_is_the_published_one():
    assert OPENPOSE_18[1] == "neck"
    assert OPENPOSE_18[2:5] == ("right_shoulder", "right_elbow", "right_wrist")
    assert OPENPOSE_25[8] == "mid_hip"
    assert OPENPOSE_25[9:15] == OPENPOSE_18[8:14]
    assert OPENPOSE_25[19:] == (
        "left_toe", "left_small_toe", "left_heel", "right_toe", "right_small_toe", "right_heel"
    )  # fmt: skip
    mirrored = people(1, OPENPOSE_25).flip(10)
    assert torch.equal(mirrored.score[0, 20], people(1, OPENPOSE_25).score[0, 23])


def test_sep_json_keeps_the_numbers_and_accepts_missing_files(tmp_path):
    content = {"version": "AlphaPose v0.2", "people": [{"pose_keypoints_2d": [1 / 3] * 54}]}
    found = read_sep_json(written(tmp_path, content))
    assert found.xy.dtype == torch.float64
    assert float(found.xy[0, 0, 0]) == 1 / 3
    with pytest.raises(FileNotFoundError, match="there is no keypoint file"):
        read_sep_json(tmp_path / "other.json")
    absent = read_sep_json(tmp_path / "other.json", missing_ok=True)
    assert absent.shape == (0,)
    assert part_visibility(absent, (150, 60), mode="reference").tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="must have 18 keypoints; got 25"):
        read_sep_json(written(tmp_path, {"people": [{"pose_keypoints_2d": flat(25)}]}))


@pytest.mark.parametrize(
    ("count", "names"), [(17, COCO_17), (26, HALPE_26), (133, WHOLEBODY_23), (136, HALPE_26)]
)
def test_alphapose_list(tmp_path, count, names):
    content = [
        {"image_id": image, "category_id": 1, "keypoints": flat(count, shift), "score": 3.1}
        for image, shift in (("b.jpg", 0), ("a.jpg", 5), ("a.jpg", 9))
    ]
    found = read_alphapose(written(tmp_path, content))
    assert found.images == ("b.jpg", "a.jpg", "a.jpg")
    assert_rows(found.keypoints, [0, 5, 9], names, count)


@pytest.mark.parametrize(("group", "key"), [("people", "pose_keypoints_2d"), ("bodies", "joints")])
def test_alphapose_dict_of_images(tmp_path, group, key):
    content = {
        "b.jpg": {"version": "AlphaPose v0.2", group: [{key: flat(18)}, {key: flat(18, 5)}]},
        "a.jpg": {"version": "AlphaPose v0.2", group: []},
        "c.jpg": {"version": "AlphaPose v0.2", group: [{key: flat(18, 7)}]},
    }
    found = read_alphapose(written(tmp_path, content))
    assert found.images == ("b.jpg", "b.jpg", "c.jpg")
    assert_rows(found.keypoints, [0, 5, 7], OPENPOSE_18, 18)


def test_kpr_puts_the_target_first(tmp_path):
    content = [
        {"keypoints": nested(17), "is_target": False},
        {"keypoints": nested(17, 5), "is_target": False},
        {"keypoints": flat(17, 9), "is_target": True},
    ]
    found = read_kpr(written(tmp_path, content))
    assert_rows(found, [9, 0, 5], COCO_17, 17)
    assert select_person(found, "first") == 0
    unmarked = [{"keypoints": flat(17), "score": 0.7, "bbox": [0, 0, 9, 9]}, content[1]]
    del unmarked[1]["is_target"]
    assert_rows(read_kpr(written(tmp_path, unmarked)), [0, 5], COCO_17, 17)
    assert_rows(read_kpr(written(tmp_path, unmarked[0])), [0], COCO_17, 17)
    for empty in ("[]", "null"):
        assert read_kpr(written(tmp_path, empty)).shape == (0,)


def instance(count: int, shift: float = 0.0) -> dict:
    rows = nested(count, shift)
    return {
        "keypoints": [row[:2] for row in rows],
        "keypoint_scores": [row[2] for row in rows],
        "bbox": [[0, 0, 9, 9]],
        "bbox_score": 0.9,
    }


def test_mmpose_predictions_of_an_image(tmp_path):
    content = [instance(17), instance(17, 5)]
    found = read_mmpose(written(tmp_path, content, "photo.json"))
    assert found.images == ("photo", "photo")
    assert_rows(found.keypoints, [0, 5], COCO_17, 17)
    demo = {"meta_info": {"dataset_name": "coco"}, "instance_info": content}
    found = read_mmpose(written(tmp_path, demo, "results_photo.json"))
    assert found.images == ("photo", "photo")
    assert_rows(found.keypoints, [0, 5], COCO_17, 17)
    assert read_mmpose(written(tmp_path, [])).keypoints.shape == (0,)


def test_mmpose_frames_of_a_video(tmp_path):
    frames = [
        {"frame_id": 1, "instances": [instance(133), instance(133, 5)]},
        {"frame_id": 2, "instances": []},
        {"frame_id": 3, "instances": [instance(133, 9)]},
    ]
    for content in (frames, {"meta_info": {}, "instance_info": frames}):
        found = read_mmpose(written(tmp_path, content))
        assert found.images == ("1", "1", "3")
        assert_rows(found.keypoints, [0, 5, 9], WHOLEBODY_23, 133)


def test_vitpose_results(tmp_path):
    listed = [{"image_id": 785, "category_id": 1, "keypoints": flat(17), "score": 0.9}]
    found = read_mmpose(written(tmp_path, listed))
    assert found.images == ("785",)
    assert_rows(found.keypoints, [0], COCO_17, 17)
    swapped = [[y, x, score] for x, y, score in nested(3, 4)]
    easy = {"keypoints": [{}, {"7": swapped}], "skeleton": {"0": "nose", "1": "neck", "2": "hip"}}
    found = read_mmpose(written(tmp_path, easy))
    assert found.images == ("1",)
    assert_rows(found.keypoints, [4], ("nose", "neck", "hip"), 3)


def test_other_layouts_by_name(tmp_path):
    path = written(tmp_path, [instance(3)])
    with pytest.raises(ValueError, match="entry 0: must have 17, 26, 133, 136 keypoints; got 3"):
        read_mmpose(path)
    assert_rows(read_mmpose(path, names=("a", "b", "c")).keypoints, [0], ("a", "b", "c"), 3)
    with pytest.raises(ValueError, match="must have 2 keypoints; got 3"):
        read_mmpose(path, names=("a", "b"))


def assert_same(found: Keypoints, expected: Keypoints) -> None:
    assert found.names == expected.names
    assert torch.equal(found.xy, expected.xy)
    assert torch.equal(found.score, expected.score)


def test_round_trips(tmp_path):
    path = tmp_path / "again.json"
    for names in (OPENPOSE_18, OPENPOSE_25):
        for count in (0, 2):
            write_openpose(path, people(count, names))
            if count:
                assert_same(read_openpose(path), people(count, names))
    write_sep_json(path, people(2, OPENPOSE_18, torch.float64))
    assert_same(read_sep_json(path), people(2, OPENPOSE_18, torch.float64))
    assert json.loads(path.read_text())["version"] == "AlphaPose v0.2"
    write_kpr(path, people(3, COCO_17))
    assert_same(read_kpr(path), people(3, COCO_17))
    for names in (COCO_17, HALPE_26):
        write_mmpose(path, people(2, names))
        assert_same(read_mmpose(path).keypoints, people(2, names))
        write_alphapose(path, CocoKeypoints(people(2, names), ("b.jpg", "a.jpg")))
        assert read_alphapose(path).images == ("b.jpg", "a.jpg")
        assert_same(read_alphapose(path).keypoints, people(2, names))
    assert [each.name for each in tmp_path.iterdir()] == ["again.json"]


def test_writers_refuse_other_layouts(tmp_path):
    path, coco = tmp_path / "out.json", people(2, COCO_17)
    for write in (write_openpose, write_sep_json):
        with pytest.raises(ValueError, match=r"18.*keypoints; got .*to_openpose18"):
            write(path, coco)
    with pytest.raises(ValueError, match="this format's 17 keypoints"):
        write_kpr(path, people(2, OPENPOSE_18))
    with pytest.raises(ValueError, match="this format's 17 or 26 keypoints"):
        write_alphapose(path, CocoKeypoints(people(1, OPENPOSE_18), ("a",)))
    for write in (write_kpr, write_mmpose):
        with pytest.raises(ValueError, match=r"people must be \(P,\)"):
            write(path, coco[0])
    assert not path.exists()


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "people.json"
    write_kpr(path, people(1, COCO_17))
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_kpr(path, people(2, COCO_17))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["people.json"]


def test_scores_that_overshoot_are_clamped(tmp_path):
    rows = nested(17)
    rows[3][2], rows[4][2] = 1.07, -0.02
    found = read_kpr(written(tmp_path, [{"keypoints": rows}]))
    assert found.score[0, 3:5].tolist() == [1, 0]


READERS = [read_openpose, read_sep_json, read_alphapose, read_kpr, read_mmpose]


@pytest.mark.parametrize("read", READERS)
def test_damaged_files_are_refused(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="there is no keypoint file"):
        read(tmp_path / "missing.json")
    with pytest.raises(ValueError, match="it is a folder"):
        read(tmp_path)
    whole = json.dumps({"people": [{"pose_keypoints_2d": flat(18)}]})
    for bad, message in (
        ("", "is empty"),
        (whole[:-20], r"people\.json: must be a whole JSON file"),
        ("[" * 100_000, "whole JSON file"),
        ("5", r"people\.json: must"),
        ("[7]", r"people\.json"),
    ):
        with pytest.raises(ValueError, match=message):
            read(written(tmp_path, bad))


def spoiled(value, index=4) -> list:
    values = flat(18)
    values[index] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (spoiled(float("nan"), 5), r'entry 1: "pose_keypoints_2d\[5\]" must be finite; got nan'),
        (spoiled(float("inf")), r'entry 1: "pose_keypoints_2d\[4\]" must be finite; got inf'),
        (spoiled("3"), "entry 1.*must be a number; got '3'"),
        (spoiled(None), "entry 1.*must be a number; got None"),
        (spoiled(95.0, 5), r"entry 1: the scores in .* must be around \[0, 1\].*percent"),
        (flat(17), r"entry 1: must have 18, 25 keypoints; got 17: this is of another skeleton"),
        (flat(18)[:-1], "entry 1.*flat list of 3 numbers per keypoint; got 53 values"),
        ([[1, 2]] * 18, r'entry 1: "pose_keypoints_2d\[0\]" must have 3 numbers; got 2'),
        ({"x": 1}, 'entry 1: "pose_keypoints_2d" must be a list; got dict'),
        (None, "must be a list; got NoneType"),
        ([], "must have 18, 25 keypoints; got 0"),
        (flat(25), r"person 1: all people must have one skeleton; got 25 keypoints after 18"),
    ],
)
def test_bad_entries_are_named(tmp_path, values, message):
    content = {"people": [{"pose_keypoints_2d": flat(18)}, {"pose_keypoints_2d": values}]}
    with pytest.raises(ValueError, match=message) as caught:
        read_openpose(written(tmp_path, content))
    assert "people.json" in str(caught.value)


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_openpose, [], 'dict with a list under "people"'),
        (read_openpose, {"people": [5]}, "entry 0: must be a dict; got int"),
        (read_alphapose, {"a.jpg": 5}, "image 'a.jpg': must be a dict"),
        (read_alphapose, [{"keypoints": flat(17)}], 'entry 0: "image_id" must be a number'),
        (read_alphapose, [{"image_id": 1, "keypoints": flat(18)}], "got 18: this is of another"),
        (
            read_alphapose,
            [{"image_id": 1, "keypoints": flat(17), "score": float("nan")}],
            'entry 0: "score" must be finite',
        ),
        (
            read_alphapose,
            [{"image_id": i, "keypoints": flat(n)} for i, n in enumerate((17, 26))],
            "person 1: all people must have one skeleton",
        ),
        (
            read_kpr,
            [{"keypoints": flat(17), "is_target": True}] * 2,
            'one entry must have "is_target": true; got 2',
        ),
        (read_kpr, [{"keypoints": flat(17), "is_target": False}], "must have .*; got 0"),
        (read_kpr, [{"keypoints": flat(17), "is_target": 1}], "must be true or false; got 1"),
        (read_mmpose, {"predictions": []}, "must hold a list of people; got NoneType"),
        (
            read_mmpose,
            [{**instance(17), "keypoint_scores": [0.5] * 16}],
            "entry 0.*one for each of 17 keypoints; got 16",
        ),
        (
            read_mmpose,
            [{"frame_id": 1, "instances": [instance(17), {}]}],
            'entry 0: instances: entry 1: "keypoints" must be a list; got NoneType',
        ),
        (read_mmpose, {"keypoints": [], "skeleton": {"1": "a"}}, '"skeleton" must name'),
        (read_mmpose, {"keypoints": [], "skeleton": {"0": "a", "1": "a"}}, "must differ"),
        (
            read_mmpose,
            {"keypoints": [{"3": nested(2)}], "skeleton": {"0": "a"}},
            "entry 0.*must have 1 keypoints; got 2",
        ),
    ],
)
def test_broken_rules_of_each_format_are_named(tmp_path, read, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(written(tmp_path, content))
    assert "people.json" in str(caught.value)
