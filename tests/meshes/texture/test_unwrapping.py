"""Unwrapping of images of bodies whose colours are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from meshes import BodyFit, Lift, PointCloud, unwrap, unwrap_images
from meshes.body.atlas import load_atlas
from meshes.color import project_body
from meshes.rasterizer import rasterize
from meshes.texture.offsets import offset_vertices, outline_offsets
from meshes.texture.shading import even_light
from meshes.texture.values import SEEN, UNKNOWN
from textured import PALETTE, part_image, standing_fit


@pytest.fixture(scope="module")
def front(body):
    fit = standing_fit(body)
    return fit, *part_image(fit)


def part_of_texels(body, size):
    texels = load_atlas(body).texels(size)
    largest = body.faces[texels.face.clamp_min(0)].gather(
        2, texels.barycentric.argmax(2, keepdim=True)
    )[..., 0]
    return body.part[largest]


def test_parts_of_one_colour_have_it_in_the_texture(body, front):
    fit, image, mask = front
    texture = unwrap(fit, image, mask=mask, relight=False, swell=False, size=128)
    seen = texture.source == SEEN
    assert 0.25 < float(seen.sum() / load_atlas(body).texels(128).covered.sum()) < 0.55
    error = (texture.color - PALETTE[part_of_texels(body, 128)]).abs().amax(-1)[seen]
    assert float(error.median()) < 0.004  # rounding of the image
    # Near the border of two parts a pixel shows both.
    assert float((error < 0.02).double().mean()) > 0.85
    sure = error[texture.visibility[seen] > 0.6]
    assert float((sure < 0.02).double().mean()) > 0.85


def test_only_the_side_of_the_camera_is_seen(body):
    atlas = load_atlas(body)
    chart = atlas.chart[atlas.texels(64).face.clamp_min(0)]
    for yaw, near, far in ((0.0, "front", "back"), (np.pi, "back", "front")):
        turned = standing_fit(body, yaw=yaw)
        texture = unwrap(turned, part_image(turned)[0], size=64)
        for part in ("torso", "head"):
            seen = texture.visibility > 0
            covered = atlas.texels(64).covered
            on_near = covered & (chart == atlas.charts.index(f"{part}_{near}"))
            on_far = covered & (chart == atlas.charts.index(f"{part}_{far}"))
            assert float(seen[on_near].float().mean()) > 0.6
            assert float(seen[on_far].float().mean()) < 0.15


def test_visibility_is_the_angle_where_pixels_are_dense(body):
    fit = standing_fit(body, height=512)
    image, mask = part_image(fit, 512)
    texture = unwrap(fit, image, mask=mask, swell=False, size=64)
    normals = (
        load_atlas(body).texels(64).interpolate(project_body(fit, 512, 256).normals, body.faces)
    )
    angle = torch.nn.functional.normalize(normals, dim=-1)[..., 2]
    seen = texture.source == SEEN
    assert torch.allclose(texture.visibility[seen], angle[seen], atol=1e-5)
    coarse = standing_fit(body, height=64)
    small = unwrap(coarse, part_image(coarse, 64)[0], size=256)
    assert float(small.visibility.max()) < 0.6  # less than a pixel a texel


@pytest.mark.parametrize("mask", [torch.zeros(256, 128), torch.zeros(256, 128, dtype=torch.bool)])
def test_without_pixels_of_the_person_nothing_is_visible(front, mask):
    fit, image, _ = front
    texture = unwrap(fit, image, mask=mask, size=32)
    assert float(texture.visibility.max()) == 0
    assert bool((texture.source == UNKNOWN).all())
    assert float(texture.color.max()) == 0
    assert float(texture.offset.abs().max()) == 0


def test_a_body_outside_the_image_is_not_seen(front):
    fit, image, _ = front
    away = replace(fit, camera=replace(fit.camera, shift=fit.camera.shift + 10_000))
    assert float(unwrap(away, image, size=32).visibility.max()) == 0


def test_an_occluder_hides_what_lies_below_it(body, front):
    fit, image, mask = front
    cut = mask.clone()
    cut[128:] = False
    texture = unwrap(fit, image, mask=cut, size=64, swell=False)
    atlas = load_atlas(body)
    texels = atlas.texels(64)
    chart = atlas.chart[texels.face.clamp_min(0)]
    feet = [n for n, name in enumerate(atlas.charts) if "foot" in name or "leg" in name]
    low = texels.covered & torch.isin(chart, torch.tensor(feet))
    row = texels.interpolate(project_body(fit, 256, 128).projected[0], body.faces)[..., 1]
    assert float(texture.visibility[low & (row > 130)].max()) == 0
    assert float(texture.visibility.max()) > 0.5


def test_a_batch_has_the_textures_of_its_rows_and_calls_repeat(body, front):
    fits = [standing_fit(body), standing_fit(body, yaw=1.0)]
    both = BodyFit(
        body, torch.cat([f.rotations for f in fits]), torch.zeros(2, 10),
        type(fits[0].camera)(*(torch.cat([getattr(f.camera, n) for f in fits])
                               for n in ("scale", "shift", "log_aspect", "kappa"))),
        torch.zeros(2), torch.zeros(2),
    )  # fmt: skip
    drawn = [part_image(fit) for fit in fits]
    images, masks = [image for image, _ in drawn], [mask for _, mask in drawn]
    textures = unwrap_images([both[0], both[1]], images, masks, size=64)
    for texture, fit, image, mask in zip(textures, fits, images, masks, strict=True):
        alone = unwrap(fit, image, mask=mask, size=64)
        assert torch.allclose(alone.color, texture.color, atol=1e-5)
        assert torch.equal(alone.source, texture.source)
    again = unwrap_images([both[0], both[1]], images, masks, size=64)
    assert torch.equal(again[1].color, textures[1].color)
    assert torch.equal(again[1].offset, textures[1].offset)
    assert unwrap_images([], []) == []


def test_a_lift_without_its_image_gives_the_colours_of_its_vertices(body, front):
    fit, _, _ = front
    view = project_body(fit, 256, 128)
    colors = PALETTE[body.part]
    cloud = PointCloud(
        fit.vertices[0], torch.where(view.faces_camera[:, None], colors, 0.5),
        visible=view.faces_camera, part=body.part,
    )  # fmt: skip
    texture = unwrap(Lift(cloud, fit, view), size=64, relight=False)
    seen = texture.source == SEEN
    error = (texture.color - PALETTE[part_of_texels(body, 64)]).abs().amax(-1)[seen]
    assert int(seen.sum()) > 300
    assert float((error < 0.02).double().mean()) > 0.7
    hidden = replace(cloud, visible=torch.zeros_like(view.faces_camera))
    assert float(unwrap(Lift(hidden, fit, view), size=64).visibility.max()) == 0
    # With the image, what the lift takes for occluded stays unseen.
    image = front[1]
    assert float(unwrap(Lift(hidden, fit, view), image, size=64).visibility.max()) == 0
    assert float(unwrap(Lift(cloud, fit, view), image, size=64).visibility.max()) > 0.5
    part = Lift(cloud.select(view.faces_camera), fit, view)
    for given in (None, image):
        with pytest.raises(ValueError, match="source must hold all 6879 vertices"):
            unwrap(part, given)


def test_the_body_swells_to_the_outline_of_the_mask(body):
    fit = standing_fit(body, height=512)
    rest = offset_vertices(body, fit.betas, torch.full((body.num_vertices,), 0.03))
    posed = body.skin(rest, fit.rotations, fit.betas).vertices
    projected = project_body(fit, 512, 256, vertices=posed).projected
    mask = rasterize(projected, body.faces, 512, 256).face[0] >= 0
    view = project_body(fit, 512, 256)
    offset = outline_offsets(fit, mask.float(), view)
    for name in ("spine2", "left_hip", "right_knee"):
        assert 0.02 < float(offset[body.part == body.joint(name)].median()) < 0.042
    bare = rasterize(view.projected, body.faces, 512, 256).face[0] >= 0
    same = outline_offsets(fit, bare.float(), view)
    assert float(same.abs().median()) < 0.008


def test_a_linear_light_is_divided_out():
    generator = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(4000, 3, generator=generator), dim=1)
    group = torch.randint(0, 5, (4000,), generator=generator)
    albedo = (torch.rand(5, 3, generator=generator) * 0.4 + 0.2)[group]
    lit = albedo * (normals @ torch.tensor([0.2, 0.25, 0.1])).exp()[:, None]
    flat = even_light(lit, normals, group, torch.ones(4000))
    ratio = flat / albedo
    assert float(ratio.std()) < 0.02
    assert float((lit / albedo).std()) > 0.15
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)
    nothing = even_light(lit, normals, group, torch.zeros(4000))
    assert torch.equal(nothing, lit)
    assert even_light(lit[:0], normals[:0], group[:0], torch.zeros(0)).shape == (0, 3)


def test_wrong_arguments_are_named(body, front):
    fit, image, mask = front
    two = BodyFit(
        body, fit.rotations.expand(2, -1, -1, -1), fit.betas.expand(2, -1),
        fit.camera[torch.tensor([0, 0])], torch.zeros(2), torch.zeros(2),
    )  # fmt: skip
    with pytest.raises(ValueError, match="source must hold one body; got 2"):
        unwrap(two, image)
    with pytest.raises(ValueError, match="image must be given"):
        unwrap(fit)
    with pytest.raises(ValueError, match="uint8 RGB"):
        unwrap(fit, image.astype(np.float32))
    with pytest.raises(ValueError, match=r"mask must have the image's size \(256, 128\)"):
        unwrap(fit, image, mask=mask[:5])
    with pytest.raises(ValueError, match="images and masks must be one for each of 1"):
        unwrap_images([fit], [])
