"""Figures under unusual global states of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from caller_states import STATES
from meshes.pointcloud import PointCloud
from og_reid.viz.lift import lift_figure
from og_reid.viz.splatting import fit_frame, render_cloud, splat_radius
from pose import COCO_17, Keypoints


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", [torch.tensor, np.asarray])
def test_renderings_do_not_depend_on_the_callers_torch_state(
    state: str, kind: Callable[[np.ndarray], Any]
) -> None:
    draw = np.random.default_rng(0)
    arrays = draw.standard_normal((80, 3)), draw.random((80, 3)), draw.standard_normal((80, 3))
    arrays[2][:] /= np.linalg.norm(arrays[2], axis=1, keepdims=True)
    points, colors, normals = (kind(each.astype(np.float32)) for each in arrays)

    def image() -> np.ndarray:
        frame = fit_frame(points, 40, 30)
        radius = splat_radius(points)
        return render_cloud(
            points, colors, yaw=30, height=40, width=30, frame=frame, radius=radius,
            normals=normals,
        )  # fmt: skip

    def others() -> list[np.ndarray]:
        few = points[:1], colors[:1]
        return [render_cloud(*few, height=9, width=9), render_cloud(points, colors, radius=0.01)]

    expected = [image(), *others()]
    with STATES[state]():
        found = [image(), *others()]
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("state", ["float64", "inference"])
def test_figures_of_lifts_are_drawn(state: str, rng: torch.Generator) -> None:
    cloud = PointCloud(torch.randn(50, 3, generator=rng), torch.rand(50, 3, generator=rng))
    photo, keypoints = np.full((20, 10, 3), 90, np.uint8), Keypoints.none(COCO_17)
    with STATES[state]():
        figure = lift_figure(photo, keypoints, None, cloud)
    assert len(figure.axes) == 5
