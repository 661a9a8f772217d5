"""Merges of body parts."""

from __future__ import annotations

import pytest
import torch

from meshes.body.load import load_body
from meshes.body.model import SMPL_JOINTS
from meshes.body.parts import BODY_PARTS, LIMB_PARTS, OFF_BODY, merged_parts


@pytest.mark.parametrize("into", [BODY_PARTS, LIMB_PARTS])
def test_every_joint_has_a_part_and_every_part_a_joint(into):
    table = merged_parts(into)
    assert table.shape == (256,)
    assert table.dtype == torch.uint8
    assert sorted(set(table[:24].tolist())) == list(range(len(into)))
    assert set(table[24:].tolist()) == {OFF_BODY}


def test_both_merges_agree():
    """A part of the 13 lies within one part of the 6."""
    fine, coarse = merged_parts(LIMB_PARTS)[:24], merged_parts(BODY_PARTS)[:24]
    for part in range(len(LIMB_PARTS)):
        assert len(coarse[fine == part].unique()) == 1
    for name in SMPL_JOINTS:
        side = LIMB_PARTS[fine[SMPL_JOINTS.index(name)]]
        if side.startswith(("left_", "right_")):
            assert side.split("_")[0] == name.split("_")[0]


def test_parts_of_the_body_are_where_their_names_are():
    body = load_body()
    part = merged_parts(BODY_PARTS)[body.part]
    height = [float(body.v_template[part == index, 1].mean()) for index in range(6)]
    head, torso, arms, thighs, calves, feet = height
    assert head > torso > thighs > calves > feet
    assert arms > thighs


def test_other_merges_are_refused():
    with pytest.raises(ValueError, match="into"):
        merged_parts(("head", "rest"))
    with pytest.raises(ValueError, match="joint_names"):
        merged_parts(BODY_PARTS, ("pelvis", "tail"))
