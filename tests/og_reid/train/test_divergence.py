"""Diverged runs end with a message, in every mode of OG-Net."""

import pytest
import torch

from og_reid.config.load import from_dict
from og_reid.data import CloudSet
from og_reid.models import OGNet
from og_reid.ops import in_degree, knn
from og_reid.train import train
from random_clouds import cloud, person

SIZES = {"num_points": 48, "k": 4, "ball_samples": [2, 2, 4], "embedding_dim": 8}


def _network(mode: str, classes: int = 0) -> OGNet:
    network = OGNet(
        dims=(8, 16, 32),
        k=4,
        num_points=48,
        embedding_dim=8,
        num_classes=classes,
        mode=mode,
        ball_counts=(2, 2, 4),
        generator=torch.Generator().manual_seed(0),
    )
    network.conv[1].weight.data.fill_(torch.nan)
    return network


def test_missing_neighbours_count_for_no_point_of_the_cloud_before():
    index = torch.tensor([[[0, 1], [2, 2]], [[-1, 0], [-1, -1]], [[-1, 2], [1, 1]]])
    expected = [[1, 1, 2], [1, 0, 0], [0, 2, 1]]
    assert in_degree(index, 3, complete=True).tolist() == expected
    assert in_degree(index, 3).tolist() == expected


def test_indices_out_of_range_count_for_no_point():
    index = torch.tensor([[[-7, 0, 3, 99]], [[5, 2, -2, 2]]])
    assert in_degree(index, 3).tolist() == [[1, 0, 0], [0, 0, 2]]


def test_no_neighbours_are_found_among_nan():
    assert (knn(torch.full((2, 5, 3), torch.nan), 2) == -1).all()


@pytest.mark.parametrize("mode", ["robust", "reference", "soft"])
def test_nan_of_a_layer_reaches_the_descriptor_in_training(mode):
    network = _network(mode).train()
    points, colors = person(3, 60)
    assert network(points, colors).isnan().all()


@pytest.mark.parametrize("mode", ["robust", "reference", "soft"])
def test_a_diverged_run_ends_with_its_message(tmp_path, mode):
    clouds = CloudSet.from_clouds(
        (cloud(number), number // 4, number % 4, f"{number}.jpg") for number in range(32)
    )
    config = from_dict(
        {
            "data": {"num_points": 48, "num_ids": 4, "num_instances": 2},
            "model": {**SIZES, "mode": mode},
            "budget": {"steps": 2},
            "device": "cpu",
        }
    )
    with pytest.raises(RuntimeError, match="the loss became nan at step 1: check the items"):
        train(config, clouds, out_dir=tmp_path, model=_network(mode, classes=8))
