"""Keypoints: layouts, invariants, mirroring, selecting, stacking."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pose import (
    COCO_17,
    COCO_17_FEET,
    FLIP_PAIRS,
    OPENPOSE_18,
    SKELETON,
    Keypoints,
    to_openpose18,
)


def make(*batch: int, names: tuple[str, ...] = COCO_17_FEET, xyz: bool = True) -> Keypoints:
    generator = torch.Generator().manual_seed(0)
    shape = (*batch, len(names))
    return Keypoints(
        torch.rand(*shape, 2, generator=generator) * 100,
        torch.rand(shape, generator=generator),
        torch.rand(shape, generator=generator),
        names,
        torch.randn(*shape, 3, generator=generator) if xyz else None,
    )


def test_layouts_are_consistent():
    assert len(COCO_17) == 17
    assert len(COCO_17_FEET) == 21
    assert COCO_17_FEET[:17] == COCO_17
    assert COCO_17[0] == "nose"
    assert COCO_17[5:7] == ("left_shoulder", "right_shoulder")
    assert COCO_17[16] == "right_ankle"
    assert {n for bone in SKELETON for n in bone} == set(COCO_17_FEET)
    assert len(set(SKELETON)) == len(SKELETON) == 20
    # Every name but the nose has exactly one partner.
    assert sorted(n for pair in FLIP_PAIRS for n in pair) == sorted(set(COCO_17_FEET) - {"nose"})


def test_visibility_defaults_to_score():
    keypoints = Keypoints(torch.zeros(17, 2), torch.full((17,), 0.25))
    assert torch.equal(keypoints.visibility, keypoints.score)
    assert keypoints.names == COCO_17


def test_none_is_not_found():
    absent = Keypoints.none(COCO_17_FEET, xyz=True)
    assert absent.xy.shape == (21, 2)
    assert absent.xyz is not None
    assert absent.xyz.shape == (21, 3)
    assert not absent.found
    assert make().found


def test_found_is_per_person():
    both = Keypoints.stack([Keypoints.none(), make(names=COCO_17, xyz=False)])
    assert both.found.tolist() == [False, True]


def test_flip_by_hand():
    keypoints = Keypoints(
        torch.tensor([[1.0, 5.0], [3.0, 6.0], [8.0, 7.0]]),
        torch.tensor([0.1, 0.2, 0.3]),
        torch.tensor([0.4, 0.5, 0.6]),
        ("nose", "left_eye", "right_eye"),
        torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]),
    )
    flipped = keypoints.flip(10)
    assert flipped.xy.tolist() == [[9, 5], [2, 7], [7, 6]]
    assert torch.equal(flipped.score, torch.tensor([0.1, 0.3, 0.2]))
    assert torch.equal(flipped.visibility, torch.tensor([0.4, 0.6, 0.5]))
    assert flipped.xyz is not None
    assert flipped.xyz.tolist() == [[-1, 2, 3], [-7, 8, 9], [-4, 5, 6]]
    assert flipped.names == keypoints.names


@given(width=st.floats(1, 5000), batch=st.lists(st.integers(0, 3), max_size=2))
def test_flip_twice_is_identity(width, batch):
    keypoints = make(*batch)
    again = keypoints.flip(width).flip(width)
    torch.testing.assert_close(again.xy, keypoints.xy, atol=1e-3, rtol=0)
    assert torch.equal(again.score, keypoints.score)
    assert torch.equal(again.xyz, keypoints.xyz)


def test_flip_needs_both_partners():
    with pytest.raises(ValueError, match="right_eye"):
        make(names=("nose", "left_eye")).flip(10)


def test_select_reorders_every_field():
    keypoints = make(3)
    chosen = keypoints.select(["right_toe", "nose"])
    assert chosen.names == ("right_toe", "nose")
    for field in ("xy", "score", "visibility", "xyz"):
        dim = 1
        expected = getattr(keypoints, field).index_select(dim, torch.tensor([20, 0]))
        assert torch.equal(getattr(chosen, field), expected)
    with pytest.raises(ValueError, match="tail"):
        keypoints.select(["nose", "tail"])


def test_indexing_picks_people():
    keypoints = make(2, 3)
    assert torch.equal(keypoints[1].xy, keypoints.xy[1])
    assert torch.equal(keypoints[1, 2].xyz, keypoints.xyz[1, 2])
    assert keypoints[:, [0, 2]].shape == (2, 2)
    assert torch.equal(keypoints[keypoints.found].score, keypoints.score.flatten(0, 1))
    assert keypoints[:0].shape == (0, 3)
    assert len(list(make(4))) == 4
    with pytest.raises(IndexError, match="one person"):
        keypoints[0][0][0]
    with pytest.raises(IndexError):
        keypoints[:, :, 0]


def test_stack_inverts_indexing():
    keypoints = make(3)
    again = Keypoints.stack(list(keypoints))
    for field in ("xy", "score", "visibility", "xyz"):
        assert torch.equal(getattr(again, field), getattr(keypoints, field))


def test_stack_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="empty list"):
        Keypoints.stack([])
    with pytest.raises(ValueError, match="layout"):
        Keypoints.stack([make(), make(names=COCO_17)])
    with pytest.raises(ValueError, match=r"people\[1\] was found without"):
        Keypoints.stack([make(), make(xyz=False)])
    mixed = Keypoints.stack([make(), Keypoints.none(COCO_17_FEET)])
    assert mixed.xyz is not None
    assert not mixed.xyz[1].any()


def test_to_converts_all_fields():
    keypoints = make(2).to(torch.float64)
    assert {t.dtype for t in (keypoints.xy, keypoints.score, keypoints.xyz)} == {torch.float64}
    assert keypoints.select(["nose"]).flip(3).xy.dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xy": torch.zeros(16, 2)}, r"xy must have shape \(17, 2\)"),
        ({"xy": torch.zeros(17, 3)}, "xy must have shape"),
        ({"xy": torch.zeros(17, 2).long()}, "xy must be a floating point"),
        ({"xy": torch.full((17, 2), float("nan"))}, "xy must be finite"),
        ({"score": torch.full((17,), 1.1)}, r"score must be in \[0, 1\]; got values from 1.1"),
        ({"score": torch.full((17,), -0.1)}, "score must be in"),
        ({"score": torch.zeros(2, 17)}, "score must have shape"),
        ({"visibility": torch.full((17,), float("inf"))}, "visibility must be finite"),
        ({"visibility": torch.full((17,), 2.0)}, "visibility must be in"),
        ({"xyz": torch.zeros(17, 2)}, "xyz must have shape"),
        ({"names": ("nose",) * 17}, "names must differ"),
    ],
)
def test_bad_fields_are_refused(change, message):
    fields = {"xy": torch.zeros(17, 2), "score": torch.zeros(17)} | change
    with pytest.raises(ValueError, match=message):
        Keypoints(**fields)


def test_inside_is_per_joint():
    xy = torch.tensor([[0.0, 0.0], [64.0, 128.0], [64.1, 10.0], [10.0, -0.1], [1e9, 1e9]])
    found = Keypoints(xy, torch.zeros(5), names=tuple("abcde"))
    assert found.inside(128, 64).tolist() == [True, True, False, False, False]
    assert Keypoints.stack([found, found]).inside(128, 64).shape == (2, 5)


def test_skeletons_without_a_face_become_openpose():
    """As PoseTrack's, which has no eyes, and CrowdPose's, which has no nose."""
    names = (*COCO_17[5:], "neck")
    found = Keypoints(torch.ones(2, 13, 2), torch.full((2, 13), 0.5), names=names)
    full = to_openpose18(found)
    assert full.names == OPENPOSE_18
    assert full.select(["left_knee", "neck"]).score.eq(0.5).all()
    assert full.select(COCO_17[:5]).score.eq(0).all()
    with pytest.raises(ValueError, match="left_knee"):
        to_openpose18(found.select([name for name in names if name != "left_knee"]))
