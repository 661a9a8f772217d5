"""UV atlas of the body: the file, its geometry, and the two directions of the mapping."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import atlas_flatten
import build_atlas
from meshes.body.atlas import load_atlas
from meshes.rasterizer import rasterize

FILE = Path(__file__).resolve().parents[3] / "meshes" / "data" / "og_body_atlas.npz"
SHA256 = "d7e1685e0b899dead8eacc411d1997b219505de0b82d0ed3b61a27d3658915aa"


@pytest.fixture(scope="module")
def atlas(body):
    return load_atlas(body)


def signed_areas(corners):
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


def test_the_file_is_the_known_one():
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256


def test_every_corner_has_the_place_of_its_vertex(atlas, body):
    assert torch.equal(atlas.vertex[atlas.corners], body.faces)
    assert atlas.face_uv.shape == (len(body.faces), 3, 2)
    assert float(atlas.uv.min()) > 0
    assert float(atlas.uv.max()) < 1
    assert set(atlas.chart.tolist()) == set(range(len(atlas.charts)))


def test_no_face_is_turned_over_and_none_overlaps_another(atlas):
    areas = signed_areas(atlas.face_uv.double())
    assert bool((areas < 0).all())  # v down: counter-clockwise faces have negative areas
    # Where faces overlap, fewer pixels are covered than their areas sum up to; and which one of
    # two is drawn depends on the depth.
    size = 1024
    total = float(-areas.sum())
    order = torch.arange(len(atlas.corners)).float()
    drawn = []
    for depth in (order, -order):
        corners = torch.cat([atlas.face_uv * size, depth[:, None, None].expand(-1, 3, 1)], 2)
        faces = torch.arange(3 * len(corners)).reshape(-1, 3)
        drawn.append(rasterize(corners.reshape(1, -1, 3), faces, size, size))
    first, second = drawn
    assert float((first.face >= 0).double().mean()) == pytest.approx(total, abs=5e-4)
    two = first.face != second.face
    assert bool((first.barycentric[two].amin(-1) < 1e-3).all())  # a centre on a common edge
    assert bool((second.barycentric[two].amin(-1) < 1e-3).all())


def test_charts_keep_a_gutter(atlas):
    size = 256
    face = atlas.texels(size).face
    chart = torch.where(face >= 0, atlas.chart[face.clamp_min(0)], -1).float()[None, None]
    # Highest and lowest chart within one texel around: a gutter of two texels keeps them apart.
    high = torch.nn.functional.max_pool2d(chart, 3, 1, 1)
    low = -torch.nn.functional.max_pool2d(-torch.where(chart < 0, 99.0, chart), 3, 1, 1)
    there = (high >= 0) & (low < 99)
    single = torch.bincount(face[face >= 0], minlength=len(atlas.chart))
    assert bool((high == low)[there].all())
    assert int(single.max()) < 100


def test_distortion_is_low(atlas, body):
    corners = body.v_template[body.faces]
    surface = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ratio = -signed_areas(atlas.face_uv) / (0.5 * surface.norm(dim=1))
    low, middle, high = ratio.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    assert low > 0.8 * middle
    assert high < 1.35 * middle


def test_a_turned_texture_is_the_mirrored_body(atlas, body):
    texels = atlas.texels(256)
    rest = texels.interpolate(body.v_template, body.faces)
    mirrored = rest.flip(1) * torch.tensor([-1.0, 1, 1])
    both = texels.covered & texels.covered.flip(1)
    assert float(both.sum() / texels.covered.sum()) > 0.95
    distance = (rest - mirrored).norm(dim=-1)[both]
    assert float(distance.median()) < 0.004
    assert float(distance.quantile(0.95)) < 0.01


def test_texel_to_surface_and_back_is_the_same_place(atlas):
    size = 64
    texels = atlas.texels(size)
    uv = atlas.uv_at(texels.face, texels.barycentric)
    step = (torch.arange(size) + 0.5) / size
    centre = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1)
    assert torch.allclose(uv[texels.covered], centre[texels.covered], atol=1e-5)
    assert bool(uv[~texels.covered].isnan().all())


def test_pixels_map_to_the_texture_and_back_to_their_points(atlas, body):
    projected = body.v_template[None] * torch.tensor([100.0, -100.0, -1.0])
    projected = projected + torch.tensor([100.0, 100.0, 0.0])
    raster = rasterize(projected, body.faces, 200, 200)
    seen = raster.face[0] >= 0
    uv = atlas.uv_at(raster.face[0], raster.barycentric[0])
    points = raster.interpolate(body.v_template, body.faces)[0][seen]
    size = 1024
    texels = atlas.texels(size)
    column, row = (uv[seen] * size).floor().long().clamp(0, size - 1).unbind(-1)
    there = texels.covered[row, column]
    found = texels.interpolate(body.v_template, body.faces)[row, column]
    assert float(there.double().mean()) > 0.97
    distance = (found - points)[there].norm(dim=1)
    assert float(distance.max()) < 0.006


def test_other_bodies_and_wrong_arguments_are_refused(atlas, body):
    with pytest.raises(ValueError, match="must be the embedded one"):
        load_atlas(replace(body, faces=body.faces[1:]))
    with pytest.raises(ValueError, match="size must be at least 1"):
        atlas.texels(0)
    with pytest.raises(ValueError, match="barycentric must be"):
        atlas.uv_at(torch.zeros(2, dtype=torch.long), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="indices below"):
        atlas.uv_at(torch.tensor([13717]), torch.zeros(1, 3))


def test_faces_are_assigned_to_the_charts_of_the_file(body):
    with np.load(FILE, allow_pickle=False) as stored:
        assert np.array_equal(stored["chart"], build_atlas.assign_charts(body))


def grid(rows, columns):
    """Faces of a grid of vertices, counter-clockwise for x right and y up."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def test_half_a_cylinder_is_flattened_without_distortion():
    angle, height = np.linspace(-np.pi / 2, np.pi / 2, 13), np.linspace(0, 1, 9)
    places = np.stack(np.meshgrid(angle, height, indexing="xy"), -1).reshape(-1, 2)
    points = np.stack([np.sin(places[:, 0]), places[:, 1], np.cos(places[:, 0])], 1)
    flat, left_out = atlas_flatten.flatten(points, grid(9, 13))
    assert not left_out.any()
    # The chords of the polygon, laid side by side.
    across = 2 * 12 * np.sin(np.pi / 24)
    corners = [0, 12, 12 + 8 * 13, 8 * 13]
    sides = np.linalg.norm(flat[corners] - np.roll(flat[corners], -1, axis=0), axis=1)
    np.testing.assert_allclose(sides, [across, 1, across, 1], rtol=0.01)


def test_a_face_on_an_edge_of_three_is_left_out():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [2, 0, 4]])
    flat, left_out = atlas_flatten.flatten(points, faces, points[:, :2])
    assert left_out.tolist() == [False, False, True]
    np.testing.assert_allclose(flat[:4], points[:4, :2], atol=1e-3)
