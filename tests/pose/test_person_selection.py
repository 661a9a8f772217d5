"""Selection of one of several people."""

import pytest
import torch

from pose import Keypoints, select_person

NAMES = ("a", "b", "c", "d")


def people(*rows: list[tuple[float, float, float]]) -> Keypoints:
    values = torch.tensor(rows)
    return Keypoints(values[..., :2], values[..., 2], names=NAMES)


THREE = people(
    [(0, 0, 0.9), (10, 30, 0.9), (0, 0, 0.1), (0, 0, 0.1)],  # two joints, box 10 x 30
    [(50, 40, 0.3), (52, 44, 0.3), (51, 60, 0.3), (0, 0, 0.2)],  # three, weak, central
    [(80, 0, 0.5), (99, 90, 0.5), (90, 50, 0.5), (300, 300, 0.0)],  # three, large
)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("first", 0),
        ("most_joints", 1),
        ("most_joints_last", 2),
        ("most_confident", 0),
        ("largest", 2),
        ("most_central", 1),
    ],
)
def test_each_target_rule_selects_its_person(target, expected):
    assert select_person(THREE, target, size=(100, 100)) == expected
    # Who is nowhere over the threshold is no candidate, and does not shift the numbers.
    faint = people([(9, 9, 0.2)] * 4)
    both = Keypoints.stack([faint[0], *(THREE[i] for i in range(3))])
    assert select_person(both, target, size=(100, 100)) == expected + 1


def test_ties_go_to_the_first_by_default():
    twins = Keypoints.stack([THREE[1], THREE[1]])
    assert select_person(twins, "most_joints") == 0
    assert select_person(twins, "most_confident") == 0
    assert select_person(twins, "most_joints_last") == 1


def test_no_candidate_gives_none():
    assert select_person(people([(9, 9, 0.2)] * 4)) is None
    assert select_person(Keypoints(torch.zeros(0, 4, 2), torch.zeros(0, 4), names=NAMES)) is None


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"people must be \(P,\)"):
        select_person(THREE[0])
    with pytest.raises(ValueError, match="target must be one of first"):
        select_person(THREE, "best")
    with pytest.raises(ValueError, match="size must be given"):
        select_person(THREE, "most_central")
