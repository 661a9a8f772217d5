"""Nearest surfaces: scenes with a known answer, and a naive loop."""

import math

import numpy as np
import pytest
import torch

from meshes.rasterizer import coverage, rasterize, rasterize_layers
from meshes.world.surfaces.primitives import ellipsoid


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


def test_the_indices_of_faces_are_checked():
    for wrong in (-1, 3):
        faces = torch.tensor([[0, 1, 2], [0, wrong, 2]])
        for draw in (rasterize, coverage):
            with pytest.raises(ValueError, match="indices of the 3 vertices of projected; got"):
                draw(torch.rand(2, 3, 3), faces, 4, 4)


def test_one_sided_must_fit_the_faces():
    vertices, faces = torch.zeros(1, 3, 3), torch.zeros(2, 3).long()
    for wrong in (torch.zeros(1).bool(), torch.zeros(2)):
        with pytest.raises(ValueError, match=r"one_sided must be \(2,\) bool"):
            rasterize(vertices, faces, 4, 4, one_sided=wrong)
    elsewhere = torch.zeros(2, dtype=torch.bool, device="meta")
    with pytest.raises(ValueError, match="one_sided must be on the device of projected, cpu"):
        rasterize(vertices, faces, 4, 4, one_sided=elsewhere)
    with pytest.raises(ValueError, match="counts must not be negative, with the sum 2"):
        rasterize_layers(vertices, faces, (1, 2), 4, 4)


def test_a_sphere_has_its_area_and_depth():
    mesh = ellipsoid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), segments=192)
    radius, center = 40.0, 50.0
    x, y, z = mesh.vertices.unbind(1)
    projected = torch.stack([x * radius + center, center - y * radius, 3 - z], 1)[None]
    both = rasterize(projected, mesh.faces, 100, 100)
    covered = both.face[0] >= 0
    assert float(covered.sum()) == pytest.approx(math.pi * radius**2, rel=0.005)
    row, column = covered.nonzero(as_tuple=True)
    off = ((row + 0.5 - center) ** 2 + (column + 0.5 - center) ** 2) / radius**2
    inner = off < 0.9
    near = 3 - (1 - off[inner]).sqrt()
    torch.testing.assert_close(both.depth[0][covered][inner], near, atol=2e-3, rtol=0)
    # The far half is hidden: without it the picture is the same.
    sides = torch.ones(len(mesh.faces), dtype=torch.bool)
    front = rasterize(projected, mesh.faces, 100, 100, one_sided=sides)
    assert torch.equal(front.face, both.face)
    back = rasterize(projected, mesh.faces.flip(1), 100, 100, one_sided=sides)
    far = 3 + (1 - off[inner]).sqrt()
    torch.testing.assert_close(back.depth[0][covered][inner], far, atol=2e-3, rtol=0)


def test_layers_do_not_hide_each_other():
    near, faces = _square(1.0, size=4.0)
    far, _ = _square(2.0)
    vertices, both = torch.cat([near, far])[None], torch.cat([faces, faces + 4])
    front, nothing, behind = rasterize_layers(vertices, both, (2, 0, 2), 8, 8)
    assert ((front.face >= 0).sum(), (behind.face >= 2).sum()) == (16, 64)
    assert (nothing.face == -1).all()
    assert (behind.depth == 2).all()
    torch.testing.assert_close(
        behind.interpolate(vertices[0], both)[..., 2], torch.full((1, 8, 8), 2.0)
    )
    assert rasterize_layers(vertices, both[:0], (), 8, 8) == []


def test_gradients_reach_the_vertices():
    corners, faces = _square(1.0)
    points = corners[None].double().requires_grad_()

    def depths(points: torch.Tensor) -> torch.Tensor:
        return rasterize(points, faces, 3, 3, perspective=True).depth

    shaken = (points + 0.01 * torch.arange(12.0).view(1, 4, 3)).detach().requires_grad_()
    assert torch.autograd.gradcheck(depths, shaken)
    single = shaken.detach().float().requires_grad_()
    rasterize(single, faces, 3, 3, perspective=True).depth.sum().backward()
    assert single.grad is not None
    assert single.grad.abs().sum() > 0
