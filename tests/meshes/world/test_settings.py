"""Settings of worlds: the default world is unchanged, the held-out one differs and repeats."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meshes.world import OCCLUDERS, draw_identity, render, sample_scene
from meshes.world.heldout import HELD_OUT
from meshes.world.heldout.fabrics import HeldOutFabric
from meshes.world.heldout.wardrobe import draw_held_out_identity
from meshes.world.labelled import labelled_shards, read_labelled_shard, write_labelled_world
from meshes.world.presets import world_settings
from meshes.world.settings import DEFAULT
from meshes.world.surfaces.fabric import PATTERNS

PLAN = {"identities": 2, "views": 10, "seed": 3, "first_identity": 11, "settings": "held-out"}
LEVELS = {3: 0.2, 4: 0.4, 5: 0.6, 6: 0.8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_world(tmp_path_factory.mktemp("held-out") / "set", **PLAN)


def _image(seed: int, **options: object) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    made = render(sample_scene(seed, DEFAULT.camera(1, 1 + seed), generator, "any", **options))
    return hashlib.sha256(made.image.numpy().tobytes() + made.mask.numpy().tobytes()).digest()


def test_default_settings_are_the_world_without_settings() -> None:
    assert [_image(seed) for seed in range(3)] == [
        _image(seed, settings=DEFAULT) for seed in range(3)
    ]
    assert _image(0) != _image(0, settings=HELD_OUT)
    assert tuple(DEFAULT.occluders) == OCCLUDERS


def test_default_manifest_is_that_of_earlier_sets(tmp_path: Path) -> None:
    write_labelled_world(tmp_path / "set", identities=1, views=1, seed=0)
    manifest = json.loads((tmp_path / "set" / "world.json").read_text())
    assert sorted(manifest) == sorted(
        ["kind", "version", "identities", "views", "seed", "cameras", "first_identity",
         "occluded_fraction"]
    )  # fmt: skip
    # A set without the field is the default one: it can be finished under that name.
    write_labelled_world(tmp_path / "set", identities=1, views=1, seed=0, settings="default")
    with pytest.raises(FileExistsError, match="settings"):
        write_labelled_world(tmp_path / "set", identities=1, views=1, seed=0, settings="held-out")


def test_held_out_settings_are_in_the_manifest_and_repeatable(folder: Path, tmp_path: Path) -> None:
    assert json.loads((folder / "world.json").read_text())["settings"] == "held-out"
    again = write_labelled_world(tmp_path / "set", **PLAN)
    first, second = (labelled_shards(each)[0].read_bytes() for each in (folder, again))
    assert first == second


def test_truth_is_consistent(folder: Path) -> None:
    images = read_labelled_shard(labelled_shards(folder)[0])
    assert (images.mask <= images.amodal).all()
    clear = images.occluder == "none"
    views = np.arange(len(images)) % PLAN["views"]
    assert clear[np.isin(views, (0, 1, 2, 9))].all()
    assert not clear[np.isin(views, (3, 4, 5, 6, 7, 8))].any()
    shown = images.mask.sum((1, 2)) / images.amodal.sum((1, 2))
    assert (images.visible_fraction <= shown + 0.02).all()  # boxes may cut, too
    assert (images.visible_fraction[clear] > 0.8).all()
    for view, hidden in LEVELS.items():
        found = 1 - images.visible_fraction[views == view]
        assert (abs(found - hidden) < 0.2).all(), (view, found)


def test_cameras_of_gallery_and_queries_are_disjoint(folder: Path) -> None:
    images = read_labelled_shard(labelled_shards(folder)[0])
    views = np.arange(len(images)) % PLAN["views"]
    gallery = views < 2
    assert images.camera[gallery].max() < images.camera[~gallery].min()
    assert (images.camera[views == 0] != images.camera[views == 1]).all()


@pytest.mark.parametrize("kind", [kind for kind in HELD_OUT.occluders if kind != "cut"])
def test_every_kind_hides_some_of_the_person_and_faces_are_valid(kind: str) -> None:
    generator = torch.Generator().manual_seed(5)
    scene = sample_scene(
        2, HELD_OUT.camera(0, 4), generator, kind, hidden_range=(0.2, 0.5), settings=HELD_OUT
    )
    made = render(scene)
    assert scene.occluder in (kind, "cut")  # thin things may not hide enough
    assert 0.3 < made.visible_fraction < 0.95
    for piece in (*scene.front, *scene.figure.pieces):
        assert piece.vertices.isfinite().all()
        assert 0 <= int(piece.faces.min()) <= int(piece.faces.max()) < len(piece.vertices)


def test_nothing_of_the_held_out_wardrobe_is_in_the_default_one() -> None:
    assert not set(HeldOutFabric.patterns) & set(PATTERNS)
    assert set(HELD_OUT.occluders) & set(OCCLUDERS) == {"person", "cut"}
    bags = {draw_held_out_identity(seed).bag for seed in range(60)}
    assert {"duffel", "shopping", "instrument", "belt"} <= bags
    assert not {"duffel", "shopping", "instrument", "belt"} & {
        draw_identity(seed).bag for seed in range(60)
    }


def test_teams_wear_one_uniform_on_different_people() -> None:
    people = [draw_held_out_identity(seed) for seed in range(160)]
    shared = [(a, b) for a, b in itertools.pairwise(people) if a.top.fabric == b.top.fabric]
    assert 15 < len(shared) < 110
    assert all(not torch.equal(a.betas, b.betas) for a, b in shared)


def test_every_bag_and_cape_can_be_worn() -> None:
    base = draw_held_out_identity(3)
    for bag in ("duffel", "shopping", "instrument", "belt"):
        generator = torch.Generator().manual_seed(1)
        scene = sample_scene(
            replace(base, bag=bag), HELD_OUT.camera(0, 1), generator, settings=HELD_OUT
        )
        bare = sample_scene(
            replace(base, bag="none"), HELD_OUT.camera(0, 1), generator, settings=HELD_OUT
        )
        assert len(scene.figure.pieces) > len(bare.figure.pieces)
    caped = next(p for seed in range(99) if (p := draw_held_out_identity(seed)).cape is not None)
    generator = torch.Generator().manual_seed(1)
    scene = sample_scene(caped, HELD_OUT.camera(0, 1), generator, settings=HELD_OUT)
    assert all(piece.vertices.isfinite().all() for piece in scene.figure.pieces)


def test_passers_by_can_be_asked_for() -> None:
    def others(number: int | None, settings: str) -> int:
        generator = torch.Generator().manual_seed(2)
        chosen = world_settings(settings)
        return len(sample_scene(1, chosen.camera(0, 4), generator, passers_by=number,
                                settings=chosen).behind)  # fmt: skip

    for name in ("default", "held-out"):
        assert others(0, name) == 0
        assert others(4, name) > others(1, name) > 0


@pytest.mark.parametrize("hidden", [(0.5, 0.5), (-0.1, 0.3), (0.4, 1.2)])
def test_bad_ranges(hidden: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="hidden_range must be"):
        sample_scene(0, DEFAULT.camera(0, 1), torch.Generator(), "any", hidden_range=hidden)


def test_unknown_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="settings must be one of"):
        world_settings("summer")
    with pytest.raises(ValueError, match="settings must be one of"):
        write_labelled_world(tmp_path / "set", identities=1, views=1, seed=0, settings="summer")
    with pytest.raises(ValueError, match="occlusion must be None"):
        sample_scene(0, DEFAULT.camera(0, 1), torch.Generator(), "pram")
