"""City world: groups of settings can be turned off by name, and leave all else as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from meshes.world import CITY_GROUPS, render, sample_scene, world_settings
from meshes.world.labelled import labelled_shards, write_labelled_world
from meshes.world.rng import Rng
from meshes.world.scene import Scene
from meshes.world.settings import DEFAULT

PLAN = {"identities": 1, "views": 2, "seed": 3, "settings": "city"}


def _scene(without: tuple[str, ...] = (), seed: int = 4, occlusion: str | None = None) -> Scene:
    settings = world_settings("city", without=without)
    generator = torch.Generator().manual_seed(seed)
    return sample_scene(7, settings.camera(1, 3), generator, occlusion, settings=settings)


def test_branches_follow_from_name_and_seed_alone() -> None:
    source = Rng.seeded("a", 1)
    first = source.branch("x").uniforms(4)
    source.uniform(0, 1)
    assert torch.equal(first, source.branch("x").uniforms(4))
    assert not torch.equal(first, source.branch("y").uniforms(4))
    assert not torch.equal(first, Rng.seeded("a", 2).branch("x").uniforms(4))


def test_same_seed_same_image_and_the_generator_advances() -> None:
    first, again = render(_scene()), render(_scene())
    assert torch.equal(first.image, again.image)
    settings = world_settings("city")
    generator = torch.Generator().manual_seed(4)
    one, two = (
        sample_scene(7, settings.camera(1, 3), generator, settings=settings) for _ in range(2)
    )
    assert not torch.equal(one.figure.vertices, two.figure.vertices)


def test_all_groups_off_leaves_the_cameras_of_the_default_world() -> None:
    settings = world_settings("city", without=CITY_GROUPS)
    assert settings.groups == ()
    assert settings.camera(1, 3) == DEFAULT.camera(1, 3)
    assert settings.identity is DEFAULT.identity


def test_groups_that_are_on() -> None:
    assert world_settings("city").groups == CITY_GROUPS
    off = world_settings("city", without=(CITY_GROUPS[0],))
    assert off.groups == CITY_GROUPS[1:]
    assert world_settings("city", without=(CITY_GROUPS[0],)) is off


def test_pose_and_place_do_not_change_without_a_group() -> None:
    whole = _scene()
    for name in ("blur",):
        bare = _scene((name,))
        assert torch.equal(whole.figure.vertices, bare.figure.vertices)
        assert whole.view.focal == bare.view.focal
        assert whole.seed == bare.seed


def test_manifest_names_the_groups_and_refuses_others(tmp_path: Path) -> None:
    folder = write_labelled_world(tmp_path / "set", **PLAN, without=("blur",))
    manifest = json.loads((folder / "world.json").read_text())
    assert manifest["groups"].split() == [name for name in CITY_GROUPS if name != "blur"]
    with pytest.raises(FileExistsError, match="groups"):
        write_labelled_world(tmp_path / "set", **PLAN)
    again = write_labelled_world(tmp_path / "again", **PLAN, without=["blur"])
    other = write_labelled_world(tmp_path / "other", **PLAN)
    first, second, third = (
        labelled_shards(each)[0].read_bytes() for each in (folder, again, other)
    )
    assert first == second != third


@pytest.mark.parametrize(
    ("name", "without", "message"),
    [
        ("city", ("snow",), "without must be out of"),
        ("city", "blur", "without must be a sequence of names"),
        ("default", ("blur",), "without must be empty"),
        ("held-out", ("blur",), "without must be empty"),
        ("summer", (), "settings must be one of"),
    ],
)
def test_unknown_names(name: str, without: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        world_settings(name, without=without)
