import numpy as np
import pytest
import torch

from meshes.rasterizer import rasterize, vertex_normals, visible_in


def _square(z: float, size: float = 8.0) -> tuple[torch.Tensor, torch.Tensor]:
    corners = torch.tensor([[0.0, 0.0, z], [size, 0.0, z], [size, size, z], [0.0, size, z]])
    return corners, torch.tensor([[0, 2, 1], [0, 3, 2]])


def test_square_covers_exactly_its_pixels():
    corners, faces = _square(1.0, size=4.0)
    raster = rasterize(corners[None], faces, 8, 8)
    covered = raster.face[0] >= 0
    assert covered[:4, :4].all()
    assert covered.sum() == 16
    torch.testing.assert_close(raster.depth[0, :4, :4], torch.ones(4, 4))
    assert torch.isinf(raster.depth[0][~covered]).all()


def test_nearer_surface_wins_whatever_the_order_of_faces():
    near, faces = _square(1.0, size=4.0)
    far, _ = _square(2.0)
    vertices = torch.cat([near, far])[None]
    for order in (torch.cat([faces, faces + 4]), torch.cat([faces + 4, faces])):
        raster = rasterize(vertices, order, 8, 8)
        assert (raster.depth[0, :4, :4] == 1).all()
        assert (raster.depth[0, 4:] == 2).all()


def test_slanted_depth_and_weights_interpolate_exactly():
    corners = torch.tensor([[[0.0, 0.0, 1.0], [16.0, 0.0, 5.0], [0.0, 16.0, 1.0]]])
    faces = torch.tensor([[0, 1, 2]])
    raster = rasterize(corners, faces, 16, 16)
    x = torch.arange(16) + 0.5
    row = raster.depth[0, 0]
    inside = raster.face[0, 0] == 0
    torch.testing.assert_close(row[inside], (1 + 4 * x / 16)[inside])
    values = raster.interpolate(corners[0], faces)
    torch.testing.assert_close(values[0, 0, inside, 0], x[inside])


def test_perspective_weights_follow_the_ray():
    # A plane z = 2 + x seen by a pinhole at the origin: the hit of each pixel is known.
    points = torch.tensor([[-1.0, -1.0, 1.0], [1.0, -1.0, 3.0], [1.0, 1.0, 3.0], [-1.0, 1.0, 1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    focal, center = 16.0, 16.0
    pixels = points[:, :2] / points[:, 2:] * focal + center
    projected = torch.cat([pixels, points[:, 2:]], 1)[None]
    raster = rasterize(projected, faces, 32, 32, perspective=True)
    hit = raster.interpolate(points, faces)[0]
    row, column = (raster.face[0] >= 0).nonzero(as_tuple=True)
    assert len(row) > 100
    ray = torch.stack([(column + 0.5 - center) / focal, (row + 0.5 - center) / focal], 1)
    depth = 2 / (1 - ray[:, 0])
    torch.testing.assert_close(hit[row, column, 2], depth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(raster.depth[0, row, column], depth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(hit[row, column, :2], ray * depth[:, None], atol=1e-4, rtol=1e-4)


def test_equals_a_naive_loop_on_random_triangles(rng):
    vertices = torch.rand(1, 30, 3, generator=rng) * torch.tensor([20.0, 20.0, 5.0]) - 2
    faces = torch.randint(30, (25, 3), generator=rng)
    raster = rasterize(vertices, faces, 16, 16)
    points = vertices[0].double().numpy()
    for row in range(16):
        for column in range(16):
            best, winner = np.inf, -1
            for index, face in enumerate(faces.tolist()):
                a, b, c = points[face]
                edges = np.array([b[:2] - a[:2], c[:2] - a[:2]]).T
                if abs(np.linalg.det(edges)) < 1e-12:
                    continue
                u, v = np.linalg.solve(edges, [column + 0.5 - a[0], row + 0.5 - a[1]])
                if min(u, v, 1 - u - v) >= 0:
                    depth = np.float32(a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2]))
                    if depth < best:
                        best, winner = depth, index
            assert raster.face[0, row, column] == winner


def test_batch_rows_do_not_depend_on_each_other(rng):
    vertices = torch.rand(3, 12, 3, generator=rng) * 10
    faces = torch.randint(12, (8, 3), generator=rng)
    together = rasterize(vertices, faces, 10, 10)
    for row in range(3):
        alone = rasterize(vertices[row : row + 1], faces, 10, 10)
        assert torch.equal(alone.face[0], together.face[row])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_faces_with_bad_vertices_are_dropped(bad):
    corners, faces = _square(1.0)
    corners[2, 0] = bad
    assert (rasterize(corners[None], faces, 8, 8).face == -1).all()


def test_an_empty_mesh_gives_an_empty_raster():
    empty = rasterize(torch.zeros(1, 3, 3), torch.zeros(0, 3, dtype=torch.int64), 4, 5)
    assert empty.face.shape == (1, 4, 5)
    assert (empty.face == -1).all()
    behind = torch.tensor([[[0.0, 0.0, -1.0], [9.0, 0.0, -1.0], [0.0, 9.0, -1.0]]])
    assert (rasterize(behind, torch.tensor([[0, 1, 2]]), 4, 4, perspective=True).face == -1).all()


@pytest.mark.parametrize(
    ("projected", "faces", "size", "message"),
    [
        (torch.zeros(3, 3), torch.zeros(1, 3).long(), (4, 4), "projected must be"),
        (torch.zeros(1, 3, 3), torch.zeros(3).long(), (4, 4), "faces must be"),
        (torch.zeros(1, 3, 3), torch.zeros(1, 3).long(), (0, 4), "height and width"),
    ],
)
def test_wrong_shapes_are_refused(projected, faces, size, message):
    with pytest.raises(ValueError, match=message):
        rasterize(projected, faces, *size)


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
