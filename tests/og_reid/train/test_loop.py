"""Training loop on a regression: gradients, averaging, prefetching, precision, failures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from og_reid.train import StepOutput, fit, read_log
from og_reid.train.checkpoint import load_checkpoint
from og_reid.train.task import ALL_ROWS
from regression import Pair, Regression, config


def test_the_loop_solves_a_regression(tmp_path: Path) -> None:
    task = Regression()
    result = fit(config(), task, out_dir=tmp_path)
    assert len(result.history) == 40 * 3
    assert result.validation is None
    assert result.model is task.model
    torch.testing.assert_close(
        task.model[1].weight[0], torch.tensor([1.0, -2, 0.5]), atol=0.02, rtol=0
    )
    assert result.history[-1].accuracy == 1.0


def test_groups_learn_at_their_own_rate(tmp_path: Path) -> None:
    task = Regression()
    weight, bias = (each.detach().clone() for each in task.model.parameters())
    fit(
        config(
            budget={"steps": 1},
            optim={
                "optimizer": "sgd",
                "lr": 0.1,
                "weight_decay": 0,
                "momentum": 0.5,
                "warmup": 0,
                "swa_fraction": 0,
                "grad_clip": 0,
                "final_lr_ratio": 1,
            },
        ),
        task,
        out_dir=tmp_path,
    )
    twin = Regression()
    twin.objective(twin.features(twin.batch(0))).loss.backward()
    for (before, after), slope, rate in zip(
        ((weight, task.model[1].weight), (bias, task.model[1].bias)),
        (each.grad for each in twin.model.parameters()),
        (0.1, 0.01),
        strict=True,
    ):
        torch.testing.assert_close(before - after, 1.5 * rate * slope)


def test_dropout_depends_on_the_step_alone(tmp_path: Path) -> None:
    losses = []
    for name in "ab":
        torch.rand(3)
        history = fit(config(budget={"steps": 3}), Regression(0.5), out_dir=tmp_path / name).history
        losses.append([record.loss for record in history])
    assert losses[0] == losses[1]
    plain = fit(config(budget={"steps": 3}), Regression(), out_dir=tmp_path / "c").history
    assert plain[0].loss != pytest.approx(losses[0][0])


def test_accumulated_gradients_are_those_of_the_large_batch(tmp_path: Path) -> None:
    """The loss is a mean over items, and nothing else joins them."""
    optim = {"optimizer": "sgd", "lr": 0.1, "warmup": 0, "swa_fraction": 0}
    small, large = Regression(), Regression()
    fit(
        config(budget={"steps": 4}, optim={**optim, "grad_accum_steps": 3}), small,
        out_dir=tmp_path / "small",
    )  # fmt: skip

    def joined(step: int, rows: slice = ALL_ROWS) -> Pair:
        parts = [Regression.batch(large, 3 * step + each) for each in range(3)]
        return Pair(torch.cat([p.x for p in parts])[rows], torch.cat([p.y for p in parts])[rows])

    large.batch = joined  # type: ignore[method-assign]
    fit(config(budget={"steps": 4}, optim=optim), large, out_dir=tmp_path / "large")
    for one, two in zip(small.model.parameters(), large.model.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    logs = [read_log(tmp_path / name / "log.csv") for name in ("small", "large")]
    for one, two in zip(*logs, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=1e-5)


def test_an_epoch_has_fewer_accumulated_steps(tmp_path: Path) -> None:
    optim = {"optimizer": "sgd", "lr": 0.1, "swa_fraction": 0, "grad_accum_steps": 2}
    history = fit(config(budget={"epochs": 5}, optim=optim), Regression(), out_dir=tmp_path).history
    assert len(history) == 5 * (3 // 2)


def test_a_moving_average_by_hand(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    task = Regression()
    optim = {"optimizer": "sgd", "lr": 0.1, "swa_fraction": 0, "ema": 0.15}
    fit(
        config(budget={"steps": 6}, optim=optim), task, out_dir=tmp_path,
        progress=lambda record: seen.append(task.model[1].weight.detach().clone()),
    )  # fmt: skip
    mean = Regression().model[1].weight.detach()
    for count, weight in enumerate(seen):
        decay = min(0.15, (1 + count) / (10 + count))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(task.model[1].weight.detach(), mean)


def test_a_moving_average_is_what_is_validated(tmp_path: Path) -> None:
    task, seen = Regression(), []

    def validate() -> None:
        seen.append(task.model[1].weight.detach().clone())

    task.validate = validate  # type: ignore[method-assign]
    optim = {"optimizer": "sgd", "lr": 0.1, "swa_fraction": 0, "ema": 0.9}
    own: list[Tensor] = []
    fit(
        config(budget={"steps": 5}, optim=optim, validate_every=5), task, out_dir=tmp_path,
        progress=lambda record: own.append(task.model[1].weight.detach().clone()),
    )  # fmt: skip
    torch.testing.assert_close(seen[0], seen[1])  # in the last step, and of the final network
    assert not torch.allclose(own[-1], seen[0]), "training goes on from its own weights"


def test_batches_made_ahead_are_the_same(tmp_path: Path) -> None:
    losses = []
    for depth in (0, 1, 5):
        settings = config(budget={"steps": 7}, prefetch_batches=depth)
        history = fit(settings, Regression(), out_dir=tmp_path / str(depth)).history
        losses.append([record.loss for record in history])
    assert losses[0] == losses[1] == losses[2]


def test_errors_of_a_prefetched_batch_are_raised_in_its_step(tmp_path: Path) -> None:
    task = Regression()

    def broken(step: int, rows: slice = ALL_ROWS) -> Pair:
        if step == 4:
            raise ValueError("photograph 17 cannot be read")
        return Regression.batch(task, step, rows)

    task.batch = broken  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="photograph 17"):
        fit(config(), task, out_dir=tmp_path)
    assert len(read_log(tmp_path / "log.csv")) == 4


def test_the_items_of_a_bad_batch_are_named(tmp_path: Path) -> None:
    task = Regression()
    task.y[task.sampler.indices(5)[2]] = torch.nan
    first = next(step for step in range(9) if task.batch(step).y.isnan().any())
    with pytest.raises(RuntimeError, match=rf"became nan at step {first + 1}:.*failed_batch"):
        fit(config(checkpoint_every=1), task, out_dir=tmp_path)
    named = (tmp_path / "failed_batch.txt").read_text().split()
    assert named == task.names(first)
    state = load_checkpoint(tmp_path / "checkpoint.pt") if first else None
    assert state is None or all(each.isfinite().all() for each in state["model"].values())


def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path: Path) -> None:
    task = Regression()
    before = [each.detach().clone() for each in task.model.parameters()]

    def objective(features: dict[str, Tensor]) -> StepOutput:  # the slope of the root at 0
        return StepOutput((features["guess"].sum() * 0).abs().sqrt(), 0.0)

    task.objective = objective  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match=r"the norm of the gradient became (nan|inf)"):
        fit(config(), task, out_dir=tmp_path)
    for old, new in zip(before, task.model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_bfloat16_on_a_cpu(tmp_path: Path) -> None:
    task, kinds = Regression(), set()

    def objective(features: dict[str, Tensor]) -> StepOutput:
        kinds.add(features["guess"].dtype)
        return Regression.objective(task, features)

    task.objective = objective  # type: ignore[method-assign]
    optim = {"optimizer": "sgd", "lr": 0.1, "warmup": 0, "swa_fraction": 0, "weight_decay": 0}
    low = fit(config(optim=optim | {"precision": "bf16"}), task, out_dir=tmp_path / "low").history
    full = fit(config(optim=optim), Regression(), out_dir=tmp_path / "full").history
    assert kinds == {torch.float32}
    assert all(each.dtype == torch.float32 for each in task.model.parameters())
    assert low[0].loss != full[0].loss
    assert low[0].loss == pytest.approx(full[0].loss, rel=0.02)
    assert low[-1].loss < 0.01


def test_half_precision_on_a_cpu_is_refused(tmp_path: Path) -> None:
    optim = {"precision": "fp16"}
    with pytest.raises(ValueError, match=r"optim\.precision=fp16 needs device=cuda; got cpu"):
        fit(config(optim=optim), Regression(), out_dir=tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_on_a_gpu(tmp_path: Path, precision: str) -> None:
    optim = {"optimizer": "sgd", "lr": 0.1, "warmup": 0, "swa_fraction": 0, "weight_decay": 0}
    settings = config(optim=optim | {"precision": precision}, device="cuda")
    history = fit(settings, Regression(), out_dir=tmp_path).history
    assert history[-1].loss < 0.01
    again = config(optim=optim | {"precision": precision}, device="cuda", budget={"epochs": 41})
    fit(again, Regression(), out_dir=tmp_path, resume=True)
    scale = load_checkpoint(tmp_path / "checkpoint.pt")["scaler"]
    assert bool(scale) == (precision == "fp16")
