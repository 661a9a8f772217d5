"""Groups "layers", "colors" and "uniforms": clothes of the city on default bodies."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from meshes.world import Identity, draw_identity, render, sample_scene, world_settings
from meshes.world.city.clothes import recolored
from meshes.world.city.extras import (
    belt,
    bib,
    bobble,
    collar,
    headphones,
    helmet,
    neck_scarf,
    necktie,
    shirt_tail,
)
from meshes.world.city.fabrics import CITY_PATTERNS, CityFabric, city_fabric
from meshes.world.city.palette import USES, street_color
from meshes.world.city.uniforms import BLOCK
from meshes.world.city.wardrobe import layered
from meshes.world.heldout.fabrics import HeldOutFabric
from meshes.world.people.attributes import describe_identity
from meshes.world.people.clothing import build_outfit, world_body
from meshes.world.people.figure import pose_figure
from meshes.world.people.poses import draw_motion
from meshes.world.people.wearables import Wearable
from meshes.world.rng import Rng
from meshes.world.surfaces.fabric import PATTERNS
from pose.runtime.defaults import plain_torch


@lru_cache(maxsize=8)
def _people(without: tuple[str, ...] = ()) -> tuple[Identity, ...]:
    settings = world_settings("city", without=without)
    return tuple(settings.identity(seed) for seed in range(120))


def test_bodies_and_faces_are_those_of_the_default_world() -> None:
    for seed, person in enumerate(_people(("uniforms",))):
        base = draw_identity(seed)
        assert torch.equal(person.betas, base.betas)
        assert (person.seed, person.skin, person.hair) == (base.seed, base.skin, base.hair)
        assert (person.hair_style, person.bag) == (base.hair_style, base.bag)


def test_cuts_do_not_depend_on_colors() -> None:
    for person, bare in zip(_people(("uniforms",)), _people(("uniforms", "colors")), strict=True):
        assert replace(person.top, fabric=bare.top.fabric) == bare.top
        assert replace(person.bottom, fabric=bare.bottom.fabric) == bare.bottom
        assert (person.jacket is None) == (bare.jacket is None)
        assert [item.name for item in person.worn] == [item.name for item in bare.worn]


def test_colors_do_not_depend_on_cuts() -> None:
    alone, both = _people(("uniforms", "layers")), _people(("uniforms",))
    for bare, person in zip(alone, both, strict=True):
        assert bare.shoe == person.shoe
        assert bare.bag_fabric == person.bag_fabric


def test_most_clothes_are_dark_or_grey_and_few_are_saturated() -> None:
    rng = Rng.seeded("colors")
    for use, dark, vivid in (("bottom", 0.5, 0.06), ("jacket", 0.5, 0.1), ("top", 0.3, 0.16)):
        drawn = [colorsys.rgb_to_hsv(*street_color(rng, use)) for _ in range(1500)]
        assert sum(value < 0.3 for _, _, value in drawn) / 1500 > dark, use
        saturated = [saturation > 0.5 and value > 0.35 for _, saturation, value in drawn]
        assert 0.002 < sum(saturated) / 1500 < vivid, use


@pytest.mark.parametrize("use", USES)
def test_colours_are_in_range(use: str) -> None:
    rng = Rng.seeded("colors", use)
    drawn = torch.tensor([street_color(rng, use) for _ in range(200)])
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1


@pytest.mark.parametrize("pattern", CITY_PATTERNS)
def test_cloth_is_in_range_and_draws_its_colours(pattern: str) -> None:
    body = world_body().v_template
    fabric = CityFabric(pattern, ((0.1, 0.1, 0.1), (0.9, 0.9, 0.9), (0.9, 0.2, 0.2)), seed=5)
    for around in ("trunk", "legs"):
        colors = replace(fabric, around=around)(body)
        assert colors.shape == body.shape
        assert 0 <= float(colors.min()) <= float(colors.max()) <= 1
    fine = body.repeat(8, 1) + 0.02 * torch.randn(8 * len(body), 3, generator=torch.Generator())
    inked = (fabric(fine)[:, 0] > 0.4).any()
    assert bool(inked) == (pattern not in ("flat", "melange", "washed", "knit", "quilted"))


def test_cloth_is_apart_from_other_worlds() -> None:
    assert not set(CITY_PATTERNS) & (set(PATTERNS) | set(HeldOutFabric.patterns))
    with pytest.raises(ValueError, match="pattern must be one of"):
        CityFabric("tartan", ((0.0, 0.0, 0.0),) * 3)
    drawn = {city_fabric(Rng.seeded("cloth", seed), "top").pattern for seed in range(300)}
    assert len(drawn) > 9


@plain_torch()
def _posed(person: Identity, seed: int = 3):
    joints = world_body().rest_joints(person.betas[None])[0]
    motion = draw_motion(Rng.seeded("pose", seed), person, joints)
    return pose_figure(person, motion, 0.4, (0.0, 0.0))


EXTRAS: dict[str, Callable[[], Wearable]] = {
    "scarf": lambda: neck_scarf(Rng.seeded("scarf", 1)),
    "belt": lambda: belt(Rng.seeded("belt"), (0.1, 0.1, 0.1)),
    "bib": lambda: bib(city_fabric(Rng.seeded("bib"), "top")),
    "collar": lambda: collar(city_fabric(Rng.seeded("collar"), "top")),
    "tie": lambda: necktie(city_fabric(Rng.seeded("tie"), "top")),
    "shirt tail": lambda: shirt_tail(Rng.seeded("t"), city_fabric(Rng.seeded("s"), "top"), -0.03),
    "bobble": lambda: bobble(Rng.seeded("bobble")),
    "head phones": lambda: headphones(Rng.seeded("phones")),
    "helmet": lambda: helmet(Rng.seeded("helmet")),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTRAS)
def test_extras_stay_on_the_body_in_any_pose(name: str) -> None:
    item = EXTRAS[name]()
    base = replace(draw_identity(8), bag="none", headwear="beanie", hair_style="buzz")
    for seed in range(3):
        bare, dressed = _posed(base, seed), _posed(replace(base, worn=(item,)), seed)
        assert len(dressed.pieces) == len(bare.pieces) + 1
        piece = next(each for each in dressed.pieces if each.paint is item.paint)
        assert piece.origin is not None
        assert piece.origin.label == item.name == name
        assert piece.vertices.isfinite().all()
        used = piece.vertices[torch.unique(piece.faces)]
        surface = torch.cat([each.vertices for each in bare.pieces])
        gap = torch.cdist(used, surface).amin(1)
        assert float(gap.max()) < (0.11 if name in ("bobble", "helmet") else 0.08)
        assert float(gap.min()) < 0.02


def test_layers_lie_outside_of_each_other() -> None:
    people = [layered(draw_identity(seed)) for seed in range(12)]
    for person in (person for person in people if person.jacket is not None):
        outfit = build_outfit(person)
        above = ((outfit.rests[3] - outfit.rests[2]) * outfit.normals[2]).sum(-1)
        trunk = (world_body().v_template[:, 1] > 0.0) & (world_body().v_template[:, 1] < 0.45)
        assert float(above[trunk].min()) > -0.004  # in the folds of the arms
        assert float((above[trunk] > 0).float().mean()) > 0.99


def test_every_person_can_be_described_and_drawn() -> None:
    people = _people()
    kinds = {(person.jacket.kind if person.jacket else "none") for person in people}
    assert {"none", "jacket", "coat"} <= kinds
    assert {item.name for person in people for item in person.worn} >= {"scarf", "belt", "collar"}
    assert any(person.tights is not None for person in people)
    for person in people:
        describe_identity(person)
    settings = world_settings("city")
    generator = torch.Generator().manual_seed(2)
    made = render(sample_scene(11, settings.camera(1, 2), generator, settings=settings))
    assert (made.mask <= made.amodal).all()


def test_tights_colour_the_legs_alone() -> None:
    person = replace(draw_identity(4), tights=(0.0, 0.9, 0.0), glasses="none")
    skin = next(layer for layer in build_outfit(person).layers if layer.name == "skin")
    coords = torch.tensor([[0.1, -0.3, 0.05], [0.6, 0.45, 0.0], [0.0, 0.52, 0.05]])
    green = skin.paint(coords)[:, 1] > 0.85
    assert green.tolist() == [True, False, False]


def test_teams_wear_the_same_clothes_on_different_people() -> None:
    people = _people()
    blocks = [people[start : start + BLOCK] for start in range(0, len(people), BLOCK)]
    teams = [[p for p in block if p.top == block[0].top] for block in blocks]
    teams = [team for team in teams if len(team) > 1]
    assert 3 < len(teams) < 14
    for team in teams:
        assert all(p.bottom == team[0].bottom and p.jacket == team[0].jacket for p in team)
        assert len({tuple(p.betas.tolist()) for p in team}) == len(team)
    assert len({p.bag_fabric.seed for p in teams[0]} | {p.shoe for p in teams[0]}) > 1


def test_same_number_same_person() -> None:
    settings = world_settings("city")
    assert settings.identity(5) is settings.identity(5)
    again = recolored(layered(draw_identity(5)))
    assert again.top == _people(("uniforms",))[5].top
