"""Places and poses of several people, on images of the synthetic world."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pose import MediapipePose
from pose.estimators.people_detector import Spot, find_people, find_spots, unmatched
from rendered_people import one_person, two_people

pytest.importorskip("mediapipe")


@pytest.fixture(scope="module")
def estimator():
    with MediapipePose() as estimator:
        yield estimator


def hips(pose):
    return pose.keypoints.select(["left_hip", "right_hip"]).xy.mean(0)


def test_one_person_is_one_spot():
    counts = [len(find_spots(one_person(seed))) for seed in range(10)]
    assert counts == [1] * 10


def test_a_spot_lies_on_the_hips(estimator):
    image = one_person(1)
    (spot,) = find_spots(image)
    place = hips(estimator(image))
    assert abs(spot.x - float(place[0])) < 10
    assert abs(spot.y - float(place[1])) < 10
    assert 80 < spot.radius < 150
    assert spot.score > 0.9


def test_two_people_are_found_with_their_own_masks(estimator):
    image = two_people(0)
    poses = find_people(image, estimator)
    assert len(poses) == 2
    left, right = sorted(poses, key=lambda pose: float(hips(pose)[0]))
    assert float(hips(left)[0]) < 130
    assert float(hips(right)[0]) > 190
    for pose, half in ((left, slice(0, 160)), (right, slice(160, 320))):
        assert pose.mask is not None
        assert pose.mask.shape == (256, 320)
        assert float(pose.mask[:, half].sum()) > 0.95 * float(pose.mask.sum()) > 1000


def test_the_others_come_from_left_to_right(estimator):
    image = np.concatenate([one_person(seed) for seed in (0, 1, 2)], 1)
    poses = find_people(image, estimator)
    assert len(poses) == 3
    assert torch.equal(poses[0].keypoints.xy, estimator(image).keypoints.xy)
    assert float(hips(poses[1])[0]) < float(hips(poses[2])[0])


def test_a_person_cut_out_is_the_same_as_alone(estimator):
    pair = two_people(0)
    poses = find_people(pair, estimator)
    right = max(poses, key=lambda pose: float(hips(pose)[0]))
    alone = estimator(np.ascontiguousarray(pair[:, 160:])).keypoints
    distance = (right.keypoints.xy - torch.tensor([160.0, 0.0]) - alone.xy).norm(dim=-1)
    assert distance.median() < 6


def test_an_empty_image_has_no_people(estimator):
    blank = np.full((100, 300, 3), 127, np.uint8)
    assert find_spots(blank) == []
    assert find_people(blank, estimator) == []


def test_spots_of_a_pose_are_matched(estimator):
    image = two_people(0)
    spots = find_spots(image)
    pose = estimator(image)
    (rest,) = unmatched(spots, [pose])
    assert abs(rest.x - float(hips(pose)[0])) > 80
    assert unmatched([Spot(1e4, 1e4, 10.0, 0.9)], [pose])


def test_a_detector_that_failed_is_loaded_again(monkeypatch):
    from pose.estimators.people_detector import _detector

    class Broken:
        def process(self, image):
            raise RuntimeError("graph has errors")

        def close(self):
            raise ValueError("graph has errors")

    image = one_person(0)
    expected = find_spots(image)
    monkeypatch.setattr(_detector, "model", Broken())
    with pytest.raises(RuntimeError, match="graph has errors"):
        find_spots(image)
    assert find_spots(image) == expected


def test_threads_share_the_detector():
    images = [one_person(seed) for seed in range(4)] + [two_people(0)]
    serial = [find_spots(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(find_spots, images * 8))
    assert together == serial * 8
