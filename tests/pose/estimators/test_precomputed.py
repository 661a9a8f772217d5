"""PrecomputedPose: images find their people by name."""

import json

import numpy as np
import pytest
import torch

from pose import (
    CocoKeypoints,
    Keypoints,
    PoseEstimator,
    PrecomputedPose,
    to_openpose18,
    write_alphapose,
    write_coco,
    write_kpr,
    write_mmpose,
    write_openpose,
    write_sep_json,
)


def people(*joints):
    """One person for each number of found joints; person i lies around x = 10 * (i + 1)."""
    xy = torch.stack([torch.full((17, 2), 10.0 * (i + 1)) for i in range(len(joints))])
    score = torch.stack([(torch.arange(17) < count) * 0.9 for count in joints])
    return Keypoints(xy, score)


@pytest.fixture(params=["coco", "alphapose", "sep-json", "openpose", "kpr", "mmpose"])
def source(request, tmp_path):
    """Keypoints of q/0001.jpg (two people, the second with more joints) in each format."""
    found, images = people(5, 12), ("q/0001.jpg",) * 2
    folder = tmp_path / "keypoints"
    folder.mkdir()
    if request.param in ("coco", "alphapose"):
        write = write_coco if request.param == "coco" else write_alphapose
        write(folder / "all.json", CocoKeypoints(found, images))
        return request.param, folder / "all.json"
    name, write, content = {
        "sep-json": ("0001.json", write_sep_json, to_openpose18(found)),
        "openpose": ("0001_keypoints.json", write_openpose, to_openpose18(found)),
        "kpr": ("0001.jpg_keypoints.json", write_kpr, found),
        "mmpose": ("0001.json", write_mmpose, found),
    }[request.param]
    write(folder / name, content)
    return request.param, folder


def test_every_format_gives_target_and_others(source, tmp_path):
    format, path = source
    estimator = PrecomputedPose(path, format)
    assert isinstance(estimator, PoseEstimator)
    assert len(estimator) == 1
    pose = estimator(tmp_path / "q" / "0001.jpg")
    first = 0 if format == "kpr" else 1  # KPR marks who is meant; else most joints
    assert pose.keypoints.select(["nose"]).xy.tolist() == [[10.0 * (first + 1)] * 2]
    assert pose.others.shape == (1,)
    assert pose.people.shape == (2,)
    missing = estimator(tmp_path / "q" / "0002.jpg")
    assert not missing.found
    assert missing.people.names == pose.people.names
    assert missing.people.shape == (0,)


def test_images_of_one_name_are_matched_by_folder(tmp_path):
    """As Occluded-Duke's, of which most queries are in the gallery, too."""
    found = people(5, 6, 7)
    write_coco(tmp_path / "a.json", CocoKeypoints(found, ("query/1.jpg", "gallery/1.jpg", "2.jpg")))
    estimator = PrecomputedPose(tmp_path / "a.json", "coco")
    joints = [
        int((estimator(tmp_path / name).keypoints.score > 0).sum())
        for name in ("query/1.jpg", "gallery/1.jpg", "elsewhere/2.jpg", "elsewhere/1.jpg")
    ]
    assert joints == [5, 6, 7, 0]
    assert len(estimator) == 3


def test_the_central_person_needs_the_image(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "1.png")
    write_coco(tmp_path / "a.json", CocoKeypoints(people(17, 5), ("1.png", "1.png")))
    estimator = PrecomputedPose(tmp_path / "a.json", "coco", target="most_central")
    assert estimator(tmp_path / "1.png").keypoints.xy[0].tolist() == [20, 20]


def test_people_below_the_threshold_are_no_person(tmp_path):
    write_sep_json(
        tmp_path / "1.json",
        to_openpose18(Keypoints(torch.ones(1, 17, 2), torch.full((1, 17), 0.1))),
    )
    pose = PrecomputedPose(tmp_path, "sep-json")("1.jpg")
    assert not pose.found
    assert pose.others.shape == (1,)


def test_impossible_arguments_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="with keypoints"):
        PrecomputedPose(tmp_path / "missing", "coco")
    with pytest.raises(ValueError, match="has no file"):
        PrecomputedPose(tmp_path, "sep-json")
    with pytest.raises(ValueError, match="format must be one of"):
        PrecomputedPose(tmp_path, "yaml")
    (tmp_path / "1.json").write_text(json.dumps({"people": []})[:-4])
    with pytest.raises(ValueError, match=r"1\.json: must be a whole JSON"):
        PrecomputedPose(tmp_path, "sep-json")("1.jpg")
    with pytest.raises(ValueError, match="must be a folder"):
        PrecomputedPose(tmp_path / "1.json", "kpr")
    with pytest.raises(ValueError, match="matched by name"):
        PrecomputedPose(tmp_path, "sep-json")(np.zeros((4, 4, 3), np.uint8))
