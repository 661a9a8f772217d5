"""Groups "poses" and "belongings": feet on the ground, hands at things, true masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from meshes.world import Identity, Scene, draw_identity, render, sample_scene, world_settings
from meshes.world.city.belongings import BELONGINGS
from meshes.world.city.companions import hands_of, lowest_of_hips, stood
from meshes.world.city.postures import whole_legs
from meshes.world.people.attributes import describe_identity
from meshes.world.people.clothing import world_body
from meshes.world.people.figure import pose_figure
from meshes.world.rng import Rng
from meshes.world.surfaces.pieces import MeshPart, solid
from meshes.world.surfaces.primitives import box
from pose.runtime.defaults import plain_torch

OWN = ("umbrella", "carrier", "parcel", "rucksack")


@lru_cache(maxsize=1)
def _wearer() -> Identity:
    """A person in trousers without a bag."""
    return replace(draw_identity(6), bag="none", bottom=draw_identity(0).bottom, jacket=None)


@plain_torch()
def _motions(number: int) -> Iterator[tuple[Identity, object]]:
    settings = world_settings("city", without=("belongings",))
    for seed in range(number):
        person = settings.identity(seed % 40)
        rest = world_body().rest_joints(person.betas[None])[0]
        yield person, settings.motion(Rng.seeded("motion", seed), person, rest)


def test_postures_are_rotations_with_knees_that_bend_one_way() -> None:
    gaits: dict[str, int] = {}
    for person, motion in _motions(400):
        gaits[motion.gait] = gaits.get(motion.gait, 0) + 1
        product = motion.rotations @ motion.rotations.transpose(1, 2)
        assert torch.allclose(product, torch.eye(3).expand(24, 3, 3), atol=1e-4)
        assert min(motion.knees) >= 0
        if motion.gait in ("sit", "cycle", "crouch", "run"):
            assert whole_legs(person)
    assert set(gaits) == {"walk", "stand", "sit", "cycle", "crouch", "run"}
    assert gaits["walk"] + gaits["stand"] > 340


def test_feet_stand_on_the_ground_or_on_pedals() -> None:
    for person, motion in _motions(60):
        figure = pose_figure(person, motion, 0.3, (0.0, 0.0))
        lowest = min(float(each.vertices[:, 1].min()) for each in figure.pieces
                     if each.origin is not None and each.origin.label == "shoes")  # fmt: skip
        assert lowest == pytest.approx(motion.lift, abs=1e-4)


def test_things_stand_beside_their_owner() -> None:
    figure = pose_figure(_wearer(), next(iter(_motions(1)))[1], 0.9, (2.0, -1.0))
    thing = solid(box((0.5, 0.1, 0.0), (0.1, 0.2, 0.1)), lambda coords: coords)
    placed = stood([thing], figure)[0].vertices.mean(0)
    forward = torch.tensor([torch.sin(torch.tensor(0.9)), 0.0, torch.cos(torch.tensor(0.9))])
    expected = figure.joints[0] * torch.tensor([1.0, 0.0, 1.0]) + 0.5 * forward
    assert torch.allclose(placed, expected + torch.tensor([0.0, 0.1, 0.0]), atol=1e-5)
    left, right = hands_of(figure)
    assert left[2] < right[2]  # z points to the right


def _with(belonging: str, seed: int = 3) -> tuple[Scene, Scene]:
    settings = world_settings("city", without=("crowd", "poses", "cameras"))
    scenes = []
    for name in (belonging, "none"):
        person = replace(_wearer(), belonging=name)
        generator = torch.Generator().manual_seed(seed)
        scenes.append(sample_scene(person, settings.camera(1, 2), generator, settings=settings))
    return scenes[0], scenes[1]


def _points(pieces: tuple[MeshPart, ...]) -> torch.Tensor:
    return torch.cat([each.vertices for each in pieces])


@pytest.mark.parametrize("name", BELONGINGS)
def test_belongings_are_at_a_hand_and_above_the_ground(name: str) -> None:
    for seed in (3, 4):
        scene, bare = _with(name, seed)
        own = len(scene.figure.pieces) - len(bare.figure.pieces)
        assert (own > 0) == (name in OWN)
        assert (len(scene.front) > 0) == (name not in OWN)
        pieces = scene.figure.pieces[-own:] if own else scene.front
        points = _points(tuple(pieces))
        assert points.isfinite().all()
        assert float(points[:, 1].min()) > -0.02
        if name not in OWN:
            assert float(points[:, 1].min()) < 0.05
        palms = scene.figure.joints[-2:]
        near = torch.cdist(points, palms).min()
        body = torch.cdist(points, scene.figure.vertices[::20]).min()
        assert float(body if name == "rucksack" else near) < 0.16
        for piece in scene.figure.pieces:
            assert piece.origin is not None


def test_own_things_count_as_the_person_and_others_do_not() -> None:
    scene, bare = _with("umbrella")
    with_it, without = render(scene), render(replace(bare, view=scene.view))
    assert int(with_it.amodal.sum()) > int(without.amodal.sum())
    scene, bare = _with("bicycle")
    with_it = render(scene)
    without = render(replace(scene, front=()))
    assert torch.equal(with_it.amodal, without.amodal)
    assert (with_it.mask <= without.mask).all()
    assert with_it.visible_fraction <= without.visible_fraction


def test_a_belonging_stays_with_its_owner_and_looks_the_same() -> None:
    settings = world_settings("city", without=("crowd",))
    owners = [settings.identity(seed) for seed in range(300)]
    counts = {name: sum(each.belonging == name for each in owners) for name in BELONGINGS}
    assert min(counts.values()) > 0
    assert 40 < sum(counts.values()) < 110
    assert all(each.bag == "none" for each in owners if each.belonging in ("rucksack", "carrier"))
    colors = []
    for seed in (1, 2):
        scene = sample_scene(replace(_wearer(), belonging="dog"), settings.camera(1, 2),
                             torch.Generator().manual_seed(seed), settings=settings)  # fmt: skip
        colors.append(scene.front[0].paint(torch.zeros(1, 3)))
    assert torch.equal(*colors)


def test_labels_name_bags_that_are_carried() -> None:
    person = replace(_wearer(), belonging="rucksack")
    assert describe_identity(person).bag == "rucksack"
    assert describe_identity(replace(person, belonging="dog")).bag == "none"


@pytest.mark.parametrize("gait", ["sit", "cycle"])
def test_people_sit_on_something(gait: str) -> None:
    settings = world_settings("city", without=("crowd", "belongings", "cameras", "layers"))
    found = 0
    for seed in range(150):
        scene = sample_scene(
            _wearer(), settings.camera(1, 2), torch.Generator().manual_seed(seed), settings=settings
        )
        if scene.figure.motion.gait != gait:
            continue
        found += 1
        height = lowest_of_hips(scene.figure)
        hips = scene.figure.joints[0]
        points = _points(scene.front)
        below = points[((points - hips)[:, [0, 2]].norm(dim=1) < 0.35)]
        top = below[:, 1][below[:, 1] < height + 0.02].max()
        assert float(top) == pytest.approx(height, abs=0.06)
        if found == 2:
            break
    assert found == 2


def test_poses_without_the_group_are_those_of_the_default_world() -> None:
    whole = world_settings("city", without=("belongings", "crowd"))
    bare = world_settings("city", without=("belongings", "crowd", "poses"))
    person = draw_identity(3)
    rest = world_body().rest_joints(person.betas[None])[0]
    same = 0
    for seed in range(40):
        first = whole.motion(Rng.seeded("pose", seed), person, rest)
        second = bare.motion(Rng.seeded("pose", seed), person, rest)
        same += int(torch.equal(first.rotations, second.rotations))
    assert 8 < same < 33
