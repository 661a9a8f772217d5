"""COCO files name their own skeleton: order, spelling, and what is no person."""

import json

import pytest
import torch

from pose import (
    COCO_17,
    COCO_17_FEET,
    OPENPOSE_18,
    CocoKeypoints,
    Keypoints,
    read_coco,
    write_coco,
)

POSETRACK = (
    "nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
H36M = (
    "root", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot", "spine",
    "thorax", "neck_base", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder",
    "right_elbow", "right_wrist",
)  # fmt: skip
AP_10K = (
    "L_Eye", "R_Eye", "Nose", "Neck", "Root of tail", "L_Shoulder", "L_Elbow", "L_F_Paw",
    "R_Shoulder", "R_Elbow", "R_F_Paw", "L_Hip", "L_Knee", "L_B_Paw", "R_Hip", "R_Knee", "R_B_Paw",
)  # fmt: skip
CROWDPOSE = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "top_head",
    "neck",
)  # fmt: skip


def written(tmp_path, categories, count=17, **entry):
    """One annotation whose joint j lies at (10 j, 5)."""
    flat = [value for j in range(count) for value in (10.0 * j, 5.0, 2)]
    content = {"annotations": [{"keypoints": flat, "image_id": 1, **entry}]}
    if categories is not None:
        content["categories"] = categories
    path = tmp_path / "people.json"
    path.write_text(json.dumps(content))
    return path


def place(keypoints, name):
    """The position in the file of a joint."""
    return float(keypoints.select([name]).xy[0, 0, 0]) / 10


def of_names(tmp_path, names, **entry):
    category = {"id": 1, "name": "person", "keypoints": list(names)}
    return read_coco(written(tmp_path, [category], len(names), category_id=1, **entry)).keypoints


def test_the_head_of_posetrack_does_not_become_eyes(tmp_path):
    found = of_names(tmp_path, POSETRACK)
    assert found.names == POSETRACK
    assert place(found, "head_top") == 2
    assert place(found, "left_shoulder") == 5


def test_the_pelvis_of_human36m_does_not_become_the_nose(tmp_path):
    found = of_names(tmp_path, H36M)
    assert "nose" not in found.names
    assert [place(found, name) for name in ("mid_hip", "right_ankle", "left_shoulder")] == [
        0,
        3,
        11,
    ]


def test_crowdpose_has_no_face(tmp_path):
    found = of_names(tmp_path, CROWDPOSE)
    assert place(found, "head_top") == 12
    assert place(found, "left_ankle") == 10


@pytest.mark.parametrize("names", [AP_10K, tuple(f"point {i}" for i in range(17))])
def test_other_skeletons_are_refused_with_their_names(tmp_path, names):
    with pytest.raises(ValueError, match=r"human skeleton.*pass names=") as caught:
        of_names(tmp_path, names)
    assert str(tmp_path) in str(caught.value)
    assert names[4] in str(caught.value)


def test_names_given_by_the_caller_take_the_place_of_the_files(tmp_path):
    category = {"id": 1, "keypoints": list(AP_10K)}
    path = written(tmp_path, [category], category_id=1)
    assert read_coco(path, names=COCO_17).keypoints.names == COCO_17


@pytest.mark.parametrize(
    "spelled",
    [
        lambda name: name.replace("_", " ").title(),
        lambda name: name.replace("left_", "L_").replace("right_", "R_"),
        lambda name: (
            name.replace("left_", "L").replace("right_", "R").upper()
            if "_" not in name
            else ("L" if "left" in name else "R") + name.split("_")[1].capitalize()
        ),
        lambda name: "_".join(reversed(name.split("_"))),
        lambda name: name.split("_")[0] + name.partition("_")[2].capitalize(),
        lambda name: name.replace("_", "-"),
    ],
)
def test_spellings_of_coco(tmp_path, spelled):
    assert of_names(tmp_path, [spelled(name) for name in COCO_17]).names == COCO_17


@pytest.mark.parametrize("names", [COCO_17[::-1], COCO_17_FEET, OPENPOSE_18, COCO_17[5:]])
def test_write_and_read_keep_other_orders(tmp_path, names):
    generator = torch.Generator().manual_seed(0)
    xy = 100 * torch.rand(2, len(names), 2, generator=generator)
    people = CocoKeypoints(Keypoints(xy, torch.ones(2, len(names)), names=names), ("a", "b"))
    write_coco(tmp_path / "again.json", people)
    again = read_coco(tmp_path / "again.json").keypoints
    assert again.names == tuple(names)
    assert torch.equal(again.xy, people.keypoints.xy)


def test_face_and_hands_are_left_out(tmp_path):
    names = (*COCO_17, "left_big_toe", "face-0", "left_hand_root", "right_thumb1")
    found = of_names(tmp_path, names)
    assert found.names == (*COCO_17, "left_toe")
    assert place(found, "left_toe") == 17


def test_the_category_of_the_annotations_counts(tmp_path):
    categories = [
        {"id": 5, "name": "horse", "keypoints": list(AP_10K)},
        {"id": 3, "name": "bicycle"},
        {"id": 2, "name": "person", "keypoints": list(POSETRACK)},
    ]
    assert read_coco(written(tmp_path, categories, category_id=2)).keypoints.names == POSETRACK
    with pytest.raises(ValueError, match="human skeleton"):
        read_coco(written(tmp_path, categories, category_id=5))


def test_annotations_of_two_skeletons_are_refused(tmp_path):
    path = written(tmp_path, None)
    entry = json.loads(path.read_text())["annotations"][0]
    content = {
        "annotations": [{**entry, "category_id": 1}, {**entry, "category_id": 2}],
        "categories": [
            {"id": 1, "keypoints": list(COCO_17)},
            {"id": 2, "keypoints": list(POSETRACK)},
        ],
    }
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="one skeleton; got 2"):
        read_coco(path)


@pytest.mark.parametrize("categories", [None, [], [{"id": 1, "name": "person"}]])
def test_without_names_it_is_coco(tmp_path, categories):
    assert read_coco(written(tmp_path, categories)).keypoints.names == COCO_17


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (5, '"categories" must be a list'),
        ([7], '"categories" must be a list of dicts'),
        ([{"id": 1, "keypoints": "nose"}], "category 0.*list of names"),
        ([{"id": 1, "keypoints": [1, 2]}], "category 0.*list of names"),
        ([{"id": [1], "keypoints": ["nose"]}], 'category 0: "id"'),
        ([{"id": 1, "keypoints": ["nose", "nose"]}], "each named once"),
        ([{"id": 1, "keypoints": ["nose"]}], "flat list of 3 numbers"),
    ],
)
def test_damaged_categories_are_named(tmp_path, categories, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_coco(written(tmp_path, categories))
    assert "people.json" in str(caught.value)


def test_two_images_of_one_id_are_refused(tmp_path):
    path = written(tmp_path, None)
    content = json.loads(path.read_text())
    content["images"] = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"ids must differ; a\.jpg and b\.jpg"):
        read_coco(path)


@pytest.mark.parametrize("names", ["nose", (), ("nose", "nose"), (1, 2)])
def test_names_of_another_kind_are_refused(tmp_path, names):
    with pytest.raises(ValueError, match="names must be"):
        read_coco(written(tmp_path, None), names=names)


def test_layouts_of_the_package_keep_their_names():
    from pose.joint_names import human_names
    from pose.layouts import HALPE_26, OPENPOSE_25, WHOLEBODY_23

    for names in (COCO_17_FEET, OPENPOSE_25, HALPE_26, WHOLEBODY_23):
        assert human_names(names) == (names, tuple(range(len(names))))


def test_joints_of_a_body_model_keep_their_names(tmp_path):
    names = ("pelvis", "left_hip", "right_hip", "spine1", "left_foot", "neck", "head", "nose")
    assert of_names(tmp_path, names).names == names


@pytest.mark.parametrize(("flags", "visible"), [((1, 1), 1.0), ((1, 2), 0.0), ((1, 0), 1.0)])
def test_flags_of_posetrack_have_no_hidden_joints(tmp_path, flags, visible):
    path = written(tmp_path, [{"id": 1, "name": "person", "keypoints": list(POSETRACK)}])
    content = json.loads(path.read_text())
    content["annotations"][0]["keypoints"][2::3] = [*flags, *[flags[0]] * 15]
    path.write_text(json.dumps(content))
    people = read_coco(path).keypoints.select(["nose", "left_ankle"])
    assert people.score.tolist() == [[1.0, 1.0]]
    assert people.visibility.tolist() == [[visible, visible]]


def test_flags_of_coco_are_hidden_without_a_visible_joint(tmp_path):
    path = written(tmp_path, None)
    content = json.loads(path.read_text())
    content["annotations"][0]["keypoints"][2::3] = [1] * 17
    path.write_text(json.dumps(content))
    assert read_coco(path).keypoints.visibility.tolist() == [[0.0] * 17]
