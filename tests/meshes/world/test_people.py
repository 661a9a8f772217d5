"""Identities, outfits and motion of the synthetic world."""

from __future__ import annotations

import math

import pytest
import torch

from meshes.body.model import SMPL_JOINTS
from meshes.world.people.clothing import build_outfit, world_body
from meshes.world.people.cuts import cut_faces
from meshes.world.people.figure import pose_figure
from meshes.world.people.hair import hairline
from meshes.world.people.identity import draw_identity
from meshes.world.people.poses import draw_motion, reach
from meshes.world.rng import Rng
from meshes.world.surfaces.fabric import PATTERNS, Fabric

JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}


def _rest(identity):
    return world_body().rest_joints(identity.betas[None])[0]


def test_identity_depends_on_its_number_alone():
    first = draw_identity.__wrapped__(7)
    again = draw_identity.__wrapped__(7)
    other = draw_identity.__wrapped__(8)
    assert torch.equal(first.betas, again.betas)
    assert (first.top, first.bottom, first.bag, first.hair) == (
        again.top,
        again.bottom,
        again.bag,
        again.hair,
    )
    assert not torch.equal(first.betas, other.betas)


def test_negative_identity_raises():
    with pytest.raises(ValueError, match="seed must not be negative; got -1"):
        draw_identity(-1)


def test_wardrobe_is_varied_and_mostly_dark_or_neutral():
    people = [draw_identity(n) for n in range(300)]
    bottoms = torch.tensor([p.bottom.fabric.colors[0] for p in people])
    spread = bottoms.amax(1) - bottoms.amin(1)
    assert ((bottoms.mean(1) < 0.3) | (spread < 0.1)).float().mean() > 0.6
    assert len({p.top.fabric.pattern for p in people}) >= 10
    assert {p.bottom.kind for p in people} == {"trousers", "shorts", "skirt", "dress"}
    assert {p.bag for p in people} >= {"none", "backpack", "shoulder", "tote", "hand"}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_fabric_colours_are_near_its_palette(pattern, rng):
    colors = ((0.2, 0.3, 0.4), (0.6, 0.1, 0.1), (0.1, 0.5, 0.2))
    points = torch.rand(500, 3, generator=rng) * torch.tensor([0.8, 0.6, 0.2]) - torch.tensor(
        [0.4, 0.1, 0.1]
    )
    rgb = Fabric(pattern, colors)(points)
    assert rgb.shape == (500, 3)
    assert float(rgb.min()) > 0.02
    assert float(rgb.max()) < 0.75


def test_unknown_pattern_raises():
    with pytest.raises(ValueError, match="pattern must be one of"):
        Fabric("tweed", ((0, 0, 0),) * 3)


def test_cut_keeps_the_area_inside_a_straight_line():
    # A 10 x 10 grid of squares on [0, 1]^2 cut at x < 0.33: the area is exact.
    grid = torch.linspace(0, 1, 11)
    x, y = torch.meshgrid(grid, grid, indexing="ij")
    vertices = torch.stack([x.flatten(), y.flatten(), torch.zeros(121)], 1)
    index = torch.arange(121).reshape(11, 11)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat(
        [torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)]
    )
    cut = cut_faces(0.33 - vertices[:, 0], faces)
    corners = cut.carry(vertices)[cut.faces]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert float(normal[:, 2].sum() / 2) == pytest.approx(0.33, abs=1e-6)
    assert float(normal[:, 2].min()) > 0  # no face was turned over
    assert float(corners[..., 0].max()) == pytest.approx(0.33, abs=1e-6)


def test_clothes_lie_outside_the_body():
    body = world_body()
    outfit = build_outfit(draw_identity(3))
    bare = body.shaped(outfit.identity.betas[None])[0]
    trunk = (body.v_template[:, 1] > 0.15) & (body.v_template[:, 1] < 0.35)
    outward = ((outfit.rests[2] - bare) * outfit.normals[0]).sum(-1)[trunk]
    assert float((outward > 0).float().mean()) > 0.98


def test_hairline_leaves_the_face_free():
    crown, nape, cheek, forehead = (
        (0.0, 0.78, 0.04),
        (0.0, 0.62, -0.05),
        (0.04, 0.64, 0.11),
        (0.0, 0.72, 0.135),
    )
    field = hairline(torch.tensor([crown, nape, cheek, forehead]))
    assert (field > 0).tolist() == [True, True, False, False]


def test_knees_never_bend_backwards():
    identity = draw_identity(1)
    for seed in range(40):
        motion = draw_motion(Rng.seeded("knees", seed), identity, _rest(identity))
        for side, flexion in zip(("left", "right"), motion.knees, strict=True):
            knee = motion.rotations[JOINT[f"{side}_knee"]]
            # Flexion about +x carries the shank (pointing down) backwards.
            shank = knee @ torch.tensor([0.0, -1.0, 0.0])
            assert flexion >= 0
            assert float(shank[2]) <= 1e-6
            assert float(shank[2]) == pytest.approx(-math.sin(flexion), abs=1e-5)


def test_arms_swing_against_their_own_leg():
    identity = draw_identity(2)
    products = []
    for seed in range(60):
        motion = draw_motion(Rng.seeded("swing", seed), identity, _rest(identity), stand=False)
        if motion.gesture != "relaxed":
            continue
        rotations = motion.rotations.clone()
        rotations[0] = torch.eye(3)
        joints = world_body().pose(rotations[None], identity.betas[None]).joints[0]
        arm = joints[JOINT["left_wrist"], 2] - joints[JOINT["right_wrist"], 2]
        leg = joints[JOINT["left_ankle"], 2] - joints[JOINT["right_ankle"], 2]
        if leg.abs() > 0.25:
            products.append(float(arm * leg))
    assert len(products) > 10
    assert sum(p < 0 for p in products) / len(products) > 0.9


def test_reach_is_exact_when_the_target_is_in_range():
    shoulder, target = torch.tensor([0.2, 0.4, 0.0]), torch.tensor([0.1, 0.2, 0.3])
    elbow = reach(shoulder, target, (0.3, 0.25), torch.tensor([0.5, -1.0, -0.3]))
    assert float((elbow - shoulder).norm()) == pytest.approx(0.3, abs=1e-5)
    assert float((target - elbow).norm()) == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize("number", [0, 5, 11, 23])
def test_people_stand_upright_on_the_ground(number):
    identity = draw_identity(number)
    motion = draw_motion(Rng.seeded("stand", number), identity, _rest(identity))
    figure = pose_figure(identity, motion, 0.7, (1.0, -2.0))
    points = torch.cat([piece.vertices for piece in figure.pieces])
    assert float(points[:, 1].min()) > -0.03  # a suitcase's wheel may touch down a little lower
    shoes = figure.vertices[world_body().v_template[:, 1] < -0.85]
    assert 0 < float(shoes[:, 1].min()) < 0.04  # the sole lies under the bare foot
    height = float(figure.joints[JOINT["head"], 1] - figure.joints[JOINT["left_ankle"], 1])
    assert height > 1.1
    assert abs(float(figure.joints[0, 0]) - 1.0) < 0.05
    front = figure.rotations[0] @ torch.tensor([0.0, 0.0, 1.0])
    assert math.atan2(float(front[0]), float(front[2])) == pytest.approx(0.7, abs=0.2)


def test_bags_touch_the_person():
    seen = set()
    for number in range(120):
        identity = draw_identity(number)
        if identity.bag == "none" or identity.bag in seen:
            continue
        seen.add(identity.bag)
        plain = draw_motion(Rng.seeded("bag", number), identity, _rest(identity))
        figure = pose_figure(identity, plain, 0.0, (0.0, 0.0))
        extra = {"backpack": 1, "shoulder": 1, "tote": 2, "hand": 2, "case": 3}[identity.bag]
        bag = torch.cat([piece.vertices for piece in figure.pieces[-extra:]])
        person = torch.cat([piece.vertices for piece in figure.pieces[:-extra]])
        assert float(torch.cdist(bag, person).min()) < 0.04, identity.bag
    assert seen >= {"backpack", "shoulder", "tote", "hand"}
