"""Pose: what a result may hold."""

import pytest
import torch

from pose import Keypoints, NoPersonError, Pose, PoseEstimator


def test_found_is_true_for_a_person_with_a_score():
    assert not Pose(Keypoints.none()).found
    assert Pose(Keypoints(torch.zeros(17, 2), torch.ones(17)), torch.ones(4, 3)).found


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(3, 4, 5), r"\(H, W\)"),
        (torch.zeros(3, 4, dtype=torch.bool), "floating point"),
        (torch.full((3, 4), 255.0), r"in \[0, 1\]"),
        (torch.full((3, 4), float("nan")), r"in \[0, 1\]"),
    ],
)
def test_bad_masks_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        Pose(Keypoints.none(), mask)


def test_batched_keypoints_are_refused():
    with pytest.raises(ValueError, match="one person"):
        Pose(Keypoints.stack([Keypoints.none()] * 2))


def test_any_callable_is_an_estimator():
    assert isinstance(lambda image: Pose(Keypoints.none()), PoseEstimator)
    assert issubclass(NoPersonError, ValueError)


def test_people_are_the_target_then_the_others():
    def person(x):
        return Keypoints(torch.full((17, 2), float(x)), torch.ones(17))

    pose = Pose(person(1), others=Keypoints.stack([person(2), person(3)]))
    assert pose.people.xy[:, 0, 0].tolist() == [1, 2, 3]
    assert Pose(person(1)).people.shape == (1,)
    assert Pose(Keypoints.none()).people.shape == (0,)
    with pytest.raises(ValueError, match=r"\(P,\) people"):
        Pose(person(1), others=person(2))
    with pytest.raises(ValueError, match="layout"):
        Pose(person(1), others=Keypoints.stack([person(2)]).select(["nose"]))


def test_people_concatenate_target_and_others():
    two = Keypoints.stack([Keypoints.none()] * 2)
    assert Keypoints.cat([two, two[:1]]).shape == (3,)
    with pytest.raises(ValueError, match="one layout"):
        Keypoints.cat([two, two.select(["nose"])])
    with pytest.raises(ValueError, match="at least one"):
        Keypoints.cat([])


def test_images_of_any_kind_are_checked():
    from pose.estimators.base import validate_image

    image = pytest.importorskip("PIL.Image").new("RGB", (16, 32), (1, 2, 3))
    assert validate_image(image).shape == (32, 16, 3)
    for bad in (None, 5, [[1, 2]], b"no image"):
        with pytest.raises(ValueError, match="image"):
            validate_image(bad)
