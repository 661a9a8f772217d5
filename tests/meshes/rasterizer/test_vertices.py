"""Visibility and normals of vertices: against ray casting, and by hand."""

import numpy as np
import pytest
import torch

from meshes.rasterizer import (
    Raster,
    rasterize,
    vertex_normals,
    visible_in,
    visible_in_torch,
)
from triangle_scenes import KINDS, triangle_scene


def test_visible_vertices_agree_with_rays(body):
    open3d = pytest.importorskip("open3d")
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(body.v_template.numpy(), body.faces.numpy().astype(np.uint32))
    start = body.v_template.numpy() + np.array([0, 0, 0.004])
    rays = np.concatenate([start, np.tile([0.0, 0.0, 1.0], (len(start), 1))], 1)
    free = ~scene.test_occlusions(rays.astype(np.float32)).numpy()
    front = vertex_normals(body.v_template[None], body.faces)[0, :, 2].numpy() > 0
    truth = free & front
    place = body.v_template * 450
    projected = torch.stack([place[:, 0] + 448, 540 - place[:, 1], -body.v_template[:, 2]], 1)
    raster = rasterize(projected[None], body.faces, 1080, 896)
    seen = visible_in(raster, projected[None], body.faces)[0].numpy() & front
    assert (seen & truth).sum() / seen.sum() > 0.998
    assert (seen & truth).sum() / truth.sum() > 0.95


def test_normals_of_a_tetrahedron_point_outwards():
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    normals = vertex_normals(vertices, faces)
    outward = vertices - vertices.mean(1, keepdim=True)
    assert ((normals * outward).sum(-1) > 0).all()
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(1, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_native_visibility_equals_its_twin(kind: str) -> None:
    seen = 0
    for seed in range(40):
        points, faces, height, width = triangle_scene(seed, kind)
        raster = rasterize(points, faces, height, width)
        for tolerance in (0.0, 0.01, 5.0):
            found = visible_in(raster, points, faces, tolerance=tolerance)
            want = visible_in_torch(raster, points, faces, tolerance=tolerance)
            assert torch.equal(found, want), (seed, tolerance)
            seen += int(found.sum())
    assert seen > 0 or kind in ("large", "huge", "overflow")  # all outside of the image


def test_a_vertex_behind_a_wall_is_hidden():
    wall = torch.tensor([[0.0, 0.0, 1.0], [8.0, 0.0, 1.0], [0.0, 8.0, 1.0], [8.0, 8.0, 1.0]])
    others = torch.tensor(
        [
            [2.0, 2.0, 0.5],
            [2.0, 2.0, 1.005],
            [2.0, 2.0, 1.02],
            [9.0, 2.0, 0.0],
            [7.9, 7.9, torch.nan],
        ]
    )
    points, faces = torch.cat([wall, others])[None], torch.tensor([[0, 1, 2], [1, 3, 2]])
    raster = rasterize(points, faces, 8, 8)
    assert visible_in(raster, points, faces)[0, 4:].tolist() == [True, True, False, False, False]


def test_a_raster_of_other_faces_is_refused():
    points, faces, height, width = triangle_scene(6, "plain")
    raster = rasterize(points, faces, height, width)
    for check in (visible_in, visible_in_torch):
        with pytest.raises(ValueError, match="raster must be of these 1 faces; its largest index"):
            check(raster, points, faces[:1])
        with pytest.raises(ValueError, match="indices of the 3 vertices"):
            check(raster, points[:, :3], faces)
    with pytest.raises(ValueError, match=r"projected must be \(1, V, 3\)"):
        visible_in(Raster(raster.face[:1], raster.depth, raster.barycentric), points[:0], faces)
