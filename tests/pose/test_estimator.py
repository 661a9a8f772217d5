"""Pose: what a result may hold."""

import pytest
import torch

from pose import Keypoints, NoPersonError, Pose, PoseEstimator


def test_found():
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
