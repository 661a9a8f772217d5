"""Garments of another person, and things in front of a person, with their truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from meshes import (
    Occluded,
    Texture,
    complete_texture,
    load_body,
    occlude,
    redress,
    rerender,
    unwrap,
)
from meshes.body.atlas import load_atlas
from meshes.rerendering.occlusion import photo_view
from meshes.rerendering.person import place_person
from meshes.rerendering.rendering import upright_rotations
from meshes.texture.values import SEEN, UNKNOWN
from meshes.world import draw_camera
from meshes.world.imaging.camera import draw_light
from meshes.world.rng import Rng
from pose import Keypoints
from textured import part_image, standing_fit


def plain(tone: float, betas: float = 0.0) -> Texture:
    body = load_body()
    covered = load_atlas(body).texels(64).covered
    return Texture(
        color=torch.where(covered[..., None], torch.tensor(tone), torch.tensor(0.0)).expand(
            64, 64, 3
        ).contiguous(),
        visibility=covered.float() * 0.5,
        source=covered.to(torch.uint8) * SEEN,
        betas=torch.full((10,), betas),
        offset=torch.full((body.num_vertices,), tone / 100),
    )  # fmt: skip


def test_head_and_hands_stay_and_garments_change() -> None:
    body = load_body()
    made = redress(plain(0.2, 1.0), plain(0.8, -1.0))
    assert torch.equal(made.betas, torch.full((10,), 1.0))
    own = [body.joint(name) for name in ("neck", "head", "left_hand", "right_wrist")]
    kept = torch.isin(body.part, torch.tensor(own))
    assert torch.allclose(made.offset[kept], torch.tensor(0.002))
    assert torch.allclose(made.offset[body.part == body.joint("spine2")], torch.tensor(0.008))
    shown = rerender(made, size=(256, 128))
    image = shown.image.float() / 255
    for joint, tone in (("head", 0.2), ("spine3", 0.8), ("left_hip", 0.8), ("right_foot", 0.8)):
        pixels = image[shown.part == body.joint(joint)]
        assert len(pixels) > 10
        assert pixels.median() == pytest.approx(tone, abs=0.02)
    same = redress(plain(0.2), plain(0.2))
    assert torch.equal(same.color, complete_texture(plain(0.2)).color)


def test_textures_that_do_not_fit_are_refused() -> None:
    good = plain(0.5)
    half = replace(good, color=torch.zeros(32, 32, 3), visibility=torch.zeros(32, 32),
                   source=torch.full((32, 32), SEEN, dtype=torch.uint8))  # fmt: skip
    with pytest.raises(ValueError, match="donor must have 64 texels a side; got 32"):
        redress(good, half)
    with pytest.raises(ValueError, match="donor must have colours"):
        redress(good, replace(good, source=torch.full_like(good.source, UNKNOWN)))
    with pytest.raises(ValueError, match="wearer must have 6879 offsets; got 3"):
        redress(replace(good, offset=torch.zeros(3)), good)


def scene(seed: int = 0, **changed: Any) -> dict[str, Any]:
    body = load_body()
    fit = standing_fit(body)
    image, mask = part_image(fit)
    placed = place_person(unwrap(fit, image), body, upright_rotations(fit))
    shown = rerender(unwrap(fit, image), pose=fit, camera=fit, size=(256, 128))
    camera = draw_camera(0, 1)
    given = {
        "image": image, "mask": mask, "keypoints": shown.keypoints,
        "view": photo_view(fit, placed.vertices, (256, 128)), "camera": camera,
        "light": draw_light(camera, Rng.seeded("light", 0)), "kind": "column", "seed": seed,
    }  # fmt: skip
    return given | changed


def pasted(**given: Any) -> Occluded:
    image, mask, keypoints, view = (given.pop(k) for k in ("image", "mask", "keypoints", "view"))
    return occlude(image, mask, keypoints, view, **given)


@pytest.mark.parametrize("kind", ["column", "car", "luggage", "person"])
def test_truth_of_an_occluder(kind: str) -> None:
    given = scene()
    body = load_body()
    other = place_person(complete_texture(plain(0.9)), body, upright_rotations(standing_fit(body)))
    given["kind"] = other if kind == "person" else kind
    image, mask = given["image"], given["mask"]
    made = pasted(**given)
    assert made.kind == kind
    assert 0.15 < made.hidden < 0.85
    assert not bool((made.mask & made.front).any())
    assert torch.equal(made.mask | made.front & mask, mask)
    changed = (made.image.numpy() != image).any(-1)
    assert changed[made.front.numpy()].mean() > 0.95
    points = made.keypoints
    x, y = points.xy.round().long().unbind(1)
    inside = (x >= 0) & (x < 128) & (y >= 0) & (y < 256)
    x, y = points.xy[inside].long().unbind(1)
    under = made.front[y, x]
    assert bool(under.any())
    assert bool((points.visibility[inside][under] == 0).all())
    before = scene()["keypoints"].visibility[inside]
    assert torch.equal(points.visibility[inside][~under], before[~under])
    again = pasted(**scene(kind=given["kind"]))
    assert torch.equal(again.image, made.image)
    assert not torch.equal(pasted(**scene(1, kind=given["kind"])).image, made.image)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((256, 128), np.uint8)}, r"image must be \(H, W, 3\) uint8"),
        ({"image": np.zeros((256, 128, 3))}, "float64"),
        ({"mask": torch.zeros(256, 128, dtype=torch.bool)}, "it is empty"),
        ({"mask": torch.ones(128, 128, dtype=torch.bool)}, "mask and view must be"),
        ({"kind": "cut"}, "kind must be one of"),
        ({"kind": "dragon"}, "kind must be one of"),
        ({"hidden": (0.5, 0.2)}, "hidden must be ascending"),
        ({"hidden": (0.0, 0.5)}, r"in \(0, 1\)"),
        ({"hidden": (float("nan"), 0.5)}, "hidden must be"),
    ],
)
def test_bad_input_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pasted(**scene(**changed))


def test_keypoints_outside_the_image_keep_their_visibility() -> None:
    given = scene()
    points = given["keypoints"]
    assert isinstance(points, Keypoints)
    away = replace(points, xy=points.xy + 10_000)
    assert torch.equal(pasted(**given | {"keypoints": away}).keypoints.visibility,
                       points.visibility)  # fmt: skip
