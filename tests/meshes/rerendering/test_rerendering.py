"""Re-rendering: round trip, truth, other poses, lights and backdrops."""

import math

import numpy as np
import pytest
import torch

from meshes import Texture, rerender, unwrap
from meshes.rerendering.person import place_person
from meshes.texture.values import MIRRORED, NEARBY, SEEN, UNKNOWN
from meshes.world import draw_camera
from meshes.world.imaging.camera import draw_light
from meshes.world.rng import Rng
from meshes.world.scenery.backdrop import draw_backdrop
from textured import PALETTE, part_image, standing_fit


@pytest.fixture(scope="module")
def front(body):
    fit = standing_fit(body)
    image, mask = part_image(fit)
    texture = unwrap(fit, image, mask=mask, relight=False, swell=False)
    return fit, image, mask, texture


def test_round_trip_in_the_view_of_the_image(body, front):
    fit, image, mask, texture = front
    back = rerender(texture, pose=fit, camera=fit, backdrop=image)
    both = back.mask & mask
    assert float(both.sum() / (back.mask | mask).sum()) > 0.97
    error = (back.image.numpy().astype(float) - image)[both.numpy()]
    assert 10 * math.log10(255**2 / (error**2).mean()) > 24
    assert float(np.median(np.abs(error))) < 3
    outside = (~torch.nn.functional.max_pool2d(back.mask[None].float(), 3, 1, 1)[0].bool()).numpy()
    assert np.abs(back.image.numpy().astype(int) - image)[outside].max() <= 1
    truth = (PALETTE * 255)[back.part[both]]
    drawn = torch.from_numpy(image)[both].float()
    assert float(((truth - drawn).abs().amax(1) < 2).double().mean()) > 0.95


def test_colours_that_no_image_shows_are_flagged(front):
    fit, _, _, texture = front
    seen = rerender(texture, pose=fit, camera=fit)
    assert float((seen.source[seen.mask] == SEEN).double().mean()) > 0.75
    assert bool((seen.source[~seen.mask] == UNKNOWN).all())
    behind = rerender(texture, pose=fit, camera=fit, heading=math.pi)
    assert float((behind.source[behind.mask] == SEEN).double().mean()) < 0.2
    filled = (behind.source == MIRRORED) | (behind.source == NEARBY)
    assert bool((filled | (behind.source == SEEN))[behind.mask].all())


def test_truth_belongs_to_the_image(body, front):
    texture = front[3]
    made = rerender(texture, camera=draw_camera(3, 2), heading=0.7, size=(128, 64))
    assert made.image.shape == (128, 64, 3)
    assert made.mask.shape == made.part.shape == made.source.shape == (128, 64)
    assert torch.equal(made.part >= 0, made.mask)
    x, y = made.keypoints.xy.unbind(1)
    assert bool(((x > 0) & (x < 64) & (y > 0) & (y < 128)).all())
    names = list(made.keypoints.names)
    for name in ("left_knee", "right_hip", "left_shoulder"):
        column, row = made.keypoints.xy[names.index(name)].long().tolist()
        assert bool(made.mask[row, column])
    # Turned to the image's right, the body's right side is nearer: the nose points right.
    assert float(x[names.index("nose")]) > float(x[names.index("left_ear")])
    tall = made.mask.any(1).nonzero()[:, 0]
    assert 0.8 < float(tall.max() - tall.min()) / 128 < 0.97


def test_a_light_shades_the_person_and_casts_a_shadow(front):
    fit, _, _, texture = front
    camera = draw_camera(1, 4)
    light = draw_light(camera, Rng.seeded("light", 0))
    grey = np.full((64, 32, 3), 128, np.uint8)
    flat = rerender(texture, pose=fit, camera=camera, backdrop=grey)
    around = torch.nn.functional.max_pool2d(flat.mask[None].float(), 3, 1, 1)[0].bool()
    assert bool(((flat.image == 128).all(-1) | around).all())
    lit = rerender(texture, pose=fit, camera=camera, light=light, backdrop=grey)
    assert torch.equal(lit.mask, flat.mask)
    assert not torch.equal(lit.image, flat.image)
    again = rerender(texture, pose=fit, camera=camera, light=light, backdrop=grey)
    assert torch.equal(lit.image, again.image)
    other = rerender(texture, pose=fit, camera=camera, light=light, backdrop=grey, seed=1)
    assert not torch.equal(lit.image, other.image)
    # A view has no response of its own: away from shadows the image behind keeps its colours.
    plain = rerender(texture, pose=fit, camera=lit.view, light=light, backdrop=grey)
    behind = plain.image[~plain.mask].float().mean(1)
    assert float(behind.median()) == pytest.approx(128, abs=1)
    assert float(behind.min()) < 110


def test_places_of_the_world_lie_behind_the_person(front):
    texture = front[3]
    camera = draw_camera(1, 4)
    place = draw_backdrop(Rng.seeded("place", 0))
    light = draw_light(camera, Rng.seeded("light", 0))
    for given in (None, light):
        made = rerender(texture, camera=camera, light=given, backdrop=place)
        assert float(made.image[~made.mask].float().std()) > 3


def test_a_texture_without_colours_is_a_grey_person(body):
    empty = Texture(
        torch.zeros(16, 16, 3), torch.zeros(16, 16), torch.zeros(16, 16, dtype=torch.uint8),
        torch.zeros(10), torch.zeros(body.num_vertices),
    )  # fmt: skip
    made = rerender(empty, size=(64, 32))
    assert bool((made.source == UNKNOWN).all())
    assert int(made.mask.sum()) > 100
    colors = made.image[made.mask].float()
    assert float((colors - 127.5).abs().max()) <= 1


def test_offsets_widen_the_person(body, front):
    fit = front[0]
    empty = Texture(
        torch.zeros(16, 16, 3), torch.zeros(16, 16), torch.zeros(16, 16, dtype=torch.uint8),
        torch.zeros(10), torch.full((body.num_vertices,), 0.04),
    )  # fmt: skip
    wide = rerender(empty, pose=fit, camera=fit)
    thin = rerender(front[3], pose=fit, camera=fit)
    assert int(wide.mask.sum()) > 1.3 * int(thin.mask.sum())
    assert bool(wide.mask[thin.mask].double().mean() > 0.99)


def test_no_face_is_painted_from_afar(body, front):
    placed = place_person(front[3], body, torch.eye(3).expand(24, 3, 3))
    faces, uv = placed.part.faces, placed.part.coords[:, :2]
    assert float((uv[faces].amax(1) - uv[faces].amin(1)).max()) < 0.05
    assert len(faces) >= len(body.faces)
    assert torch.equal(placed.part.vertices, placed.vertices[placed.vertex])
    # All faces of the body are drawn, and its holes besides.
    drawn = {tuple(sorted(face)) for face in placed.vertex[faces].tolist()}
    assert {tuple(sorted(face)) for face in body.faces.tolist()} <= drawn


def test_wrong_arguments_are_named(body, front):
    texture = front[3]
    with pytest.raises(ValueError, match=r"pose must be \(24, 3, 3\)"):
        rerender(texture, pose=torch.eye(3)[None])
    with pytest.raises(ValueError, match="backdrop must be"):
        rerender(texture, backdrop=np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="size must be"):
        rerender(texture, size=(0, 4))
    with pytest.raises(ValueError, match="offsets"):
        rerender(Texture(texture.color, texture.visibility, texture.source, texture.betas,
                         texture.offset[:5]))  # fmt: skip
