"""City world: groups of settings can be turned off by name, and leave all else as it is."""

from __future__ import annotations

import json
from dataclasses import replace
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
    return sample_scene(7, settings.camera(1, 1 + seed), generator, occlusion, settings=settings)


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
    assert replace(settings.camera(1, 3), key=0) == DEFAULT.camera(1, 3)
    assert settings.identity is DEFAULT.identity
    assert settings.occluders is DEFAULT.occluders


def test_groups_that_are_on() -> None:
    assert world_settings("city").groups == CITY_GROUPS
    off = world_settings("city", without=(CITY_GROUPS[0],))
    assert off.groups == CITY_GROUPS[1:]
    assert world_settings("city", without=(CITY_GROUPS[0],)) is off


#: Parts of a scene that a group may change; all others must stay as they are.
CHANGES = {
    "cameras": {"camera", "place", "view"},
    "indoor": {"camera", "place", "view", "conditions", "light", "backdrop"},
    "lens": {"camera", "place", "view"},
    "shutter": {"view"},
    "boxes": {"view"},
    "places": {"backdrop"},
    "daylight": {"conditions", "light", "backdrop"},
    "night": {"conditions", "light", "backdrop"},
    "weather": {"conditions", "light", "backdrop"},
    "shadows": {"light"},
}
SENSOR = {"blur", "exposure", "resolution", "noise", "sharpening", "compression"}


def _parts(scene: Scene) -> dict[str, object]:
    light, figure = scene.light, scene.figure
    lamps = [(*lamp.place.tolist(), *lamp.color.tolist()) for lamp in light.lamps]
    return {
        "camera": scene.camera,
        "place": figure.shift.tolist(),
        "pose": (figure.heading, figure.motion.rotations.sum(0).tolist()),
        "view": (scene.view.focal, scene.view.principal, scene.view.skew, scene.view.distortion),
        "conditions": scene.conditions,
        "light": (light.sun.tolist(), light.sky.tolist(), lamps, light.cover is None, light.fog),
        "backdrop": str(scene.backdrop),
        "seed": scene.seed,
    }


@pytest.mark.parametrize("name", sorted(SENSOR | set(CHANGES)))
def test_a_group_that_is_off_leaves_the_rest_as_it_is(name: str) -> None:
    allowed = CHANGES.get(name, set())
    changed: set[str] = set()
    for seed in range(40):
        if seed >= 6 and (changed or name in SENSOR):
            break
        whole, bare = _scene(seed=seed), _scene((name,), seed=seed)
        one, two = _parts(whole), _parts(bare)
        changed |= {part for part in one if one[part] != two[part]}
        sensors = set(whole.sensor.digital) ^ set(bare.sensor.digital)
        sensors |= set(whole.sensor.optical) ^ set(bare.sensor.optical)
        assert sensors <= {name}
        if name in SENSOR:
            assert sensors == {name}
    assert changed <= allowed, f"{name} changed {changed - allowed}"
    if name in CHANGES:
        assert changed, f"{name} changed nothing"


@pytest.mark.parametrize("name", sorted(SENSOR))
def test_groups_of_the_sensor_change_the_image_and_no_truth(name: str) -> None:
    whole, bare = render(_scene(seed=3)), render(_scene((name,), seed=3))
    assert torch.equal(whole.mask, bare.mask)
    assert torch.equal(whole.keypoints.xy, bare.keypoints.xy)
    assert torch.equal(whole.vertex, bare.vertex)
    assert not torch.equal(whole.image, bare.image)


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
