"""Group "things": occluders of the city are valid, varied, repeatable, and apart from others."""

from __future__ import annotations

import pytest
import torch

from meshes.world import OCCLUDERS, Rendered, render, sample_scene, world_settings
from meshes.world.city.materials import MATERIALS, Material, draw_material
from meshes.world.city.occluders import CITY_OCCLUDERS
from meshes.world.city.shapes import lathe, wheel
from meshes.world.heldout import HELD_OUT
from meshes.world.rng import Rng
from meshes.world.surfaces.primitives import Mesh

NEW = tuple(kind for kind in CITY_OCCLUDERS if kind not in OCCLUDERS)


def _volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return float((torch.linalg.cross(a, b) * c).sum() / 6)


def test_closed_shapes_turn_outwards() -> None:
    cylinder = lathe([(0.0, 0.0), (0.5, 0.0), (0.5, 2.0), (0.0, 2.0)], 64)
    assert _volume(cylinder) == pytest.approx(torch.pi * 0.25 * 2.0, rel=5e-3)
    assert _volume(wheel((1.0, 2.0, 3.0), 0.5, 0.4)) == pytest.approx(
        torch.pi * 0.25 * 0.4, rel=0.05
    )


@pytest.mark.parametrize("kind", NEW)
def test_things_are_valid_meshes_with_colours_on_the_ground(kind: str) -> None:
    build = CITY_OCCLUDERS[kind].build
    assert build is not None
    for seed in range(6):
        pieces = build(Rng.seeded(kind, seed))
        again = build(Rng.seeded(kind, seed))
        for piece, other in zip(pieces, again, strict=True):
            assert torch.equal(piece.vertices, other.vertices)
            colors = piece.paint(piece.coords)
            assert torch.equal(colors, other.paint(other.coords))
            assert colors.shape == piece.vertices.shape
            assert 0 <= float(colors.min()) <= float(colors.max()) < 1.1  # clamped when lit
            assert piece.vertices.isfinite().all()
            assert 0 <= int(piece.faces.min()) <= int(piece.faces.max()) < len(piece.vertices)
        lowest = min(float(piece.vertices[:, 1].min()) for piece in pieces)
        highest = max(float(piece.vertices[:, 1].max()) for piece in pieces)
        if CITY_OCCLUDERS[kind].hanging:
            assert highest > 2.8
        else:
            assert -0.15 < lowest < 0.2


@pytest.mark.parametrize("kind", [kind for kind in MATERIALS if kind != "cloth"])
def test_materials_vary_over_a_surface_and_stay_in_range(kind: str) -> None:
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(1)) * 2
    material = draw_material(Rng.seeded("material", kind), kind)
    assert isinstance(material, Material)
    assert material.kind == kind
    colors = material(points)
    assert colors.shape == points.shape
    assert 0 <= float(colors.min()) <= float(colors.max()) <= 1
    assert float(colors.std(0).max()) > 0.002
    assert torch.equal(colors[:10], material(points[:10]))


def test_kinds_are_apart_from_those_of_the_held_out_world() -> None:
    assert set(CITY_OCCLUDERS) & set(HELD_OUT.occluders) == {"person", "cut"}
    assert set(OCCLUDERS) < set(CITY_OCCLUDERS)


def _image(seed: int, occlusion: str, without: tuple[str, ...] = ()) -> Rendered:
    settings = world_settings("city", without=without)
    generator = torch.Generator().manual_seed(seed)
    return render(sample_scene(3, settings.camera(1, 2), generator, occlusion, settings=settings))


def test_without_the_group_only_kinds_of_the_default_world_hide_people() -> None:
    bare = world_settings("city", without=("things", "crowd"))
    assert tuple(bare.occluders) == OCCLUDERS
    clear, other = _image(5, "assembly"), _image(5, "car", ("things",))
    assert clear.occluder in ("assembly", "cut")
    # The crop can differ where the thing cuts it, the person in the world cannot.
    assert torch.equal(clear.rotations, other.rotations)
    assert torch.equal(clear.betas, other.betas)
    assert clear.pitch == other.pitch


def test_truth_agrees_behind_things() -> None:
    for seed in range(4):
        made = _image(seed, ("assembly", "screen", "frame", "plants")[seed])
        assert (made.mask <= made.amodal).all()
        shown = float(made.mask.sum() / made.amodal.sum())
        assert made.visible_fraction <= shown + 0.03
        seen = made.keypoints.visibility == 1
        x, y = made.keypoints.xy[seen].long().unbind(1)
        near = torch.nn.functional.max_pool2d(made.mask[None].float(), 9, 1, 4)[0]
        assert float(near[y, x].mean()) > 0.9
