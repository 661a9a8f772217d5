"""Clouds in containers that are no plain arrays, and the place of warnings about clouds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import og_reid
from meshes import PointCloud
from meshes.adapters import as_pointclouds
from pose.files.reading import InputWarning

COUNT = 60
draw = np.random.default_rng(0)
TABLE = np.hstack([draw.uniform(-0.8, 0.8, (COUNT, 3)), draw.uniform(size=(COUNT, 3))])
TABLE = TABLE.astype(np.float32)


def test_a_memoryview_of_a_table_is_a_cloud() -> None:
    clouds, single = as_pointclouds(memoryview(TABLE))
    assert single
    assert np.array_equal(clouds[0].to_array(), TABLE)


def test_a_memoryview_of_another_shape_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, 6\)"):
        as_pointclouds(memoryview(b"abc"))


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_a_batch_of_clouds(layout: torch.layout) -> None:
    tables = [torch.from_numpy(TABLE), torch.from_numpy(TABLE[:40])]
    clouds, single = as_pointclouds(torch.nested.nested_tensor(tables, layout=layout))
    assert not single
    assert [len(cloud) for cloud in clouds] == [COUNT, 40]
    assert torch.equal(clouds[0].points, tables[0][:, :3])
    assert torch.equal(clouds[1].colors, tables[1][:, 3:])


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_nested_points_of_one_cloud_are_refused_in_words() -> None:
    nested = torch.nested.nested_tensor([torch.zeros(4, 3), torch.zeros(5, 3)])
    with pytest.raises(ValueError, match="points must be a dense tensor with data; got a nested"):
        PointCloud(nested, torch.zeros(9, 3))


def test_a_batch_size_of_numpy_is_a_whole_number() -> None:
    assert torch.equal(og_reid.embed(TABLE, batch_size=np.int64(4)), og_reid.embed(TABLE))


def _feet() -> np.ndarray:
    return TABLE * np.array([4, 4, 4, 1, 1, 1], np.float32)


def _far() -> np.ndarray:
    return TABLE + np.array([5e6, 0, 0, 0, 0, 0], np.float32)


@pytest.mark.parametrize("table", [_feet(), _far()], ids=["feet", "far"])
def test_warnings_about_clouds_are_at_the_line_of_the_call(table: np.ndarray) -> None:
    with pytest.warns(InputWarning) as caught:
        og_reid.embed(table)
    assert {each.filename for each in caught} == {__file__}


def test_the_warning_of_a_dark_cloud_is_at_the_line_of_the_call() -> None:
    dark = torch.full((COUNT, 3), 200, dtype=torch.int16)
    with pytest.warns(InputWarning, match="almost black") as caught:
        PointCloud(torch.from_numpy(TABLE[:, :3]), dark)
    assert {each.filename for each in caught} == {__file__}
