"""Moving average of weights against the authors' factors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from og_reid.train.adaptation import Teacher

GOLDEN = Path(__file__).parents[3] / "golden" / "adaptation" / "mmt.npz"


def test_factors_of_the_average() -> None:
    given = np.load(GOLDEN)
    network = nn.Linear(1, 1, bias=False)
    for step, factor in zip(given["ema_steps"].tolist(), given["ema_alpha_at_steps"], strict=True):
        teacher = Teacher(network, 0.999)
        teacher.network.weight.data.fill_(1.0)
        network.weight.data.fill_(0.0)
        teacher.steps.fill_(step)
        teacher.follow(network)
        # What is left of 1 beside 0 is the factor of the average.
        assert abs(float(teacher.network.weight.detach()) - factor) < 1e-6
        assert int(teacher.steps) == step + 1


def test_a_teacher_is_not_trained() -> None:
    teacher = Teacher(nn.Linear(2, 2), 0.9)
    assert not any(each.requires_grad for each in teacher.parameters())
    state = teacher.state_dict()
    assert torch.equal(state["steps"], torch.zeros((), dtype=torch.int64))
