"""Table of loss terms: registered rows, the tasks they apply to, their weights and states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from og_reid.config.load import from_dict, load_config, to_dict
from og_reid.losses import LossInputs, Term, register_loss, registered_losses
from og_reid.losses import terms as table
from og_reid.losses.objective import CombinedLoss, LossConfig


class Spread(nn.Module):
    """A loss with a weight of its own."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.num_classes = num_classes

    def forward(self, features: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
        return ((features * self.scale).square().mean(1) - 1).square().mean()


def squares(dim: int, num_classes: int, generator: torch.Generator | None) -> Any:
    return lambda features, ids, labels: features.square().mean()


def visible_stripes(batch: LossInputs) -> tuple[Tensor, Tensor]:
    assert batch.part_features is not None
    assert batch.visibility is not None
    return batch.part_features, batch.visibility


ROW = Term(
    build=lambda config, shape, generator: (
        lambda parts, seen: (parts * seen[..., None]).sum() / shape.parts
    ),
    inputs=visible_stripes,
    applies_to=("image",),
    weight=lambda config, shape: config.others.get("visible") or None,
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(table, "TERMS", table.TERMS.copy())
        patch.setattr(table, "_REGISTERED", {})
        patch.setattr("og_reid.losses.objective.TERMS", table.TERMS)
        register_loss("squares", squares)
        register_loss("spread", lambda dim, classes, generator: Spread(dim, classes))
        register_loss("of_clouds", squares, applies_to=["cloud"])
        register_loss("visible", ROW)
        yield


def test_a_registered_loss_is_weighted_and_trained() -> None:
    config = LossConfig(contrastive=0.0, others={"squares": 2.0, "spread": 1.0})
    objective = CombinedLoss(config, 4, 3)
    features = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    # 2 * (1 + 4) / 2 of the squares, ((1 - 1)^2 + (4 - 1)^2) / 2 of the spread.
    value = objective(nn.Identity(), features, torch.tensor([0, 1]))
    assert float(value.detach()) == pytest.approx(2 * 2.5 + 4.5)
    assert [name for name, _ in objective.named_parameters()] == ["other_spread.scale"]


def test_settings_with_losses_come_back() -> None:
    config = from_dict({"loss": {"others": {"squares": 1}}})
    assert config.loss.others == {"squares": 1.0}
    assert from_dict(to_dict(config)) == config
    assert load_config("synthetic/default", ["loss.others.squares=2"]).loss.others["squares"] == 2


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"squere": 1}, r"loss.others.squere must be a loss registered with.*\(squares, spread, "),
        ({"squares": -1}, "loss.others.squares must be at least 0 and finite; got -1.0"),
        ({"squares": "x"}, "loss.others.squares must be float; got 'x'"),
        ([1], "loss.others must be a group of values by name"),
        ({1: 1}, "loss.others must be a group of values by name"),
    ],
)
def test_wrong_losses_are_refused(others: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict({"loss": {"others": others}})


def test_a_registered_loss_applies_to_images_and_sees_the_embeddings() -> None:
    config = LossConfig(others={"squares": 3.0})
    loss = CombinedLoss(config, 2, 2, task="image", whole=True)
    embeddings, ids = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 1])
    value = loss(nn.Identity(), embeddings, ids, image_logits=torch.zeros(2, 2))
    assert float(value) == pytest.approx(3 * 7.5 + torch.tensor(2.0).log().item())
    with pytest.raises(ValueError, match=r"features must be \(B, D\) for a term of embeddings"):
        loss(nn.Identity(), None, ids, image_logits=torch.zeros(2, 2))


def test_a_row_of_ones_own_sees_what_it_asks_for() -> None:
    assert "visible" in registered_losses()
    config = LossConfig(others={"visible": 0.5}, part_weight=0)
    loss = CombinedLoss(config, 2, 2, task="image", parts=2)
    given = {
        "part_logits": torch.zeros(1, 2, 2),
        "part_features": torch.tensor([[[1.0, 2.0], [30.0, 40.0]]]),
        "visibility": torch.tensor([[1.0, 0.1]]),
    }
    values = loss.values(LossInputs(nn.Identity(), torch.tensor([0]), torch.tensor([0]), **given))
    assert float(values["visible"]) == pytest.approx((1 + 2 + 3 + 4) / 2)
    assert loss.weights == {"part_identity": 1.0, "visible": 0.5}


def test_a_loss_of_another_task_is_refused() -> None:
    message = r"loss.others.of_clouds must apply to networks of images; .* those of clouds"
    with pytest.raises(ValueError, match=message):
        from_dict({"loss": {"others": {"of_clouds": 1}}, "model": {"arch": "pgfa"}})
    with pytest.raises(ValueError, match=r"loss.others.visible must apply to networks of clouds"):
        CombinedLoss(LossConfig(others={"visible": 1}), 4, 2)
    from_dict({"loss": {"others": {"of_clouds": 1}}})
    from_dict({"loss": {"others": {"squares": 1}}, "model": {"arch": "pgfa"}})


def test_tasks_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="applies_to must hold cloud, image or both; got text"):
        register_loss("other", squares, applies_to=["text"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="cloud, image or both; got none"):
        register_loss("other", squares, applies_to=[])
    assert "other" not in registered_losses()


@pytest.mark.parametrize("name", ["triplet", "part_identity"])
def test_names_of_the_table_are_taken(name: str) -> None:
    with pytest.raises(ValueError, match=f"there is a loss '{name}' already"):
        register_loss(name, squares)


def test_every_weight_of_the_settings_has_a_row() -> None:
    rows = set(table.TERMS) - set(registered_losses())
    names = ("contrastive", "circle", "triplet", "quadruplet", "identity", "oim", "verification")
    assert rows >= {*names, "center", "part_triplet"}
    assert all(term.applies_to for term in table.TERMS.values())


def test_a_loss_of_a_taken_name_is_not_registered() -> None:
    with pytest.raises(ValueError, match="there is a loss 'squares' already"):
        register_loss("squares", lambda *_: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="must be an identifier"):
        register_loss("a b", squares)
    register_loss("squares", squares)
