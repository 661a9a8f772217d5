"""Visibility and normals of vertices: against ray casting, and by hand."""

import numpy as np
import pytest
import torch

from meshes.rasterizer import rasterize, vertex_normals, visible_in


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
