"""A grid of sound keypoint files that must read to the right values.

The truth is made first: people with a position and a score for each joint by name. Every file is
then written by hand, from the formats' own descriptions, not by the package's writers.
"""

import itertools
import json

import pytest
import torch

from pose import (
    COCO_17,
    OPENPOSE_18,
    OPENPOSE_25,
    read_alphapose,
    read_coco,
    read_kpr,
    read_mmpose,
    read_openpose,
    read_sep_json,
)
from pose.layouts import HALPE_26, WHOLEBODY_23

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
IMAGES = {"none": [], "one": ["a/é 1.jpg"], "some": ["b/1.jpg", "a/é 1.jpg", "b/1.jpg"]}
EVERY = tuple(dict.fromkeys((*OPENPOSE_25, *HALPE_26, *WHOLEBODY_23)))


def truth(person: int, name: str) -> tuple[float, float, float]:
    """x, y and score of a joint, all different; every fifth joint was not found."""
    j = EVERY.index(name)
    return 10.25 * j + person, 300.5 - 3 * j - person, 0.0 if j % 5 == 4 else (j + 1) / 40


def rows(person: int, names, shown: int = 0) -> list[list[float]]:
    """x, y, score of the joints, and of more points that have no name here."""
    return [list(truth(person, name)) for name in names] + [[1.0, 2.0, 0.5]] * shown


def flat(found: list[list[float]]) -> list[float]:
    return [value for row in found for value in row]


def stored(tmp_path, content, encoding):
    path = tmp_path / "people.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    return path


def check(keypoints, names, count):
    assert keypoints.names == tuple(names)
    assert keypoints.shape == (count,)
    for person in range(count):
        expected = torch.tensor([truth(person, name) for name in names]).to(keypoints.xy.dtype)
        torch.testing.assert_close(keypoints.xy[person], expected[:, :2])
        torch.testing.assert_close(keypoints.score[person], expected[:, 2])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("order", ["coco", "reversed", "spelled"])
@pytest.mark.parametrize("values", ["flags", "scores"])
@pytest.mark.parametrize("listed", [True, False])
def test_coco_files_of_each_skeleton(tmp_path, encoding, images, order, values, listed):
    names = COCO_17[::-1] if order == "reversed" else COCO_17
    spelled = [name.title().replace("_", " ") for name in names] if order == "spelled" else names
    annotations = []
    for person, _ in enumerate(IMAGES[images]):
        found = rows(person, names)
        if values == "flags":
            found = [
                [x, y, 0 if score == 0 else 1 + (j % 2)] for j, (x, y, score) in enumerate(found)
            ]
        image_id = sorted(set(IMAGES[images])).index(IMAGES[images][person])
        annotations.append({"id": person, "image_id": image_id, "category_id": 1, "iscrowd": 0,
                            "bbox": [0, 0, 9, 9], "keypoints": flat(found)})  # fmt: skip
    content = {
        "info": {"year": 2017},
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(spelled), "skeleton": [[1, 2]]}
        ],
        "annotations": annotations,
    }
    if listed:
        content["images"] = [
            {"id": i, "file_name": name, "height": 9, "width": 9}
            for i, name in enumerate(sorted(set(IMAGES[images])))
        ]
    read = read_coco(stored(tmp_path, content, encoding), values=values)
    people = read.keypoints
    assert people.names == names
    if listed:
        assert list(read.images) == IMAGES[images]
    for person, _ in enumerate(IMAGES[images]):
        expected = torch.tensor(rows(person, names))
        torch.testing.assert_close(people.xy[person], expected[:, :2])
        if values == "scores":
            torch.testing.assert_close(people.score[person], expected[:, 2])
            torch.testing.assert_close(people.visibility[person], expected[:, 2])
        else:
            assert torch.equal(people.score[person], (expected[:, 2] > 0).float())
            seen = (torch.arange(17) % 2 == 1) & (expected[:, 2] > 0)
            assert torch.equal(people.visibility[person], seen.float())


ALPHAPOSE = {"coco": (COCO_17, 0), "halpe26": (HALPE_26, 0), "halpe136": (HALPE_26, 110),
             "wholebody": (WHOLEBODY_23, 110)}  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("layout", ALPHAPOSE)
@pytest.mark.parametrize("indent", [None, 2])
def test_alphapose_files_of_each_skeleton(tmp_path, encoding, images, layout, indent):
    names, more = ALPHAPOSE[layout]
    content = [
        {"image_id": image, "category_id": 1, "keypoints": flat(rows(person, names, more)),
         "score": 2.9, "box": [1, 2, 3, 4], "idx": [0.0]}
        for person, image in enumerate(IMAGES[images])
    ]  # fmt: skip
    path = tmp_path / "alphapose-results.json"
    path.write_bytes(json.dumps(content, indent=indent, ensure_ascii=False).encode(encoding))
    found = read_alphapose(path)
    assert list(found.images) == IMAGES[images]
    check(found.keypoints, names if content else COCO_17, len(content))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("group", "key"), [("people", "pose_keypoints_2d"), ("bodies", "joints")])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("names", [OPENPOSE_18, OPENPOSE_25], ids=["18", "25"])
def test_openpose_of_an_image_and_of_many(tmp_path, encoding, group, key, count, names):
    entry = {
        "version": 1.3,
        group: [
            {"person_id": [-1], key: flat(rows(person, names)), "face_keypoints_2d": []}
            for person in range(count)
        ],
    }
    check(read_openpose(stored(tmp_path, entry, encoding)), names if count else OPENPOSE_18, count)
    many = {"é.jpg": {"version": "x", group: []}, "b.jpg": entry}
    found = read_alphapose(stored(tmp_path, many, encoding))
    assert found.images == ("b.jpg",) * count
    check(found.keypoints, names if count else OPENPOSE_18, count)
    if names == OPENPOSE_18:
        sep = read_sep_json(stored(tmp_path, entry, encoding))
        assert sep.xy.dtype == torch.float64
        check(sep, OPENPOSE_18, count)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("target", [None, 0, -1])
def test_kpr_files_of_each_skeleton(tmp_path, encoding, count, nested, target):
    order = list(range(count))
    if target is not None:
        order.insert(0, order.pop(target))
    content = [None] * count
    for place, person in enumerate(order):
        found = rows(place, COCO_17)
        content[person] = {"keypoints": found if nested else flat(found)}
        if target is not None:
            content[person]["is_target"] = place == 0
    check(read_kpr(stored(tmp_path, content, encoding)), COCO_17, count)


MMPOSE = {"coco": (COCO_17, 0), "halpe26": (HALPE_26, 0), "wholebody": (WHOLEBODY_23, 110)}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("layout", MMPOSE)
@pytest.mark.parametrize("form", ["image", "demo", "video", "results", "named"])
@pytest.mark.parametrize("count", [1, 3])
def test_mmpose_files_of_each_skeleton(tmp_path, encoding, layout, form, count):
    names, more = MMPOSE[layout]
    people = [rows(person, names, more) for person in range(count)]
    instances = [
        {"keypoints": [row[:2] for row in found], "keypoint_scores": [row[2] for row in found],
         "bbox": [[0, 0, 1, 1]], "bbox_score": 0.9}
        for found in people
    ]  # fmt: skip
    listed = [*names, *(f"face-{i}" for i in range(more))]
    content = {
        "image": instances,
        "demo": {"meta_info": {"dataset_name": "coco"}, "instance_info": instances},
        "video": [{"frame_id": 4, "instances": instances}, {"frame_id": 5, "instances": []}],
        "results": [{"image_id": "4", "category_id": 1, "keypoints": flat(found), "score": 0.9}
                    for found in people],
        "named": {"meta_info": {"keypoint_id2name": {str(i): n for i, n in enumerate(listed)}},
                  "instance_info": instances},
    }[form]  # fmt: skip
    found = read_mmpose(stored(tmp_path, content, encoding))
    assert found.images == (("4" if form in ("video", "results") else "people"),) * count
    check(found.keypoints, names, count)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_names_of_mmpose_are_taken_in_their_order(tmp_path, encoding):
    names = COCO_17[::-1]
    found = rows(0, names)
    content = {
        "meta_info": {"keypoint_id2name": {str(i): name for i, name in enumerate(names)}},
        "instance_info": [{"keypoints": [row[:2] for row in found],
                           "keypoint_scores": [row[2] for row in found]}],
    }  # fmt: skip
    path = stored(tmp_path, content, encoding)
    check(read_mmpose(path).keypoints, names, 1)
    assert read_mmpose(path, names=COCO_17).keypoints.names == COCO_17
    content["meta_info"]["keypoint_id2name"]["3"] = "left_front_paw"
    with pytest.raises(ValueError, match=r"human skeleton.*left_front_paw"):
        read_mmpose(stored(tmp_path, content, encoding))


@pytest.mark.parametrize(("encoding", "count"), itertools.product(ENCODINGS, [0, 2]))
def test_easy_vitpose_files_of_each_skeleton(tmp_path, encoding, count):
    content = {
        "keypoints": [
            {str(p): [[y, x, score] for x, y, score in rows(p, COCO_17)] for p in range(count)}
        ],
        "skeleton": {str(i): name for i, name in enumerate(COCO_17)},
    }
    check(read_mmpose(stored(tmp_path, content, encoding)).keypoints, COCO_17, count)


READERS = {"openpose": (read_openpose, OPENPOSE_18), "sep_json": (read_sep_json, OPENPOSE_18),
           "kpr": (read_kpr, COCO_17), "alphapose": (read_alphapose, COCO_17),
           "mmpose": (read_mmpose, COCO_17)}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_names_of_the_caller_are_taken_by_every_reader(tmp_path, name):
    read, layout = READERS[name]
    order = layout[::-1]
    entry = flat(rows(0, order))
    content = {
        "openpose": {"people": [{"pose_keypoints_2d": entry}]},
        "sep_json": {"people": [{"pose_keypoints_2d": entry}]},
        "kpr": [{"keypoints": entry}],
        "alphapose": [{"image_id": "a.jpg", "keypoints": entry}],
        "mmpose": [{"image_id": "a.jpg", "keypoints": entry}],
    }[name]
    found = read(stored(tmp_path, content, "utf-8"), names=order)
    check(getattr(found, "keypoints", found), order, 1)
    with pytest.raises(ValueError, match="names must be"):
        read(stored(tmp_path, content, "utf-8"), names=["nose", "nose"])
