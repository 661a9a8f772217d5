"""Clouds in another unit than metres, and clouds far from the origin, before they are embedded."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import og_reid
from meshes import PointCloud, write_pointcloud, write_reference_obj
from meshes.adapters import check_extents
from pose.files.reading import InputWarning
from random_clouds import person


@pytest.fixture(scope="module")
def cloud() -> PointCloud:
    """A person of 1.7 m, as long as its points say."""
    points, colors = person(1, 600)
    points = points[0] * (1.7 / (points[0].amax(0) - points[0].amin(0)).max())
    return PointCloud(points, colors[0] + 0.5)


def scaled(cloud: PointCloud, factor: float) -> PointCloud:
    return PointCloud(cloud.points * factor, cloud.colors)


@pytest.mark.parametrize("length", [0.31, 0.5, 1, 1.7, 2.2, 2.99])
def test_people_in_metres_pass_in_any_posture(cloud, length):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        standing = scaled(cloud, length / 1.7)
        for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
            check_extents([PointCloud(standing.points[:, order], standing.colors)], single=True)


@pytest.mark.parametrize(
    ("factor", "advice"),
    [
        (1 / 0.0254, "multiply inches by 0.0254"),
        (10, "divide decimetres by 10"),
        (100, "divide centimetres by 100"),
        (50, "divide centimetres by 100"),  # of half a body
        (1000, "divide millimetres by 1000"),
        (500, "divide millimetres by 1000"),
        (1e6, "divide micrometres by 1000000"),
        (1e-2, "multiply hectometres by 100"),
        (1e-3, "multiply kilometres by 1000"),
        (1e12, "scale it by 1e-12 for a person of 1.7"),
        (1e-12, "scale it by 1e[+]12 for a person of 1.7"),
        (0, "all points are in one place"),
    ],
)
def test_other_units_are_refused_with_the_factor_that_fits(cloud, factor, advice):
    for value in (scaled(cloud, factor), scaled(cloud, factor).to_array()):
        with pytest.raises(ValueError, match=f"pointcloud must be in metres, .*: .*{advice}"):
            og_reid.embed(value)
    with pytest.raises(ValueError, match=rf"pointcloud\[1\] must be in metres, .*{advice}"):
        og_reid.embed([cloud, scaled(cloud, factor)])


@pytest.mark.parametrize(
    ("length", "advice"),
    [(1.7 / 0.3048, "multiply feet by 0.3048"), (9, "divide decimetres by 10"), (0.2, "by 10")],
)
def test_doubtful_lengths_are_warned_of_once(cloud, length, advice):
    doubtful = scaled(cloud, length / 1.7)
    with pytest.warns(InputWarning, match=f"^pointcloud: a person in metres .*{advice}") as caught:
        og_reid.embed(doubtful)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(InputWarning, match=r"^2 of 3 clouds \(pointcloud\[0\], pointcloud\[2\]\)"):
        og_reid.embed([doubtful, cloud, doubtful])


def test_only_the_body_is_measured(cloud):
    background = torch.tensor([[50.0, 0, 0], [0, -70, 0]])
    both = PointCloud(
        torch.cat([cloud.points, background]), torch.cat([cloud.colors, torch.ones(2, 3)]),
        part=torch.cat([torch.zeros(600), torch.full((2,), -1)]),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        og_reid.embed(both)


def test_the_plane_at_the_end_of_an_authors_file_is_background(cloud, tmp_path):
    plane = torch.rand(100, 3) * 8
    plane[:, 2] = -0.5
    both = PointCloud(
        torch.cat([cloud.points, plane]), torch.cat([cloud.colors, torch.zeros(100, 3)])
    )
    write_reference_obj(tmp_path / "a.jpg.obj", both)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        og_reid.embed(tmp_path / "a.jpg.obj")


def test_stray_points_are_named_as_such(cloud):
    points = cloud.points.clone()
    points[17] = 40
    with pytest.raises(ValueError, match=r"got 4.*: all but a few stray points are within 1\.\d+:"):
        og_reid.embed(PointCloud(points, cloud.colors))


@pytest.mark.parametrize("shift", [[3.0, -1, 2], [4.5e5, 5.4e6, 300], [-1e7, 1e7, 1e7]])
def test_the_place_of_a_cloud_of_double_precision_does_not_matter(cloud, tmp_path, shift):
    expected = og_reid.embed(cloud)
    place = cloud.points.double().numpy() + shift
    table = np.hstack([place, cloud.colors.numpy()])
    lines = "".join("v " + " ".join(f"{value:.7f}" for value in row) + "\n" for row in table)
    (tmp_path / "a.obj").write_text("# CloudCompare\n" + lines)
    np.savez(tmp_path / "a.npz", points=place, colors=cloud.colors.numpy())
    for value in (table, tmp_path / "a.obj", tmp_path / "a.npz"):
        assert float(og_reid.embed(value) @ expected) > 0.9999


def test_single_precision_far_away_is_centred_as_well_as_it_can_be(cloud):
    far = (cloud.points.double() + 3e4).float()
    near = (far.double() - far.double().mean(0)).float()
    with pytest.warns(InputWarning, match="subtract the centroid"):
        found = og_reid.embed(PointCloud(far, cloud.colors))
    assert float(found @ og_reid.embed(PointCloud(near, cloud.colors))) > 0.99999


def test_files_keep_what_is_measured(cloud, tmp_path):
    for ending in ("npz", "ply", "obj"):
        write_pointcloud(tmp_path / f"a.{ending}", scaled(cloud, 100))
        with pytest.raises(ValueError, match="divide centimetres by 100"):
            og_reid.embed(tmp_path / f"a.{ending}")
