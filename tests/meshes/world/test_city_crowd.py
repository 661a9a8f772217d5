"""Group "crowd": others do not stand in each other, hide little, repeat, and can be counted."""

from __future__ import annotations

import pytest
import torch

from meshes.world import Scene, render, sample_scene, world_settings


def _scene(seed: int, number: int | None = None, occlusion: str | None = None,
           without: tuple[str, ...] = ()) -> Scene:  # fmt: skip
    settings = world_settings("city", without=without)
    generator = torch.Generator().manual_seed(seed)
    return sample_scene(seed, settings.camera(1, 3), generator, occlusion, passers_by=number,
                        settings=settings)  # fmt: skip


def _bearers(scene: Scene) -> dict[int, torch.Tensor]:
    """Ground place (2,) of each person among the others."""
    found = {}
    for piece in scene.behind:
        if piece.origin is not None and piece.origin.label == "shoes":
            found.setdefault(id(piece.origin.bearer), []).append(piece.vertices)
    return {key: torch.cat(parts).mean(0)[[0, 2]] for key, parts in found.items()}


def test_number_of_others() -> None:
    assert not _scene(1, 0).behind
    for number in (1, 2, 4):
        assert len(_bearers(_scene(2, number))) == number


def test_others_have_room_and_hide_little() -> None:
    for seed in range(5):
        scene = _scene(seed, 3)
        places = [*_bearers(scene).values(), scene.figure.shift[[0, 2]]]
        apart = torch.cdist(torch.stack(places), torch.stack(places))
        apart.fill_diagonal_(9.0)
        assert float(apart.min()) > 0.25  # shoes of a stride apart from the pelvis
        assert render(scene).visible_fraction > 0.55


def test_same_seed_same_crowd_and_the_person_does_not_change_without_it() -> None:
    first, again, bare = _scene(4, 3), _scene(4, 3), _scene(4, 3, without=("crowd",))
    for one, two in zip(first.behind, again.behind, strict=True):
        assert torch.equal(one.vertices, two.vertices)
    assert torch.equal(first.figure.vertices, bare.figure.vertices)
    assert first.view.focal == bare.view.focal
    assert first.seed == bare.seed
    assert len(first.behind) != len(bare.behind)


@pytest.mark.parametrize("kind", ["person", "couple"])
def test_people_in_front(kind: str) -> None:
    scenes = [_scene(seed, None, kind) for seed in range(6, 12)]
    placed = [scene for scene in scenes if scene.occluder == kind]
    assert placed  # where no place is found, the crop is cut instead
    assert {scene.occluder for scene in scenes} <= {kind, "cut"}
    for scene in placed:
        labels = {piece.origin.label for piece in scene.front if piece.origin is not None}
        assert "skin" in labels
    made = render(placed[0])
    assert (made.mask <= made.amodal).all()
